"""RBR: a value by hand, and the whole against a loop over images in float64."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import VisionTransformer

from camtrain import Objective
from camtrain.gradients import FrozenGates
from camtrain.networks import CIFARResNet
from camtrain.regularizers import GradientNorm, MapFaithfulness, RightForBetterReasons, RightForRightReasons, Sum, Term
from tests.regularizers.smooth_network import batch, smooth_network


def as_large_as_l_c(network, images, labels, masks):
    """The λ with which both terms are equal."""
    start = Objective(RightForBetterReasons()).measure(network, images, labels, masks=masks)
    return float(start.classification / start.regularization)


def test_by_hand():
    """The logits are q and -q, with q = Σ_c w_c m_c and m_c the mean of a channel, and p = 1 / (1 + exp(-2 q)).

    The gradients at the head add up to 0 over the classes, and those at w to s = -2 (1 - p) Σ_c m_c.
    """
    weights, means = (0.5, -1.0, 0.25), (1.5, 0.5, 2.0)
    network = nn.Sequential(
        nn.Conv2d(3, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2, bias=False)
    )
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor(weights).view(1, 3, 1, 1))
        network[3].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    image = torch.tensor(means).view(1, 3, 1, 1) + torch.tensor([[1.0, -1.0], [2.0, -2.0]])
    p = 1 / (1 + math.exp(-2 * sum(w * m for w, m in zip(weights, means, strict=True))))
    influence = [(2 * 2 * w * p * (1 - p) * sum(means) - 2 * (1 - p)) / 4 for w in weights]
    gradient = [2 * w * (1 - 2 * p) / 4 for w in weights]
    expected = 3 * sum((i * g) ** 2 for i, g in zip(influence, gradient, strict=True))  # three pixels are outside
    masks = torch.tensor([[[False, True], [False, False]]])
    step = Objective(RightForBetterReasons(), 1.0)(network, image, torch.tensor([0]), masks=masks)
    assert step.regularization.item() == pytest.approx(expected, rel=1e-5)


def loop_loss(network, images, labels, masks):
    """L at λ = 0.7 with three annotated images, image by image."""
    total = F.cross_entropy(network(images), labels)
    for image, label, mask in zip(images[:3], labels[:3], masks[:3], strict=True):
        image = image[None].clone().requires_grad_()
        probabilities = network(image).softmax(1)[0]
        gradients = torch.autograd.grad(-probabilities[label].log(), list(network.parameters()), create_graph=True)
        (influence,) = torch.autograd.grad(sum(g.sum() for g in gradients), image, create_graph=True)
        (gradient,) = torch.autograd.grad(probabilities.log().sum(), image, create_graph=True)
        total = total + 0.7 / 3 * ((influence * gradient)[0, :, ~mask] ** 2).sum()
    return total


def test_value_and_gradient_are_those_of_a_loop():
    network, (images, labels, masks) = smooth_network(), batch()
    with torch.no_grad():
        network[6].weight.mul_(0.3)  # no probability is 1
    found = Objective(RightForBetterReasons(), 0.7)(network, images, labels, masks=masks).loss
    expected = loop_loss(network, images, labels, masks)
    # 4/3, the inverse of the fraction of annotated images, is a float32.
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0)
    parameters = list(network.parameters())
    for first, second in zip(
        torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_through_batch_normalization_is_that_of_finite_differences(training):
    """torch's own batch normalization has no third derivative."""
    network, (images, labels, masks) = smooth_network().insert(1, nn.BatchNorm2d(4).double()), batch()
    network[1].train(training)
    masks[3] = masks[0]
    weight = as_large_as_l_c(network, images, labels, masks)

    def loss(network):
        return Objective(RightForBetterReasons(), weight)(network, images, labels, masks=masks).loss

    gradients = torch.autograd.grad(loss(network), list(network.parameters()))
    torch.manual_seed(3)
    directions = [torch.randn_like(parameter) for parameter in network.parameters()]
    step, values = 1e-5, []
    for sign in (1, -1):
        moved = copy.deepcopy(network)
        with torch.no_grad():
            for parameter, direction in zip(moved.parameters(), directions, strict=True):
                parameter += sign * step * direction
        values.append(loss(moved).detach())
    found = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    torch.testing.assert_close(found, (values[0] - values[1]) / (2 * step), rtol=1e-6, atol=0)


