"""What the callbacks that mix the images of a batch have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from camtrain.batch import Batch
from camtrain.messages import checked_fraction, checked_number


class MixedBatches(pl.Callback, ABC):
    """Replaces the images of training batches by mixtures of them, with labels that are probabilities.

    Args:
        alpha: The parameter of the Beta distribution of the share of an image that stays, above 0.
        probability: The probability that a batch is mixed.

    Raises:
        ValueError: If an argument is out of range.
        TypeError: In training, if a batch is no `camtrain.batch.Batch` with labels, or the number of classes is not
            known.
    """

    def __init__(self, alpha: float = 1.0, probability: float = 1.0) -> None:
        self.alpha = float(checked_number("alpha", alpha, above=0))  # torch's Beta distribution takes no integers
        self.probability = checked_fraction("probability", probability)

    @abstractmethod
    def mixed(self, batch: Batch, num_classes: int) -> Batch:
        """The mixed batch.

        Args:
            batch: Images with labels: (N,) class indices or (N, K) probabilities.
            num_classes: K.
        """

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Mix the images of the batch before the step."""
        if not isinstance(batch, Batch) or batch.labels is None:
            raise TypeError(
                f"{type(self).__name__}: expected batches of camtrain.batch.Batch with labels, got "
                f"{type(batch).__name__}; a data module of your own yields them with "
                "`collate_fn=camtrain.batch.collate`"
            )
        if torch.rand(()) < self.probability:
            mixed = self.mixed(batch, _num_classes(self, trainer, pl_module))
            # Lightning hands the same object to the training step.
            for name in ("images", "labels", "boxes", "masks", "ignored"):
                setattr(batch, name, getattr(mixed, name))


def mixed_labels(labels: Tensor | None, kept: float, num_classes: int, dtype: torch.dtype) -> Tensor:
    """The labels (N, K) of mixed images: each has a share `kept` of its own label, and the rest of the label before.

    The label before the first one is the last one. Class indices stay class indices where no image has a share of two
    classes, since (N, K) of zeros and ones would say that images may show several.

    Args:
        labels: (N,) class indices or (N, K) probabilities.
        kept: The share that is an image's own, in [0, 1].
        num_classes: K.
        dtype: The type of the labels.

    Example:
        >>> mixed_labels(torch.tensor([0, 1]), 0.75, 2, torch.float32).tolist()
        [[0.75, 0.25], [0.25, 0.75]]
        >>> mixed_labels(torch.tensor([1, 1]), 0.75, 2, torch.float32).tolist()
        [1, 1]
    """
    assert labels is not None
    are_indices = labels.dim() == 1
    shares = (torch.nn.functional.one_hot(labels, num_classes) if are_indices else labels).to(dtype)
    mixed = kept * shares + (1 - kept) * shares.roll(1, 0)
    is_mixed = not are_indices or bool(((mixed > 0) & (mixed < 1)).any())
    return mixed if is_mixed else labels


def _num_classes(callback: MixedBatches, trainer: pl.Trainer, pl_module: pl.LightningModule) -> int:
    for known in (pl_module, getattr(trainer, "datamodule", None)):
        number = getattr(known, "num_classes", None)
        if isinstance(number, int):
            if number < 2:
                raise TypeError(
                    f"{type(callback).__name__}: expected a logit for each class, got num_classes = {number}"
                )
            return number
    raise TypeError(
        f"{type(callback).__name__}: expected a module or data module with an attribute `num_classes`, found none"
    )
