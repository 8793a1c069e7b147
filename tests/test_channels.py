"""Methods, metrics and regularizers do not care how many channels images have."""

from __future__ import annotations

import copy

import pytest
import torch

from camtrain import Objective, evaluate
from camtrain.batch import Batch
from camtrain.callbacks.explained_images import explained_images
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.methods import METHODS, image_maps
from camtrain.networks import CIFARResNet
from camtrain.regularizers import (
    AttentionMining,
    EnergyInside,
    ExpectedGradientsPrior,
    GradientNorm,
    GradientSmoothness,
    InterpretableGradient,
    MapConsistency,
    MapFaithfulness,
    RightForBetterReasons,
    RightForRightReasons,
    SaliencyGuided,
    SoftInsertionDeletion,
)

# These draw noise for each number of an image, so that a further channel changes what the others get.
NOISY = {"smooth_grad", "smooth_grad_cam_plus_plus", "ss_cam"}
DETERMINISTIC = [name for name in METHODS if name not in NOISY and name != "attention_map"]


WITHOUT_NOISE = ("average_drop", "average_gain", "insertion_auc", "deletion_auc", "adcc", "energy_pointing_game")


def networks():
    """A network of three channels, and the same with a fourth one that it does not look at."""
    torch.manual_seed(0)
    three = CIFARResNet(depth=8, num_classes=3, width=4).eval()
    four = CIFARResNet(depth=8, num_classes=3, width=4, in_channels=4).eval()
    state = copy.deepcopy(three.state_dict())
    state["conv1.weight"] = torch.cat([state["conv1.weight"], torch.zeros(4, 1, 3, 3)], dim=1)
    four.load_state_dict(state)
    return three, four


def images(channels=4, count=3):
    return torch.randn(count, channels, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", DETERMINISTIC)
def test_a_channel_that_does_not_matter_changes_no_map(method):
    three, four = networks()
    expected = image_maps(three, images()[:, :3], method=method)
    torch.testing.assert_close(image_maps(four, images(), method=method), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", sorted(NOISY))
@pytest.mark.parametrize("channels", [1, 13])
def test_maps_with_noise(method, channels):
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, num_classes=3, width=4, in_channels=channels).eval()
    maps = image_maps(network, images(channels), method=method)
    assert maps.shape == (3, 16, 16)
    assert maps.flatten(1).std(dim=1).min() > 0


def test_a_channel_that_does_not_matter_changes_no_score():
    three, four = networks()
    labels = torch.tensor([0, 1, 2])
    masks = torch.zeros(3, 16, 16, dtype=torch.bool)
    masks[:, 4:9, 3:11] = True
    settings = {"methods": "grad_cam", "metrics": "all", "progress": False}
    expected = evaluate(three, [Batch(images()[:, :3], labels, masks=masks)], **settings)
    found = evaluate(four, [Batch(images(), labels, masks=masks)], **settings)
    for name in WITHOUT_NOISE:
        one, other = (each.score("grad_cam", name).value for each in (expected, found))
        assert other == pytest.approx(one, rel=1e-4), name


def test_panels_of_one_channel():
    network = CIFARResNet(depth=8, num_classes=3, width=4, in_channels=1).eval()
    explained = explained_images(network, Batch(images(1), torch.tensor([0, 1, 2])))
    assert explained.input_gradients.shape == (3, 1, 16, 16)


REGULARIZERS = {
    "attention_mining": AttentionMining,
    "energy_inside_of_the_gradient": lambda: EnergyInside("input_gradient"),
    "expected_gradients_prior": ExpectedGradientsPrior,
    "gradient_norm": GradientNorm,
    "gradient_smoothness": GradientSmoothness,
    "interpretable_gradient": InterpretableGradient,
    "map_consistency": MapConsistency,
    "map_faithfulness": MapFaithfulness,
    "right_for_better_reasons": RightForBetterReasons,
    "right_for_right_reasons": RightForRightReasons,
    "saliency_guided": SaliencyGuided,
    "soft_insertion_deletion": SoftInsertionDeletion,
}
# Their values do not depend on a channel whose gradient is zero, and they draw nothing for it.
UNCHANGED = {"interpretable_gradient", "right_for_right_reasons", "energy_inside_of_the_gradient", "gradient_norm"}


@pytest.mark.parametrize("engine", [DoubleBackprop, FrozenGates])
@pytest.mark.parametrize("name", REGULARIZERS)
def test_regularizers(name, engine):
    masks = torch.zeros(3, 16, 16, dtype=torch.bool)
    masks[:, 4:12, 4:12] = True
    values = {}
    for channels, network in zip((3, 4), networks(), strict=True):
        objective = Objective(REGULARIZERS[name](), 0.1, engine=engine())
        torch.manual_seed(0)
        step = objective(network, images()[:, :channels], torch.tensor([0, 1, 2]), masks=masks)
        step.loss.backward()
        assert network.conv1.weight.grad.isfinite().all()
        values[channels] = float(step.regularization)
    assert values[4] > 0
    if name in UNCHANGED:
        assert values[4] == pytest.approx(values[3], rel=1e-4)
