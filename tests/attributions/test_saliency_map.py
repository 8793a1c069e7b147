"""`saliency_map` by hand, its gradient, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from camtrain.attributions import saliency_map

ATTRIBUTIONS = torch.tensor([[[[1.0, -5.0]], [[-3.0, 2.0]], [[0.5, 2.0]]], [[[0.0, 1.0]], [[0.0, 1.0]], [[0.0, 1.5]]]])


def test_hand_values():
    assert torch.equal(saliency_map(ATTRIBUTIONS), torch.tensor([[[3.0, 5.0]], [[0.0, 1.5]]]))
    assert torch.equal(saliency_map(ATTRIBUTIONS, "sum"), torch.tensor([[[-1.5, -1.0]], [[0.0, 3.5]]]))


def test_gradient_goes_to_the_channel_that_counts_and_is_finite_at_zero():
    attributions = ATTRIBUTIONS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(saliency_map(attributions).sum(), attributions)
    assert torch.equal(gradient[0, :, 0], torch.tensor([[0.0, -1.0], [-1.0, 0.0], [0.0, 0.0]]))
    assert torch.equal(gradient[1, :, 0], torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]))


@pytest.mark.parametrize("reduction", ["max", "sum"])
def test_gradcheck(reduction):
    attributions = torch.randn(2, 3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda values: saliency_map(values, reduction), attributions.requires_grad_())


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"`attributions`: expected \(N, C, H, W\), got \(3, 1, 2\)"):
        saliency_map(ATTRIBUTIONS[0])
    with pytest.raises(ValueError, match="`reduction`: expected 'max' or 'sum', got 'mean'"):
        saliency_map(ATTRIBUTIONS, "mean")
