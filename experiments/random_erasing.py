"""Random erasing: what a regularizer of maps has to be better than."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torchvision.transforms import v2


class RandomErasing(pl.Callback):
    """Hides a random rectangle in half of the training images, with the mean color (Zhong et al., AAAI 2020)."""

    def __init__(self) -> None:
        self._erase = v2.RandomErasing(p=0.5, value=0)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Change the batch before the step; each image has a draw of its own."""
        batch.images = torch.stack([self._erase(image) for image in batch.images])
