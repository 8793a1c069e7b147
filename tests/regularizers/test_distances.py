from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from camtrain.regularizers.distances import DISTANCES

ALL = pytest.mark.parametrize("name", list(DISTANCES))
SCALE_FREE = pytest.mark.parametrize("name", ["cosine", "histogram_intersection"])
FLOOR = 1e-8


def distance(name, gradients, targets, floor=FLOOR):
    return DISTANCES[name](gradients, targets, floor)


def random_pair(images=5, pixels=12):
    torch.manual_seed(0)
    return torch.randn(2, images, pixels, dtype=torch.float64).unbind()


@pytest.mark.parametrize(
    ("name", "first", "second", "expected"),
    [
        ("cosine", [3, 4], [4, 3], 1 - 24 / 25),
        ("cosine", [1, 2], [-2, -4], 2),
        ("cosine", [1, 0], [0, 9], 1),
        ("cosine", [5, -1], [5, -1], 0),
        ("mae", [1, -2], [3, 1], (2 + 3) / 2),
        ("mse", [1, -2], [3, 1], (4 + 9) / 2),
        # shares 1/4 3/4 0 and 1/2 1/4 1/4 have 1/4 + 1/4 in common
        ("histogram_intersection", [1, -3, 0], [2, 1, 1], 1 / 2),
        ("histogram_intersection", [1, 0], [0, 1], 1),
        ("histogram_intersection", [2, -4], [-1, 2], 0),
    ],
)
def test_by_hand(name, first, second, expected):
    first, second = (torch.tensor([values], dtype=torch.float64) for values in (first, second))
    assert distance(name, first, second).tolist() == pytest.approx([expected], abs=1e-15)


@ALL
def test_against_other_formulas_image_by_image(name):
    first, second = random_pair()
    expected = {
        "cosine": 1 - F.cosine_similarity(first, second, dim=1),
        "mae": F.l1_loss(first, second, reduction="none").mean(1),
        "mse": F.mse_loss(first, second, reduction="none").mean(1),
        "histogram_intersection": torch.tensor(
            [
                1 - sum(min(p, q) for p, q in zip(abs(a) / abs(a).sum(), abs(b) / abs(b).sum(), strict=True))
                for a, b in zip(np.asarray(first), np.asarray(second), strict=True)
            ],
            dtype=torch.float64,
        ),
    }[name]
    torch.testing.assert_close(distance(name, first, second), expected, rtol=1e-13, atol=1e-14)


@ALL
def test_gradient(name):
    first, second = random_pair()
    assert torch.autograd.gradcheck(lambda a: distance(name, a, second), first.requires_grad_())


@SCALE_FREE
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_scaling_either_argument_changes_nothing(name, factor):
    first, second = random_pair()
    expected = distance(name, first, second)
    torch.testing.assert_close(distance(name, factor * first, second), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(distance(name, first, factor * second), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("name", "power"), [("mae", 1), ("mse", 2)])
def test_errors_scale_with_the_gradients(name, power):
    first, second = random_pair()
    expected = distance(name, first, second)
    torch.testing.assert_close(distance(name, 10 * first, 10 * second), 10**power * expected)
    assert not torch.allclose(distance(name, 10 * first, second), expected)
    assert not torch.allclose(distance(name, first, 10 * second), expected)


@ALL
def test_range(name):
    largest = {"cosine": 2, "histogram_intersection": 1}.get(name, math.inf)
    first, second = random_pair(1000, 2)
    values = distance(name, first, second)
    assert values.min() >= 0
    assert values.max() <= largest
    if largest < math.inf:
        assert values.max() > 0.95 * largest, "the documented range is reached"
    torch.testing.assert_close(distance(name, first, first), torch.zeros(1000, dtype=torch.float64))


@SCALE_FREE
@pytest.mark.parametrize("dead", ["gradient", "target", "both"])
def test_a_dead_image_has_distance_one_and_no_gradient(name, dead):
    first, second = (part.clone() for part in random_pair())
    if dead != "target":
        first[1] = 0
    if dead != "gradient":
        second[1] = 0
    alive = torch.tensor([0, 2, 3, 4])
    first.requires_grad_()
    values = distance(name, first, second)
    assert values[1] == 1
    (gradient,) = torch.autograd.grad(values.sum(), first)
    assert torch.equal(gradient[1], torch.zeros_like(gradient[1]))
    torch.testing.assert_close(values[alive], distance(name, first[alive], second[alive]))
    (expected,) = torch.autograd.grad(distance(name, first[alive], second[alive]).sum(), first)
    torch.testing.assert_close(gradient, expected)
    assert gradient[0].norm() > 0


@pytest.mark.parametrize("name", ["mae", "mse"])
def test_errors_of_a_dead_image(name):
    first, second = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True), random_pair()[1][:1, :4]
    value = distance(name, first, second)
    assert value.item() == pytest.approx({"mae": second.abs(), "mse": second**2}[name].mean().item())
    (gradient,) = torch.autograd.grad(value, first)
    torch.testing.assert_close(gradient, {"mae": -second.sign() / 4, "mse": -second / 2}[name])


@SCALE_FREE
def test_the_floor(name):
    # Both norms, ‖·‖₁ and ‖·‖₂, of one pixel are its magnitude.
    gradients, targets = torch.tensor([[2.0, 0.0], [2.5, 0.0]]), torch.tensor([[3.0, 0.0], [3.0, 0.0]])
    assert distance(name, gradients, targets, 2.0).tolist() == [1, 0]
    assert distance(name, targets, gradients, 2.0).tolist() == [1, 0]


@SCALE_FREE
@pytest.mark.parametrize("size", [1e-12, 1e-7, 1e-3])
def test_tiny_float32_gradients_keep_their_direction(name, size):
    # F.cosine_similarity with its own eps of 1e-8 calls the smaller ones orthogonal.
    first, second = random_pair()
    expected = distance(name, first, second)
    found = distance(name, (size * first).float(), (size * second).float(), floor=0.0)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@ALL
def test_each_image_counts_for_itself(name):
    first, second = random_pair()
    whole = distance(name, first, second)
    assert whole.shape == (5,)
    for i in range(5):
        torch.testing.assert_close(distance(name, first[i : i + 1], second[i : i + 1])[0], whole[i])
