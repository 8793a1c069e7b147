"""Bad arguments are errors that name the argument, what was expected, and what came."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
import torch

from camtrain import metrics
from camtrain.metrics import ClassSensitivity, LocalizationIoU, ParameterRandomization, PointingGame
from camtrain.metrics.checked import checked_tensor
from tests.metrics.examples import NAMES, N, example


def cases():
    """Every argument of every metric."""
    for name in NAMES:
        parameters = list(inspect.signature(getattr(metrics, name).update).parameters)[1:]
        for place, parameter in enumerate(parameters[: len(example(name)[1])]):
            yield pytest.param(name, place, parameter, id=f"{name}-{parameter}")


CASES = list(cases())
TENSORS = [case for case in CASES if case.values[2] not in ("annotation", "method")]
FLOATS = [case for case in TENSORS if case.values[2] not in ("labels", "masks")]


def refused(name, place, value, error, message):
    """Both `update` and `rows` refuse the example with this value in this place, and nothing is counted."""
    for entry in ("update", "rows"):
        metric, arguments = example(name)
        with pytest.raises(error, match=message):
            getattr(metric, entry)(*arguments[:place], value, *arguments[place + 1 :])
        assert not metric.total.any()


@pytest.mark.parametrize(("name", "place", "parameter"), TENSORS)
def test_lists_and_arrays_are_no_tensors(name, place, parameter):
    value = example(name)[1][place]
    for other, got in ((value.tolist(), "got list"), (value.numpy(), "got ndarray; .*from_numpy"), (7, "got int")):
        refused(name, place, other, TypeError, rf"`{parameter}`: expected an? [a-z-]+ tensor of shape \(.*\), {got}")


@pytest.mark.parametrize(("name", "place", "parameter"), FLOATS)
def test_integers_and_bools_are_no_floats(name, place, parameter):
    value = example(name)[1][place]
    for dtype in (torch.int64, torch.uint8, torch.bool, torch.complex64):
        refused(name, place, value.to(dtype), ValueError, f"`{parameter}`: expected a floating-point tensor.*{dtype}")


@pytest.mark.parametrize(("name", "place", "parameter"), TENSORS)
def test_shapes_must_fit(name, place, parameter):
    value = example(name)[1][place]
    got = re.escape(f"of shape {(1, *value.shape)}")
    refused(name, place, value.unsqueeze(0), ValueError, f"`{parameter}`: expected .* of shape .*, got .* {got}")


@pytest.mark.parametrize(("name", "place", "parameter"), CASES)
def test_numbers_of_images_must_agree(name, place, parameter):
    _, arguments = example(name)
    if parameter == "method" or len(arguments) == 1:
        pytest.skip("nothing to agree with")
    names = list(inspect.signature(getattr(metrics, name).update).parameters)[1:]
    # The message names this argument, or another one that disagrees with it.
    message = f"`({'|'.join(names)})`: expected .*, got "
    refused(name, place, arguments[place][:-1], ValueError, message)


@pytest.mark.parametrize(("name", "place", "parameter"), FLOATS)
def test_nan_is_an_error(name, place, parameter):
    value = example(name)[1][place].clone()
    value.view(-1)[0] = torch.nan
    if parameter == "compared_probabilities":  # where a method has no map
        metric, arguments = example(name)
        metric.update(arguments[0], value, *arguments[2:])
        return
    refused(name, place, value, ValueError, f"`{parameter}`: expected .*[nN]a[nN]")


@pytest.mark.parametrize(("name", "place", "parameter"), [case for case in CASES if case.values[2] == "annotation"])
def test_annotation_is_masks_or_a_list_of_boxes(name, place, parameter):
    many = r"`annotation`: expected .*list with one \(M, 4\) tensor of boxes per image, got "
    for value, error, got in [
        (torch.zeros(N, 4), ValueError, rf"torch.float32 of shape \({N}, 4\)"),
        (torch.zeros(N, 24, 30), ValueError, "torch.float32"),
        (torch.zeros(N, 24, 31, dtype=torch.bool), ValueError, r"torch.bool of shape \(12, 24, 31\)"),
        (np.zeros((N, 24, 30), dtype=bool), TypeError, "ndarray"),
        ([[[0, 0, 4, 4]]] * N, TypeError, "list for image 0"),
        ([torch.zeros(1, 4)] * (N - 1) + [torch.zeros(4)], ValueError, r"\(4,\) for image 11"),
        (None, TypeError, "NoneType"),
    ]:
        refused(name, place, value, error, many + got)
    far = [torch.zeros(0, 4)] * (N - 1) + [torch.tensor([[0.0, 0.0, 112.0, 224.0]])]
    refused(
        name, place, far, ValueError, r"`annotation`: expected boxes on images of width 30 and height 24, .* image 11"
    )


@pytest.mark.parametrize("name", ["LocalizationIoU", "EnergyPointingGame", "PointingGame"])
def test_boxes_one_pixel_outside_count_as_clipped(name):
    metric, (cams, _, *rest) = example(name)
    inside, outside = torch.tensor([[0.0, 0.0, 30.0, 24.0]]), torch.tensor([[-1.0, -1.0, 31.0, 25.0]])
    assert torch.equal(metric.rows(cams, [outside] * N, *rest), metric.rows(cams, [inside] * N, *rest))


def test_labels_are_integers_of_the_classes():
    for value, message in [
        (torch.rand(N), "expected an integer tensor"),
        (torch.full((N,), 4), "from 0 to 3, got 4 to 4"),
    ]:
        refused("PointingGame", 2, value, ValueError, f"`labels`: .*{message}")


def test_settings_are_checked_when_the_metric_is_made():
    for value in ("0.5", True, torch.tensor([0.5])):
        with pytest.raises(TypeError, match=r"`threshold`: expected a number in \[0, 1\), got "):
            LocalizationIoU(value)
        with pytest.raises(TypeError, match="`tolerance`: expected a finite number of at least 0 pixels, got "):
            PointingGame(tolerance=value)
    for make in (lambda: ClassSensitivity("hog"), lambda: ParameterRandomization(2, "hog")):
        with pytest.raises(ValueError, match="`kind`: expected 'spearman', 'pearson' or 'ssim', got 'hog'"):
            make()


@pytest.mark.parametrize("shape", [(2, 5), (2, 4, 1), (2,), ()])
def test_numbers_in_a_shape_stand_for_themselves(shape):
    assert checked_tensor("curves", torch.zeros(3, 4), "N, 4").shape == (3, 4)
    with pytest.raises(
        ValueError, match=r"`curves`: expected a floating-point tensor of shape \(N, 4\), got torch.float32"
    ):
        checked_tensor("curves", torch.zeros(shape), "N, 4")
