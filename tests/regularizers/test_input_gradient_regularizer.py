from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain import Objective
from camtrain.regularizers import InputGradientRegularizer


class GradientNorm(InputGradientRegularizer):
    """‖δ_i‖², which needs no ReLU."""

    default_weight = 0.25

    def forward(self, gradients, guided_gradients, *, boxes=None, masks=None):
        assert guided_gradients is None
        self.seen = boxes, masks
        return gradients.flatten(1).square().sum(1)


def test_a_regularizer_of_ones_own():
    # logits (w x, 0), label 0: δ = -w p with p = 1 / (1 + exp(w x)); L_R = (w p)².
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.5], [0.0]]))
    regularizer, images = GradientNorm(), torch.full((2, 1, 1, 1), 0.8, dtype=torch.float64)
    boxes, masks = [torch.zeros(0, 4)] * 2, torch.ones(2, 1, 1, dtype=torch.bool)
    objective = Objective(regularizer)
    assert objective.weight == 0.25
    step = objective(network, images, torch.tensor([0, 0]), boxes=boxes, masks=masks)
    p = 1 / (1 + torch.tensor(1.2).exp().item())
    assert step.regularization.item() == pytest.approx((1.5 * p) ** 2, rel=1e-6)
    assert regularizer.seen == (boxes, masks)
    step.loss.backward()
    assert network[1].weight.grad.abs().min() > 0


def test_the_statistics_must_be_known():
    with pytest.raises(ValueError, match="`batch_norm_statistics`"):
        GradientNorm("both")
