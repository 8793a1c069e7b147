"""A small network without kinks, whose gradients finite differences can check, and a batch for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def smooth_network() -> nn.Sequential:
    """From (N, 3, 8, 8) to (N, 3) logits, float64; layer "4" puts out (N, 5, 4, 4)."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Softplus(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 5, 3, padding=1),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(5 * 16, 3),
    ).double()
    with torch.no_grad():
        # Positive, so that no map is negative everywhere; large, so that images differ in their predictions.
        network[6].weight.abs_().mul_(10)
    return network


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Images, labels, and masks of which one is unknown."""
    torch.manual_seed(1)
    masks = torch.zeros(4, 8, 8, dtype=torch.bool)
    masks[:3, 2:6, 1:5] = True
    return torch.randn(4, 3, 8, 8).double(), torch.tensor([0, 1, 2, 1]), masks
