"""The two classification losses by hand, and binary cross-entropy on every path of the objective."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.objective.classification_losses import CLASSIFICATION_LOSSES, binary_cross_entropy, cross_entropy
from camtrain.regularizers import GradientNorm
from tests.regularizers.smooth_network import batch, smooth_network

LOSSES = pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)


def test_values_by_hand():
    """Sigmoids of (1/2, 3/4, 1/4) and (3/4, 1/2, 1/2), the labels 1 and 2."""
    logits = torch.tensor([[0.0, math.log(3), -math.log(3)], [math.log(3), 0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([1, 2])
    first = -math.log(1 / 2) - math.log(3 / 4) - math.log(3 / 4)
    second = -math.log(1 / 4) - math.log(1 / 2) - math.log(1 / 2)
    assert binary_cross_entropy(logits, labels).item() == pytest.approx((first + second) / 2)
    # The softmaxes of the labels are 3 / (1 + 3 + 1/3) and 1 / (3 + 1 + 1).
    assert cross_entropy(logits, labels).item() == pytest.approx((-math.log(9 / 13) - math.log(1 / 5)) / 2)


@pytest.mark.parametrize("num_classes", [2, 100])
def test_the_gradient_at_a_logit_is_as_large_for_both(num_classes):
    """σ(z_k) − t_k and softmax(z)_k − t_k over N, however many classes there are."""
    torch.manual_seed(0)
    logits = torch.randn(4, num_classes, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(4) % num_classes
    targets = F.one_hot(labels, num_classes).double()
    (binary,) = torch.autograd.grad(binary_cross_entropy(logits, labels), logits)
    torch.testing.assert_close(binary, (logits.sigmoid() - targets) / 4)
    (other,) = torch.autograd.grad(cross_entropy(logits, labels), logits)
    torch.testing.assert_close(other, (logits.softmax(dim=1) - targets) / 4)


@LOSSES
def test_smoothing_and_probabilities_are_those_of_the_formula(name):
    torch.manual_seed(0)
    loss, labels = CLASSIFICATION_LOSSES[name], torch.tensor([1, 0, 2])
    logits = 3 * torch.randn(3, 4, dtype=torch.float64)
    hard = F.one_hot(labels, 4).double()
    assert torch.equal(loss(logits, hard, 0.0), loss(logits, labels, 0.0))
    torch.testing.assert_close(loss(logits, 0.7 * hard + 0.3 / 4, 0.0), loss(logits, labels, 0.3))
    torch.testing.assert_close(loss(logits, hard, 0.3), loss(logits, labels, 0.3))
    assert loss(logits, labels, 0.3) != loss(logits, labels, 0.0)


def test_an_image_may_have_several_labels_or_none():
    labels = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    found = binary_cross_entropy(torch.tensor([[2.0, 0.0], [0.0, -1.0]]), labels)
    expected = (math.log1p(math.exp(-2)) + 2 * math.log(2) + math.log1p(math.exp(-1))) / 2
    assert found.item() == pytest.approx(expected)


def test_a_confident_image_has_a_finite_loss_and_gradient():
    logits = torch.tensor([[1e4, -1e4]], requires_grad=True)
    for label, expected in ((0, 0.0), (1, 2e4)):
        loss = binary_cross_entropy(logits, torch.tensor([label]))
        assert loss.item() == expected
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.isfinite().all()


@LOSSES
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([3]), "expected classes from 0 to 1, got 3"),
        (torch.zeros(1, 3), r"expected \(1,\) class indices or \(1, 2\) probabilities, got shape \(1, 3\)"),
        (torch.zeros(1, 2).long(), "expected int64 class indices or floating point probabilities"),
    ],
)
def test_bad_labels_are_named(name, labels, message):
    with pytest.raises(ValueError, match=f"`labels`: {message}"):
        CLASSIFICATION_LOSSES[name](torch.zeros(1, 2), labels, 0.0)


def by_hand(logits, labels, smoothing):
    targets = (1 - smoothing) * F.one_hot(labels, logits.shape[1]).double() + smoothing / logits.shape[1]
    return -(targets * F.logsigmoid(logits) + (1 - targets) * F.logsigmoid(-logits)).sum(dim=1).mean()


@pytest.mark.parametrize("engine", [DoubleBackprop, FrozenGates])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_every_path_of_the_objective_uses_it(engine, smoothing):
    """The penalized gradient and the parameters' gradient against float64 autograd of the formulas written out."""
    network, (images, labels, _) = smooth_network(), batch()
    twin, leaf = copy.deepcopy(network), images.clone().requires_grad_()
    classification = by_hand(twin(leaf), labels, smoothing)
    (gradients,) = torch.autograd.grad(classification * len(leaf), leaf, create_graph=True)
    norms = gradients.flatten(1).square().sum(1).mean()
    expected = torch.autograd.grad(classification + 5 * norms, list(twin.parameters()))
    plain = torch.autograd.grad(by_hand(twin(images), labels, smoothing), list(twin.parameters()))

    settings = {"label_smoothing": smoothing, "classification_loss": "binary_cross_entropy"}
    regularized = Objective(GradientNorm(), 5.0, engine(), **settings)
    for objective, gradients_by_hand in ((regularized, expected), (Objective(**settings), plain)):
        network.zero_grad()
        step = objective(network, images, labels)
        measured = objective.measure(network, images, labels)
        step.loss.backward()
        for parameter, gradient in zip(network.parameters(), gradients_by_hand, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-7)
        for each in (step, measured):
            torch.testing.assert_close(each.classification, classification.detach().float())
            if objective is regularized:
                torch.testing.assert_close(each.regularization, norms.detach().float())


def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match="`classification_loss`: expected 'cross_entropy' or 'binary_cross_entropy', "):
        Objective(classification_loss="hinge")
    assert "classification_loss=binary_cross_entropy" in str(Objective(classification_loss="binary_cross_entropy"))
