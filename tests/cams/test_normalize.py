"""`normalize`: hand values, flat maps, gradients, NaN."""

from __future__ import annotations

import math

import pytest
import torch

from camtrain.cams import normalize


def test_hand_values_each_map_by_itself():
    cams = torch.tensor([[[1.0, 3.0], [2.0, 5.0]], [[-4.0, 0.0], [-1.0, -2.0]]])
    expected = torch.tensor([[[0.0, 0.5], [0.25, 1.0]], [[0.0, 1.0], [0.75, 0.5]]])
    assert torch.equal(normalize(cams), expected)


def test_leaves_its_input_alone():
    cams = torch.tensor([[[1.0, 3.0]]])
    normalize(cams)
    assert torch.equal(cams, torch.tensor([[[1.0, 3.0]]]))


@pytest.mark.parametrize("scale", [1e-38, 1e-6, 1.0, 1e30])
def test_spans_exactly_zero_to_one_at_every_scale(scale):
    cams = scale * torch.randn(50, 7, 3, generator=torch.Generator().manual_seed(0))
    normalized = normalize(cams)
    assert torch.equal(normalized.amin(dim=(-2, -1)), torch.zeros(50))
    assert torch.equal(normalized.amax(dim=(-2, -1)), torch.ones(50))
    order = cams.flatten(1).argsort(dim=1)
    assert (normalized.flatten(1).gather(1, order).diff(dim=1) >= 0).all()


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-30, 1e30])
def test_flat_map_is_zeros_with_zero_gradient(value):
    cams = torch.full((1, 4, 4), value, requires_grad=True)
    normalized = normalize(cams)
    (gradient,) = torch.autograd.grad(normalized, cams, torch.randn(1, 4, 4))
    assert torch.equal(normalized, torch.zeros(1, 4, 4))
    assert torch.equal(gradient, torch.zeros(1, 4, 4))


def test_flat_map_does_not_touch_its_neighbor():
    cams = torch.tensor([[[2.0, 2.0, 2.0]], [[1.0, 2.0, 5.0]]], requires_grad=True)
    normalized = normalize(cams)
    (gradient,) = torch.autograd.grad(normalized[..., 1].sum(), cams)
    assert torch.equal(normalized[0], torch.zeros(1, 3))
    # m = (b - a) / (c - a): dm/da = (b - c) / (c - a)², dm/db = 1 / (c - a), dm/dc = -(b - a) / (c - a)²
    expected = torch.tensor([[[0.0, 0.0, 0.0]], [[-3 / 16, 1 / 4, -1 / 16]]])
    torch.testing.assert_close(gradient, expected)


def test_gradcheck():
    cams = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(normalize, cams)


def test_nan_stays_visible_and_in_its_map():
    normalized = normalize(torch.tensor([[[math.nan, 1.0, 1.0]], [[0.0, 1.0, 4.0]]]))
    assert normalized[0].isnan().all()
    assert torch.equal(normalized[1], torch.tensor([[0.0, 0.25, 1.0]]))


def test_no_maps():
    assert normalize(torch.zeros(0, 4, 4)).shape == (0, 4, 4)
