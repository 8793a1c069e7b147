from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.regularizers import (
    EnergyInside,
    GradientNorm,
    InterpretableGradient,
    MapSparsity,
    RightForRightReasons,
    Sum,
    Term,
)
from camtrain.regularizers.sum import named_terms
from tests.regularizers.smooth_network import batch, smooth_network


def test_names():
    terms = [Term(EnergyInside()), Term(EnergyInside("layer_cam")), Term(MapSparsity(), name="area")]
    assert list(Sum(terms).named) == ["energy_inside", "energy_inside_2", "area"]
    assert list(named_terms(InterpretableGradient())) == ["interpretable_gradient"]


def test_weights_over_the_epochs():
    term = Term(GradientNorm(), 3.0, start_epoch=2, warmup_epochs=1.5, end_epoch=6)
    expected = {0: 0, 1.99: 0, 2: 0, 2.5: 1, 3.5: 3, 5.9: 3, 6: 0, 9: 0}
    assert {epoch: term.weight_at(epoch) for epoch in expected} == pytest.approx(expected)
    assert Term(InterpretableGradient()).weight_at(None) == 7.5e-3


def test_a_schedule_needs_the_epoch_and_follows_it():
    network, (images, labels, masks) = smooth_network(), batch()
    terms = [Term(GradientNorm(), 1.0), Term(EnergyInside(target_layer="4"), 2.0, start_epoch=1)]
    objective = Objective(Sum(terms), 0.5)
    with pytest.raises(ValueError, match=r"`epoch`: a term with a schedule needs it, got None; set objective\.epoch"):
        objective(network, images, labels, masks=masks)
    objective.epoch = 0.5
    before = objective(network, images, labels, masks=masks)
    assert list(before.terms) == ["gradient_norm"]
    objective.epoch = 1.0
    after = objective(network, images, labels, masks=masks)
    assert list(after.terms) == ["gradient_norm", "energy_inside"]
    norm, energy = (after.terms[name].value for name in after.terms)
    torch.testing.assert_close(after.regularization, norm + 2 * energy)
    torch.testing.assert_close(after.loss.detach().float(), after.classification + 0.5 * (norm + 2 * energy))
    torch.testing.assert_close(before.regularization, norm)


@pytest.mark.parametrize("engine", [DoubleBackprop, FrozenGates])
def test_a_map_stands_beside_a_gradient_with_running_statistics(engine):
    """The map is that of the training pass, by the batch's statistics, and the gradient that of a pass of its own."""
    network, (images, labels, masks) = smooth_network().insert(1, nn.BatchNorm2d(4).double()), batch()
    norm, energy = GradientNorm("running"), EnergyInside(target_layer="5")

    def gradients(regularizer, weight):
        twin = copy.deepcopy(network)
        Objective(regularizer, weight, engine())(twin, images, labels, masks=masks).loss.backward()
        return torch.cat([parameter.grad.flatten() for parameter in twin.parameters()])

    plain = gradients(None, 0)
    expected = gradients(norm, 0.5) + gradients(energy, 0.3) - 2 * plain
    found = gradients(Sum([Term(norm, 0.5), Term(energy, 0.3)]), 1.0) - plain
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Sum([]), ValueError, "`terms`: expected at least one, got none"),
        (lambda: Sum([GradientNorm()]), TypeError, "`terms`: expected Terms"),
        (
            lambda: Term(Sum([Term(GradientNorm())])),
            TypeError,
            "`regularizer`: expected a Regularizer that is not",
        ),
        (lambda: Term(GradientNorm(), -1), ValueError, "`weight`: expected a finite number of at least 0, got -1"),
        (lambda: Term(GradientNorm(), warmup_epochs=-1), ValueError, "`warmup_epochs`: expected a finite number"),
        (
            lambda: Term(GradientNorm(), end_epoch=0),
            ValueError,
            "`end_epoch`: expected a finite number above start_epoch = 0.0, got 0",
        ),
        (
            lambda: Sum([Term(GradientNorm()), Term(GradientNorm("running"))]),
            ValueError,
            "`terms`: expected the same batch_norm_statistics",
        ),
        (
            lambda: Sum([Term(GradientNorm("running")), Term(RightForRightReasons(batch_norm_statistics="running"))]),
            ValueError,
            r"of different scalars \(log_probabilities, loss\), got running",
        ),
    ],
)
def test_bad_settings(make, error, message):
    with pytest.raises(error, match=message):
        make()
