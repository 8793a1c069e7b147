"""Values by hand of the penalties on a map, and their gradients by `gradcheck`."""

from __future__ import annotations

import math

import pytest
import torch

from camtrain import Objective
from camtrain.cams import HiResCAM, resize
from camtrain.metrics import energy_in_region
from camtrain.regularizers import EnergyInside, MapBCE, MapL1, MapOutside, MapRanking, MapSmoothness, MapSparsity
from camtrain.regularizers.regularizer import as_penalty
from tests.regularizers.smooth_network import batch, smooth_network

REGION = torch.tensor([[[True, True], [False, False]]])
CAM = torch.tensor([[[4.0, 2.0], [1.0, -3.0]]])


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (EnergyInside(), 1 - 6 / 7),
        (MapL1(), (0 + 0.5 + 0.25 + 0) / 4),
        (MapBCE(floor=1e-6), -(math.log(1) + math.log(0.5)) / 2),
        (MapBCE(floor=1e-6, outside=True), -(math.log(1) + math.log(0.5) + math.log(0.75) + math.log(1)) / 4),
        (MapOutside(), (0.25**2 + 0.75**2) / 4),
        (MapSmoothness(), (0.75 + 0.5 + 0.5 + 0.25) / 4),
        (MapSparsity(), (1 + 0.5 + 0.25 + 0) / 4),
    ],
)
def test_by_hand(regularizer, expected):
    values, counted, _ = as_penalty(regularizer(CAM, REGION))
    assert values.tolist() == pytest.approx([expected], abs=1e-5)
    assert counted.tolist() == [True]
    scaled, _, _ = as_penalty(regularizer(1e-6 * CAM, REGION))
    torch.testing.assert_close(scaled, values, msg="the scale of a map does not matter")


NEEDY = [EnergyInside(), MapL1(), MapBCE(), MapBCE(outside=True), MapOutside(), MapRanking()]
ALL = [*NEEDY, MapSmoothness(), MapSparsity()]


@pytest.mark.parametrize("regularizer", ALL, ids=lambda each: type(each).__name__)
def test_gradient(regularizer):
    torch.manual_seed(0)
    cams = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    regions = torch.rand(3, 4, 5) > 0.5
    assert torch.autograd.gradcheck(lambda cams: as_penalty(regularizer(cams, regions)).values, cams)


@pytest.mark.parametrize("regularizer", ALL, ids=lambda each: type(each).__name__)
def test_a_map_of_zeros_does_not_count_and_has_no_gradient(regularizer):
    cams = torch.zeros(1, 2, 2, requires_grad=True)
    values, counted, _ = as_penalty(regularizer(cams, REGION))
    values.sum().backward()
    assert counted.tolist() == [False]
    assert torch.isfinite(values).all()
    assert torch.equal(cams.grad, torch.zeros_like(cams)) or torch.isfinite(cams.grad).all()


@pytest.mark.parametrize("regularizer", NEEDY, ids=lambda each: type(each).__name__)
def test_an_empty_region_does_not_count(regularizer):
    values, counted, _ = regularizer(CAM, torch.zeros_like(REGION))
    assert counted.tolist() == [False]
    assert torch.isfinite(values).all()


def test_energy_is_one_minus_that_of_the_metric():
    torch.manual_seed(0)
    cams, regions = torch.rand(5, 6, 7), torch.rand(5, 6, 7) > 0.3
    torch.testing.assert_close(EnergyInside()(cams, regions).values, 1 - energy_in_region(cams, regions))


def test_the_best_map_has_no_loss():
    for regularizer in (EnergyInside(), MapL1(), MapOutside(), MapRanking(grid=2), MapBCE(floor=1e-6, outside=True)):
        assert regularizer(REGION.float(), REGION).values.item() == pytest.approx(0, abs=2e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EnergyInside("score_cam"), "`method`: score_cam cannot be trained through"),
        (lambda: EnergyInside("gradcam"), "`method`: none is called 'gradcam'"),
        (
            lambda: MapSparsity(annotation="boxes"),
            "`annotation`: expected any, because MapSparsity ignores",
        ),
        (lambda: MapL1(class_of="prediction"), "`class_of`: expected one of"),
        (lambda: MapL1("input_gradient", class_of="random"), "`class_of`: expected label for the input gradient"),
        (lambda: MapL1(annotation="polygons"), "`annotation`: expected any, masks or boxes, got 'polygons'"),
        (lambda: MapBCE(floor=0.5), "`floor`: expected a number of at least 1e-6 and below 0.5, got 0.5"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_map_of_a_random_class():
    """The penalty is that of the map of the classes that are drawn, whatever the labels."""
    network, (images, labels, masks) = smooth_network(), batch()
    torch.manual_seed(6)
    classes = torch.randint_like(labels, 3)
    assert not torch.equal(classes, labels)
    cams = resize(HiResCAM(network, "4")(images, classes), (8, 8))
    penalty = MapOutside()(cams, masks)
    torch.manual_seed(6)
    regularizer = MapOutside("hi_res_cam", "4", class_of="random")
    step = Objective(regularizer, 1.0)(network, images, labels, masks=masks)
    torch.testing.assert_close(step.regularization, penalty.values[penalty.counted].mean().float())
