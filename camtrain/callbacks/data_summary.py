"""Says at the start of a stage what its data are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class DataSummary(Callback):
    """Prints how many images, classes, boxes and masks the training and validation images have, and the test images.

    Boxes and masks that were meant and not found are seen here before the training, and not in its result. It works
    with any data module that has `summary(splits)`, as those of `camtrain.data` have; of others it says nothing.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training and validation images."""
        _say(trainer, ("train", "val"))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Test images."""
        _say(trainer, ("test",))


def _say(trainer: Trainer, splits: Sequence[str]) -> None:
    summary: Any = getattr(getattr(trainer, "datamodule", None), "summary", None)
    if trainer.is_global_zero and callable(summary):
        print(f"\n{summary(splits)}\n", flush=True)
