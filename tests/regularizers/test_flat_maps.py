"""No penalty of maps is evaded by switching maps off."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain import Objective
from camtrain.cams import GradCAM, resize
from camtrain.regularizers import EnergyInside, MapBCE, MapConsistency, MapL1, MapOutside, MapSmoothness, MapSparsity
from camtrain.regularizers.flat_maps import is_flat
from tests.regularizers.smooth_network import batch

INSIDE = [EnergyInside, MapBCE, MapL1, MapOutside]
EVERYWHERE = [MapSmoothness, MapSparsity]


def flat_network():
    """A network whose Grad-CAM of class 0 is negative everywhere: its features are positive and speak against it."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Softplus(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    ).double()
    with torch.no_grad():
        network[4].weight[0] = -network[4].weight[0].abs() - 0.1
    return network


def setting():
    images, _, masks = (each[:3] for each in batch())  # those with a mask
    return flat_network(), images, torch.zeros(3, dtype=torch.long), masks


@pytest.mark.parametrize("kind", [*INSIDE, *EVERYWHERE], ids=lambda kind: kind.__name__)
def test_a_flat_map_has_the_penalty_one_and_a_gradient_that_raises_it(kind):
    """The gradient is that of minus the mean, over the image, of s / mean |s| on the object (or everywhere)."""
    network, images, labels, masks = setting()
    cams = GradCAM(network, "1")(images, labels)
    assert bool(is_flat(cams).all())
    step = Objective(kind("grad_cam", "1"), 1.0)(network, images, labels, masks=masks)
    assert float(step.regularization) == 1
    (term,) = step.terms.values()
    assert (int(term.counted), int(term.flat)) == (len(images), len(images))

    step.loss.backward()
    found = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    # By itself: the Grad-CAM sum without its ReLU, written out.
    features = network[:2](images)
    logits = network[2:](features)
    (of_features,) = torch.autograd.grad(logits[:, 0].sum(), features, create_graph=True)
    signed = (of_features.mean((2, 3), keepdim=True) * features).sum(1)
    relative = resize(signed / signed.detach().abs().mean((1, 2), keepdim=True), images.shape[-2:])
    places = masks if kind in INSIDE else torch.ones_like(masks)
    revival = 3 if kind is MapOutside else 10
    penalty = -revival * (relative * places).flatten(1).mean(1).mean()
    (nn.functional.cross_entropy(logits, labels) + penalty).backward()
    for one, parameter in zip(found, network.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=1e-6, atol=1e-9)


def test_training_brings_a_flat_map_back():
    network, images, labels, masks = setting()
    regularizer = EnergyInside("grad_cam", "1")
    objective = Objective(regularizer, 1.0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    shares = []
    for _ in range(40):
        step = objective(network, images, labels, masks=masks)
        shares.append(int(step.terms["energy_inside"].flat) / len(images))
        optimizer.zero_grad()
        (step.loss - step.classification).backward()
        optimizer.step()
    assert shares[0] == 1
    assert shares[-1] == 0


def test_a_flat_map_without_annotation_does_not_count():
    network, images, labels, masks = setting()
    masks[0] = False
    step = Objective(EnergyInside("grad_cam", "1"), 1.0)(network, images, labels, masks=masks)
    term = step.terms["energy_inside"]
    assert (int(term.counted), int(term.flat)) == (len(images) - 1, len(images) - 1)


def test_a_pair_with_a_flat_map_has_the_penalty_one():
    network, images, labels, _ = setting()
    step = Objective(MapConsistency("grad_cam", "1"), 1.0)(network, images, labels)
    assert float(step.regularization) == 1
    step.loss.backward()
    assert float(network[0].weight.grad.abs().sum()) > 0


def test_a_map_that_is_negative_is_not_flat_for_a_penalty_of_its_magnitude():
    """HiResCAM keeps its sign, and `MapOutside` penalizes both."""
    network, images, labels, masks = setting()
    step = Objective(MapOutside("hi_res_cam", "1"), 1.0)(network, images, labels, masks=masks)
    assert int(step.terms["map_outside"].flat) == 0
    assert 0 < float(step.regularization) < 1
