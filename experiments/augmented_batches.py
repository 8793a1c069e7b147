"""Augmentations that hide or replace parts of training images: what a regularizer of maps has to be better than."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchvision.transforms import v2


class AugmentedBatches(pl.Callback):
    """Augments training batches with torchvision's own transforms.

    Args:
        kind: `random_erasing` hides a random rectangle in half of the images, with the mean color (Zhong et al., AAAI
            2020). `cutmix` pastes a rectangle of another image into all images of half of the batches, and mixes their
            labels in proportion (Yun et al., ICCV 2019).
    """

    def __init__(self, kind: Literal["random_erasing", "cutmix"]) -> None:
        self.kind = kind
        self._erase = v2.RandomErasing(p=0.5, value=0)
        self._cutmix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Learn the number of classes from the data."""
        if self.kind == "cutmix":
            self._cutmix = v2.CutMix(num_classes=trainer.datamodule.num_classes)  # type: ignore[attr-defined]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Change the batch before the step."""
        if self._cutmix is None:
            batch.images = torch.stack([self._erase(image) for image in batch.images])
        elif torch.rand(()) < 0.5:
            batch.images, batch.labels = self._cutmix(batch.images, batch.labels)
