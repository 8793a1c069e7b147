"""L_C is asked of one object: a user's own loss is that of every path."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.objective.batch_loss import BatchLoss
from camtrain.regularizers import GradientNorm, InterpretableGradient, MapSparsity, RightForRightReasons, Sum, Term
from tests.regularizers.smooth_network import batch, smooth_network

ENGINES = pytest.mark.parametrize("engine", [DoubleBackprop, FrozenGates])
LABELS = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 1]])  # several classes in an image, or none


class BinaryCrossEntropy(Objective):
    """Each class for itself, of (N, K) labels that need not sum to one."""

    def classification_loss(self, logits, labels):
        return F.binary_cross_entropy_with_logits(logits, labels)


def by_hand(logits, labels=LABELS):
    return -(labels * F.logsigmoid(logits) + (1 - labels) * F.logsigmoid(-logits)).mean()


def parameters_of(network):
    return list(network.parameters())


@pytest.mark.parametrize("balance_steps", [0, 1])
@ENGINES
@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        GradientNorm,
        lambda: GradientNorm("running"),
        RightForRightReasons,
        lambda: MapSparsity(target_layer="4"),
        lambda: MapSparsity("input_gradient"),
        lambda: Sum(
            [Term(GradientNorm(), 0.3), Term(MapSparsity(target_layer="4")), Term(MapSparsity("input_gradient"))]
        ),
    ],
    ids=["none", "norm", "running", "log_probabilities", "map", "score", "sum"],
)
def test_every_path_asks_the_subclass(make, engine, balance_steps):
    network, (images, _, masks) = smooth_network(), batch()
    expected = by_hand(network(images)).detach().float()
    assert abs(expected - F.cross_entropy(network(images), LABELS.double())) > 0.1
    regularizer = make()
    for weight in (0.0, None if regularizer is None else 0.5):
        objective = BinaryCrossEntropy(regularizer, weight, engine(), balance_steps=balance_steps)
        for ask in (objective, objective.measure):
            torch.manual_seed(0)  # which class of an image a map explains is drawn
            step = ask(network, images, LABELS, masks=masks)
            torch.testing.assert_close(step.classification, expected, rtol=1e-6, atol=0)
            added = sum(term.weight * term.scale * term.value for term in step.terms.values())
            torch.testing.assert_close(step.loss.detach().float(), expected + objective.weight * added)
        if balance_steps and step.terms and weight:
            for term in step.terms.values():
                assert term.scale == pytest.approx(float(expected / term.value), rel=1e-5)


@ENGINES
def test_the_penalized_gradient_and_the_parameters_are_those_of_the_subclass(engine):
    """Against float64 autograd of the formulas written out."""
    network, (images, _, _) = smooth_network(), batch()
    twin, leaf = copy.deepcopy(network), images.clone().requires_grad_()
    classification = by_hand(twin(leaf))
    (gradients,) = torch.autograd.grad(classification * len(leaf), leaf, create_graph=True)
    norms = gradients.flatten(1).square().sum(1)
    expected = torch.autograd.grad(classification + 30 * norms.mean(), parameters_of(twin))

    step = BinaryCrossEntropy(GradientNorm(), 30.0, engine())(network, images, LABELS, measure_gradient_share=True)
    torch.testing.assert_close(step.regularization, norms.mean().detach().float())
    step.loss.backward()
    for parameter, gradient in zip(parameters_of(network), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-7)
    with torch.no_grad():
        measured = BinaryCrossEntropy(GradientNorm(), 30.0).measure(network, images, LABELS)
    torch.testing.assert_close(measured.regularization, norms.mean().detach().float())
    plain = torch.autograd.grad(by_hand(twin(images)), parameters_of(twin))
    size = torch.cat([g.flatten() for g in plain]).norm()
    of_regularizer = torch.cat([(a - b).flatten() for a, b in zip(expected, plain, strict=True)]).norm()
    assert 0.05 < of_regularizer / (of_regularizer + size) < 0.95
    assert step.gradient_share.item() == pytest.approx((of_regularizer / (of_regularizer + size)).item(), rel=1e-3)


def test_float32_keeps_the_gradient_of_a_confident_image():
    """p − 1 at p = 1 − 10⁻⁶; in float32 one digit of it is left."""
    logits = torch.tensor([[13.8, 0.0]], requires_grad=True)
    labels = torch.tensor([0])
    exact = torch.sigmoid(torch.tensor(13.8).double()).item() - 1
    loss = BatchLoss(Objective().classification_loss, labels)
    for value, tolerance in ((loss.precise(logits), 1e-6), (loss(logits), 0.1)):
        (gradient,) = torch.autograd.grad(value, logits)
        assert gradient[0, 0].item() == pytest.approx(exact, rel=tolerance)
        assert value.dtype == torch.float32
    assert loss(logits).item() != pytest.approx(loss.precise(logits).item(), rel=1e-3)


def test_plain_training_asks_for_no_other_precision():
    seen = []

    class Watched(Objective):
        def classification_loss(self, logits, labels):
            seen.append((logits.dtype, labels.dtype))
            return super().classification_loss(logits, labels)

    network, (images, labels, _) = smooth_network().float(), batch()
    probabilities = F.one_hot(labels, 3).float()
    Watched(InterpretableGradient(), 0.0)(network, images.float(), probabilities)
    assert seen == [(torch.float32, torch.float32)]
    Watched(GradientNorm(), 1.0, DoubleBackprop())(network, images.float(), probabilities)
    assert seen[1:] == [(torch.float64, torch.float64)]


def test_a_loss_of_one_precision_is_told_what_to_do():
    class Weighted(Objective):
        def classification_loss(self, logits, labels):
            return F.cross_entropy(logits, labels, weight=torch.tensor([1.0, 2.0, 3.0]))

    network, (images, labels, _) = smooth_network().float(), batch()
    assert Weighted()(network, images.float(), labels).loss > 0
    with pytest.raises(RuntimeError) as error:
        Weighted(GradientNorm(), 1.0)(network, images.float(), labels)
    assert "bring its own tensors, such as class weights, to `logits.dtype`" in error.value.__notes__[0]


def test_a_subclass_is_given_logits():
    class Pair(nn.Module):
        def forward(self, images):
            return images.mean((2, 3)), images

    with pytest.raises(ValueError, match=r"`network`: expected \(\d, K\) logits, got tuple"):
        BinaryCrossEntropy()(Pair(), *batch()[:2])
