"""Takes gradients of L in two processes whose BatchNorm is synchronized, and saves their mean.

Run by `test_synchronized_batch_norm.py` with the rank, a file to meet at, and where to save. Torch's SyncBatchNorm
needs an accelerator; here its statistics are summed by torch's own differentiable collective, which the CPU has too.
"""

from __future__ import annotations

import datetime
import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce

from camtrain import Objective
from camtrain.gradients import FrozenGates
from camtrain.regularizers import InterpretableGradient

WEIGHT = 1.0


class SynchronizedBatchNorm(nn.SyncBatchNorm):
    """`nn.SyncBatchNorm` for the CPU, in training mode."""

    def forward(self, x):
        count = x.shape[0] * x.shape[2] * x.shape[3] * dist.get_world_size()
        mean = all_reduce(x.sum((0, 2, 3))) / count
        centered = x - mean.view(1, -1, 1, 1)
        variance = all_reduce(centered.square().sum((0, 2, 3))) / count
        normalized = centered / (variance + self.eps).sqrt().view(1, -1, 1, 1)
        return normalized * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def network(norm):
    """In float64, with the given layer between its convolutions."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), norm(6), nn.ReLU(), nn.Conv2d(6, 8, 3), norm(8), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 36, 4),
    ).double()  # fmt: skip


def batch():
    """Of which one process sees the even images; the odd ones are much brighter."""
    torch.manual_seed(1)
    images = torch.randn(8, 3, 8, 8, dtype=torch.float64) * torch.tensor([0.1, 10.0]).repeat(4).view(-1, 1, 1, 1)
    return images, torch.arange(8) % 4


def main(rank: int, meeting_point: str, path: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{meeting_point}", rank=rank, world_size=2, timeout=datetime.timedelta(seconds=60)
    )
    images, labels = batch()
    model = network(SynchronizedBatchNorm)
    found = []
    for limit in (1e-30, 1e9):
        engine = FrozenGates(one_term_limit=limit)
        for _ in range(2):  # the second step expects the form of the first
            model.zero_grad()
            weight = WEIGHT if limit < 1 else 1e-6
            step = Objective(InterpretableGradient(), weight, engine)(model, images[rank::2], labels[rank::2])
            step.loss.backward()
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= 2
        found.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    if rank == 0:
        torch.save(found, path)
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.backends.mkldnn.enabled = os.environ.get("CAMTRAIN_TEST_ONEDNN") != "0"
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
