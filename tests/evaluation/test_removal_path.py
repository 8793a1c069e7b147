from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from camtrain.blurred import blurred
from camtrain.evaluation.masked_image import masked_images
from camtrain.evaluation.removal_path import path_images, removal_ranks
from camtrain.networks import CIFARResNet
from tests.test_blurred import rise_blur


@torch.no_grad()
def rise_scores(network, image, cam, mode, step):
    """RISE's CausalMetric.single_run, step by step."""
    pixels = cam.size
    start, finish = (image, torch.zeros_like(image)) if mode == "del" else (rise_blur(image), image)
    start = start.clone()
    index = int(network(image).argmax())
    steps = (pixels + step - 1) // step
    order = np.flip(np.argsort(cam.reshape(-1, pixels), axis=1), axis=-1).copy()
    scores = np.empty(steps + 1)
    for i in range(steps + 1):
        scores[i] = float(network(start).softmax(dim=1)[0, index])
        if i < steps:
            coordinates = order[:, step * i : step * (i + 1)]
            start.reshape(1, 3, pixels)[0, :, coordinates] = finish.reshape(1, 3, pixels)[0, :, coordinates]
    return scores


@pytest.mark.parametrize("mode", ["ins", "del"])
@torch.no_grad()
def test_curves_are_those_of_rise(mode):
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, num_classes=4, width=4).double().eval()
    images = torch.randn(3, 3, 12, 12, dtype=torch.float64)
    cams = torch.rand(3, 12, 12, dtype=torch.float64)
    end = images if mode == "ins" else torch.zeros_like(images)
    start = blurred(images) if mode == "ins" else images
    classes = network(images).argmax(dim=1, keepdim=True)
    found = torch.cat(
        [
            network(one).softmax(dim=1).gather(1, classes)
            for one in path_images(start, end, removal_ranks(cams), num_steps=12)
        ],
        dim=1,
    )
    for index in range(3):
        expected = rise_scores(network, images[index : index + 1], cams[index].numpy(), mode, step=12)
        np.testing.assert_allclose(found[index], expected, rtol=1e-9, atol=1e-12)
    assert float(found.std(dim=1).min()) > 1e-4


def test_ranks_are_the_inverse_of_the_order():
    cams = torch.rand(4, 5, 6)
    ranks = removal_ranks(cams)
    for cam, rank in zip(cams, ranks, strict=True):
        assert sorted(rank.flatten().tolist()) == list(range(30))
        assert torch.equal(cam.flatten()[rank.flatten().argsort()], cam.flatten().sort(descending=True).values)
    assert torch.equal(removal_ranks(torch.zeros(1, 2, 3))[0], torch.arange(6).view(2, 3))


def test_equal_pixels_follow_each_other_row_by_row():
    """Half of a map that is zero, as a ReLU leaves it; large enough for an unstable sort to mix them up."""
    cam = torch.rand(1, 40, 50, generator=torch.Generator().manual_seed(0)).mul(8).round().sub(4).relu()
    expected = sorted(range(2000), key=lambda place: (-float(cam.flatten()[place]), place))
    assert removal_ranks(cam).flatten().argsort().tolist() == expected


def test_a_masked_image_has_the_dtype_of_the_image():
    assert masked_images(torch.ones(1, 3, 2, 2), torch.rand(1, 2, 2, dtype=torch.float64)).dtype == torch.float32
    assert masked_images(torch.ones(1, 3, 2, 2).half(), torch.rand(1, 2, 2)).dtype == torch.float16


@pytest.mark.parametrize("num_steps", [1, 4, 7, 30, 45])
def test_each_step_changes_as_many_pixels(num_steps):
    start, end = torch.zeros(2, 3, 5, 6), torch.ones(2, 3, 5, 6)
    ranks = removal_ranks(torch.rand(2, 5, 6))
    steps = list(path_images(start, end, ranks, num_steps))
    assert [int(one[0, 0].sum()) for one in steps] == [round(k * 30 / num_steps) for k in range(num_steps + 1)]
    assert torch.equal(steps[0], start)
    assert torch.equal(steps[-1], end)
    assert all(bool((after >= before).all()) for before, after in pairwise(steps))
    inner = list(path_images(start, end, ranks, num_steps, ends=False))
    assert len(inner) == num_steps - 1
    assert all(torch.equal(a, b) for a, b in zip(inner, steps[1:-1], strict=True))


@pytest.mark.parametrize(
    ("cams", "message"),
    [(torch.rand(4, 4), r"\(N, H, W\), got \(4, 4\)"), (torch.full((1, 2, 2), torch.nan), "got NaN")],
)
def test_what_has_no_order_is_named(cams, message):
    with pytest.raises(ValueError, match=f"`cams`: expected .*{message}"):
        removal_ranks(cams)


@pytest.mark.parametrize("num_steps", [0, -1, 2.5])
def test_there_are_steps(num_steps):
    images = torch.zeros(1, 3, 2, 2)
    with pytest.raises(ValueError, match="`num_steps`: expected a positive integer"):
        next(path_images(images, images, removal_ranks(images[:, 0]), num_steps))


@pytest.mark.parametrize(
    ("end", "ranks"), [((1, 3, 4, 4), (2, 4, 4)), ((2, 3, 4, 4), (1, 4, 4)), ((2, 3, 4, 4), (2, 1, 4))]
)
def test_sizes_are_not_broadcast(end, ranks):
    with pytest.raises(ValueError, match=r"`end`, `ranks`: expected .* \(2, 3, 4, 4\), got"):
        next(path_images(torch.zeros(2, 3, 4, 4), torch.zeros(end), torch.zeros(ranks, dtype=torch.long), 2))


def test_no_images():
    none = torch.zeros(0, 3, 4, 4)
    ranks = removal_ranks(none[:, 0])
    assert [one.shape for one in path_images(none, blurred(none), ranks, 2)] == [(0, 3, 4, 4)] * 3
    assert masked_images(none, none[:, 0]).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("value", [1.001, -0.001, torch.nan, torch.inf])
def test_maps_that_mask_are_in_range(value):
    with pytest.raises(ValueError, match=r"`cams`: expected values in \[0, 1\]; normalize"):
        masked_images(torch.ones(1, 3, 1, 2), torch.tensor([[[0.5, value]]]))


def test_masked_images_are_products():
    images, cams = torch.randn(2, 3, 4, 5), torch.rand(2, 4, 5)
    for channel in range(3):
        torch.testing.assert_close(masked_images(images, cams)[:, channel], images[:, channel] * cams)
    with pytest.raises(
        ValueError, match=r"`cams`: expected a map for each of the images \(2, 3, 4, 5\), got \(2, 5, 4\)"
    ):
        masked_images(images, torch.rand(2, 5, 4))
