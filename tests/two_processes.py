"""Trains a network with L = L_C + λ L_R in as many processes as its first argument says, and saves its weights.

Its second argument is the number of steps that balance the terms. Run by `test_distributed.py` as a script, because
Lightning starts the other processes by running it again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from camtrain import Classifier
from camtrain.batch import Batch
from camtrain.regularizers import EnergyInside, InterpretableGradient, MapFaithfulness, MapSparsity, Sum, Term


def main(processes: int, balance_steps: int, path: str | Path) -> None:
    torch.backends.mkldnn.enabled = os.environ.get("CAMTRAIN_TEST_ONEDNN") != "0"
    torch.manual_seed(0)
    # Without BatchNorm, whose statistics are those of each process.
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip
    module = Classifier(
        network,
        2,
        regularizer=Sum(
            [
                # Not indifferent to a factor 1/n, as cosine is.
                Term(InterpretableGradient("mse"), 1e-2 if balance_steps else 1e4),
                Term(MapSparsity("layer_cam", "2"), 1.0),
                # Whatever each process draws, these settings mask all images alike.
                Term(
                    MapFaithfulness(
                        "layer_cam", "2", necessity_weight=0.0, swapped=0.0, soft_masks=1.0, blurred_backgrounds=0.0
                    ),
                    1.0,
                ),
                # Of images of which few have a mask, unevenly among the processes.
                Term(EnergyInside("layer_cam", "2", annotation="masks"), 1.0),
            ]
        ),
        regularizer_balance_steps=balance_steps,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )
    images = torch.randn(16, 3, 8, 8)
    masks = torch.zeros(16, 8, 8, dtype=torch.bool)
    masks[[0, 2, 4, 5, 6, 10], 2:6, 1:5] = True
    samples = TensorDataset(images, torch.arange(16) % 2, masks)
    trainer = pl.Trainer(
        accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto", max_epochs=2, logger=False,
        precision="64-true", enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    # Batches of a whole data set: which images a process gets makes no difference to their mean.
    # Of 7 validation images two processes get 4 each: one is repeated. The third class has none.
    few = TensorDataset(images[:7], torch.tensor([0, 1, 0, 1, 0, 1, 1]), masks[:7])
    training = DataLoader(samples, batch_size=16 // processes, collate_fn=masked)
    trainer.fit(module, training, DataLoader(few, batch_size=3, collate_fn=masked))
    if trainer.is_global_zero:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        torch.save({"weights": network.state_dict(), "val": values}, path)


def masked(samples: list[tuple[torch.Tensor, ...]]) -> Batch:
    images, labels, masks = map(torch.stack, zip(*samples, strict=True))
    return Batch(images, labels, masks=masks)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
