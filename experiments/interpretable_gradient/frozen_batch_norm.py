"""BatchNorm that no longer learns statistics from some epoch on: images of a batch do not see each other then."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import nn


class FrozenBatchNorm(pl.Callback):
    """Keeps every BatchNorm layer in evaluation mode from an epoch on; its scale and shift are trained as before.

    Args:
        start_epoch: The first epoch with frozen statistics; may be fractional.
    """

    def __init__(self, start_epoch: float = 0.0) -> None:
        self.start_epoch = start_epoch

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Freeze before each step, since something may have called `train()` since the last one."""
        if trainer.current_epoch + batch_idx / trainer.num_training_batches >= self.start_epoch:
            for layer in batch_norm_layers(pl_module):
                layer.eval()


def batch_norm_layers(module: nn.Module) -> list[nn.Module]:
    """The BatchNorm layers of a module."""
    return [layer for layer in module.modules() if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))]
