from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain import Objective
from camtrain.regularizers import InterpretableGradient
from camtrain.regularizers.distances import DISTANCES

ALL = pytest.mark.parametrize("distance", list(DISTANCES))


def network_of(dtype=torch.float32):
    """Without BatchNorm: no image has anything to do with another."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 4)
    ).to(dtype)


def batch_of(dtype=torch.float32):
    torch.manual_seed(1)
    return torch.randn(6, 3, 8, 8, dtype=dtype), torch.tensor([0, 1, 2, 3, 0, 1])


@ALL
def test_is_the_distance_of_each_image(distance):
    torch.manual_seed(0)
    gradients, guided = torch.randn(2, 3, 3, 4, 5, dtype=torch.float64).unbind()
    found = InterpretableGradient(distance)(gradients, guided)
    expected = [
        DISTANCES[distance](a.reshape(1, 60), b.reshape(1, 60), 1e-8)[0] for a, b in zip(gradients, guided, strict=True)
    ]
    torch.testing.assert_close(found, torch.stack(expected))


def test_the_floor_is_handed_on():
    gradients = torch.full((1, 3, 2, 2), 1e-3)
    assert InterpretableGradient()(gradients, gradients).item() == pytest.approx(0, abs=1e-6)
    assert InterpretableGradient(floor=0.1)(gradients, gradients).item() == 1


def test_defaults_are_the_papers():
    regularizer = InterpretableGradient()
    assert (regularizer.distance, regularizer.batch_norm_statistics) == ("cosine", "batch")
    assert regularizer.default_weight == 7.5e-3
    assert Objective(regularizer).weight == 7.5e-3
    assert "distance='cosine'" in repr(regularizer)


@ALL
def test_the_value_of_a_batch_is_the_mean_of_its_halves(distance):
    network, (images, labels) = network_of(torch.float64), batch_of(torch.float64)
    objective = Objective(InterpretableGradient(distance), 1.0)
    whole = objective.measure(network, images, labels).regularization
    halves = [objective.measure(network, images[part], labels[part]).regularization for part in (slice(3), slice(3, 6))]
    assert halves[0] != halves[1]
    torch.testing.assert_close(whole, (halves[0] + halves[1]) / 2, rtol=1e-5, atol=0)


@ALL
@pytest.mark.parametrize("confidence", [10.0, 3e2, 1e3, 2e3, 3e3, 5e3, 1e4])
@pytest.mark.parametrize("right", [True, False])
def test_a_confident_classifier_has_finite_loss_and_gradients(distance, confidence, right):
    network, (images, labels) = network_of(), batch_of()
    with torch.no_grad():
        network[-1].weight *= confidence
        network[-1].bias *= confidence
        predictions = network(images).argmax(1)
        labels = predictions if right else (predictions + 1) % 4
    step = Objective(InterpretableGradient(distance), 7.5e-3)(network, images, labels)
    step.loss.backward()
    assert torch.isfinite(step.loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
    if right and confidence == 1e4:
        # Nothing is left to explain, and nothing to learn.
        nothing_in_common = 1 if distance in ("cosine", "histogram_intersection") else 0
        assert step.regularization.item() == pytest.approx(nothing_in_common, abs=1e-20)
        assert all(parameter.grad.abs().max() < 1e-20 for parameter in network.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distance": "euclidean"}, "`distance`: expected one of cosine, mae, mse, histogram_intersection, got 'eucl"),
        ({"floor": -1e-8}, "`floor`: expected a positive, finite number, got -1e-08"),
        ({"floor": 0}, "`floor`: expected a positive, finite number, got 0"),
        ({"floor": 1e400}, "`floor`: expected a positive, finite number, got inf"),
        ({"floor": float("nan")}, "`floor`: expected a positive, finite number, got nan"),
        ({"batch_norm_statistics": "mine"}, r"`batch_norm_statistics`: expected one of .*'running'.*, got 'mine'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        InterpretableGradient(**settings)


def test_the_guided_gradient_must_be_given():
    with pytest.raises(ValueError, match="`guided_gradients`: expected"):
        InterpretableGradient()(torch.ones(1, 3, 2, 2), None)
