"""Gradients that are known in advance, against those of the losses that they stand for."""

from __future__ import annotations

import torch
from torch import nn

from camtrain.gradients.surrogate_terms import times_factors, with_row_factors, zero_with_gradients


def test_row_factors_weight_a_mean_over_the_images():
    torch.manual_seed(0)
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    factors = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    scaled = with_row_factors(logits, factors)
    assert torch.equal(scaled, logits)
    (found,) = torch.autograd.grad(scaled.exp().sum(1).mean(), logits)
    (expected,) = torch.autograd.grad((factors * logits.exp().sum(1)).mean(), logits)
    torch.testing.assert_close(found, expected)


def test_factors_are_not_rounded_to_the_precision_of_the_rows():
    rows, factor = torch.full((1, 1), 3.0, dtype=torch.bfloat16), torch.tensor([1.0 + 2.0**-8])
    assert times_factors(rows, factor).item() == torch.tensor(3.0 * (1.0 + 2.0**-8)).bfloat16().item()
    # bfloat16 has 8 bits: it would round the factor to 1 and the product to 3.
    assert (rows * factor.bfloat16()).item() == 3.0
    assert times_factors(rows, factor).item() != 3.0


def test_zero_with_gradients_adds_them_to_those_of_the_loss():
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))
    known = [(first, torch.tensor([1.0, 2.0])), (second, torch.tensor([5.0]))]
    zero = zero_with_gradients(known, torch.tensor(0.5))
    assert zero.item() == 0.0
    (6.0 * zero + first.sum()).backward()
    assert first.grad.tolist() == [4.0, 7.0]
    assert second.grad.tolist() == [15.0]
