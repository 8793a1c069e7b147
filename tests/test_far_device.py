"""Everything that runs in a training step keeps to the device of the images."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.methods import METHODS, image_maps
from camtrain.regularizers import InterpretableGradient, map_regularizer
from camtrain.regularizers.annotated_regions import regions_like
from tests.far_device import FAR, FarTensor, far_device
from tests.regularizers.smooth_network import batch
from tests.regularizers.test_all_regularizers import REGULARIZERS


def test_the_far_device_computes_as_the_cpu_does():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    images, labels = torch.randn(2, 3, 8, 8), torch.tensor([0, 2])

    def gradients(network, images, labels):
        images = images.requires_grad_()
        loss = F.cross_entropy(network(images), labels)
        (gradient,) = torch.autograd.grad(loss, images, create_graph=True)
        (loss + gradient.square().sum()).backward()
        return [parameter.grad for parameter in network.parameters()]

    expected = gradients(copy.deepcopy(network), images, labels)
    with far_device():
        found = gradients(network.to(FAR), images.detach().to(FAR), labels.to(FAR))
    for each, of_cpu in zip(found, expected, strict=True):
        assert isinstance(each, FarTensor)
        assert each.device == FAR
        torch.testing.assert_close(each.near, of_cpu)


def test_what_fails_on_a_gpu_fails_on_the_far_device():
    with far_device():
        images = torch.rand(2, 3).to(FAR)
        assert (images + torch.tensor(1.0)).device == FAR  # a number
        assert images[torch.tensor([0])].device == FAR
        assert images.new_zeros(2).device == torch.zeros_like(images).device == torch.ones(2, device=FAR).device == FAR
        assert images.cpu().device.type == torch.zeros(2).device.type == "cpu"
        for mix in (
            lambda: images + torch.ones(2, 3),
            lambda: images.gather(1, torch.zeros(2, 1, dtype=torch.long)),
            lambda: torch.where(torch.ones(2, 3, dtype=torch.bool), images, 0.0),
            lambda: torch.ones(2, 2) @ images,
            lambda: images.mul_(torch.ones(2, 3)),
            lambda: torch.cat([images, torch.ones(2, 3)]),
            lambda: torch.ones(2)[torch.zeros(2, dtype=torch.long, device=FAR)],
        ):
            with pytest.raises(RuntimeError, match="one device"):
                mix()


def gated_network():
    """From (N, 3, 8, 8) to (N, 3) logits, with gates, BatchNorm and dropout; layer "4" puts out (N, 5, 4, 4)."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1),
        nn.Dropout(0.2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(5 * 16, 3),
    ).double()  # fmt: skip
    with torch.no_grad():
        network[8].weight.abs_()  # so that no map is negative everywhere
    return network


def boxes_of(labels):
    return [torch.tensor([[1.0, 2.0, 5.0, 6.0]], dtype=torch.float64)[: int(label)] for label in labels]


def step(make, engine, device, where, several_labels, training=True):
    """L, L_R, and the gradient of each parameter, on the CPU; each device draws from the same generator.

    The objective stays where it was made, as in a loop that moves only the network and the images.
    """
    images, labels, masks = batch()
    known = {"masks": masks.to(device), "boxes": [each.to(device) for each in boxes_of(labels)]}
    settings = {"balance_steps": 1}
    if several_labels:
        labels = (F.one_hot(labels, 3) | F.one_hot(labels.roll(1), 3)).double()
        settings = {"classification_loss": "binary_cross_entropy"}
    network = gated_network().train(training).to(device)
    objective = Objective(make(), 0.5, engine(), **settings)
    torch.manual_seed(2)
    found = objective(network, images.to(device), labels.to(device), **{where: known[where]})
    found.loss.backward()
    measured = objective.measure(network, images.to(device), labels.to(device), **{where: known[where]})
    numbers = [found.loss, found.regularization, measured.loss, *(each.grad for each in network.parameters())]
    assert {number.device for number in numbers} == {torch.device(device)}
    return [number.detach().cpu() for number in numbers]


def assert_as_on_the_cpu(*of_step):
    make, engine, *further = of_step
    expected = step(make, engine, "cpu", *further)
    with far_device():
        found = step(make, engine, FAR, *further)
    for each, of_cpu in zip(found, expected, strict=True):
        torch.testing.assert_close(each, of_cpu)


ALL = REGULARIZERS | {"interpretable_gradient": InterpretableGradient}
OF_CLASSES = ["attention_mining", "energy_inside", "expected_gradients_prior", "map_faithfulness",
              "right_for_better_reasons", "right_for_right_reasons", "saliency_guided"]  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_each_regularizer(name):
    assert_as_on_the_cpu(ALL[name], FrozenGates, "boxes", False)


@pytest.mark.parametrize("name", ["energy_inside", "right_for_better_reasons", "expected_gradients_prior_outside"])
def test_masks(name):
    assert_as_on_the_cpu(ALL[name], FrozenGates, "masks", False)


@pytest.mark.parametrize("name", ["interpretable_gradient", "gradient_smoothness", "sum"])
def test_double_backprop(name):
    assert_as_on_the_cpu(ALL[name], DoubleBackprop, "boxes", False)


@pytest.mark.parametrize("name", OF_CLASSES)
def test_several_labels(name):
    assert_as_on_the_cpu(ALL[name], FrozenGates, "boxes", True)


@pytest.mark.parametrize("training", [True, False], ids=["one step for all images", "a step for each image"])
def test_two_terms(training):
    assert_as_on_the_cpu(ALL["gradient_norm"], lambda: FrozenGates(one_term_limit=1e-9), "boxes", False, training)


# A class that the network does not predict, also as a tensor that the caller has not moved.
CLASSES = {"the predicted class": None, "a number": 1, "a tensor": torch.tensor([1, 2])}
METHODS_AND_CLASSES = [(name, "a number") for name in sorted(set(METHODS) - {"attention_map"})] + [
    (name, kind) for name in ("grad_cam", "input_gradient", "score_cam") for kind in CLASSES if kind != "a number"
]


@pytest.mark.filterwarnings("ignore:Integrated Gradients")
@pytest.mark.parametrize(("name", "kind"), METHODS_AND_CLASSES)
def test_each_method(name, kind):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
    ).double()  # fmt: skip
    images, _, _ = batch()
    options = {"class_idx": CLASSES[kind]} | ({"target_layer": "4"} if "cam" in name else {})
    torch.manual_seed(2)
    expected = image_maps(network, images[:2], name, **options)
    with far_device():
        torch.manual_seed(2)
        found = image_maps(network.to(FAR), images[:2].to(FAR), name, **options)
        assert found.device == FAR
    torch.testing.assert_close(found.near, expected)


def test_a_forgotten_device_is_found(monkeypatch):
    """A tensor that is made on the CPU, in the place of one on the device of the maps."""

    def forgotten(maps, boxes, masks, kind="any"):
        return regions_like(maps, boxes, masks, kind).cpu()

    monkeypatch.setattr(map_regularizer, "regions_like", forgotten)
    with far_device(), pytest.raises(RuntimeError, match="expected all tensors on one device"):
        step(ALL["energy_inside"], FrozenGates, FAR, "boxes", False)