def test_the_engine_makes_no_difference():
    torch.manual_seed(0)
    network, (images, labels, masks) = CIFARResNet(depth=8, num_classes=3).double(), batch()
    first, second = (
        Objective(RightForBetterReasons(), 1.0, engine)(network, images, labels, masks=masks).loss
        for engine in (None, FrozenGates(step=0.1))
    )
    assert first == second


def test_one_more_pass_with_the_same_dropout():
    torch.manual_seed(0)
    seen = []
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Softplus(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(288, 3)
    )
    network[3].register_forward_hook(lambda _module, _inputs, output: seen.append(output == 0))
    images, labels, masks = batch()
    Objective(RightForBetterReasons())(network, images.float(), labels, masks=masks)
    assert len(seen) == 2
    assert torch.equal(*seen)
    assert int(network[1].num_batches_tracked) == 1


def test_soft_labels_beside_other_terms_lazily_and_balanced():
    network, (images, labels, masks) = smooth_network(), batch()
    soft = 0.9 * F.one_hot(labels, 3).double() + 0.1 / 3
    terms = [
        Term(GradientNorm(), 0.1),
        Term(RightForRightReasons(), 0.1),
        Term(MapFaithfulness(target_layer="4"), 0.1),
        Term(RightForBetterReasons(), 1.0),
    ]
    objective = Objective(Sum(terms), 0.5, every_n_steps=2, balance_steps=1)
    first, second = (objective(network, images, soft, masks=masks) for _ in range(2))
    assert [step.regularized for step in (first, second)] == [True, False]
    term = first.terms["right_for_better_reasons"]
    assert int(term.counted) == 3
    torch.testing.assert_close(term.scale * term.value, first.classification)
    hard = Objective(RightForBetterReasons(), 1.0)(network, images, labels, masks=masks)
    torch.testing.assert_close(term.value, hard.regularization)


def test_half_precision():
    network, (images, labels, masks) = smooth_network().float(), batch()
    weight = as_large_as_l_c(network, images.float(), labels, masks)
    objective = Objective(RightForBetterReasons(), weight)
    steps = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            step = objective(network, images.float(), labels, masks=masks)
        network.zero_grad()
        step.loss.backward()
        steps.append((step, torch.cat([parameter.grad.flatten() for parameter in network.parameters()])))
    (precise, expected), (rounded, found) = steps
    assert rounded.regularization.dtype == torch.float32
    torch.testing.assert_close(rounded.regularization, precise.regularization, rtol=0.05, atol=0)
    assert F.cosine_similarity(found, expected, dim=0) > 0.98


def test_a_vision_transformer():
    torch.manual_seed(0)
    network = VisionTransformer(16, 4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3)
    nn.init.normal_(network.heads.head.weight)
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[:, 2:9, 3:12] = True
    step = Objective(RightForBetterReasons(), 1.0)(
        network, torch.randn(2, 3, 16, 16), torch.tensor([0, 1]), masks=masks
    )
    assert step.regularization > 0
    step.loss.backward()
    assert network.conv_proj.weight.grad.isfinite().all()


def test_what_cannot_be_trained():
    images, labels, masks = batch()
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardsigmoid(), nn.Flatten(), nn.Linear(144, 3)).double()
    objective = Objective(RightForBetterReasons(), 1.0)
    with pytest.raises(RuntimeError, match="`network`: an operation of Sequential has no second derivative, which"):
        objective(network, images, labels, masks=masks)
    with pytest.raises(ValueError, match="`network`: RightForBetterReasons expects parameters that require a gradient"):
        objective(smooth_network().requires_grad_(False), images, labels, masks=masks)
    with pytest.raises(ValueError, match="`annotation`: expected any, masks or boxes, got 'polygons'"):
        RightForBetterReasons(annotation="polygons")
