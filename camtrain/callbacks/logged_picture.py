"""Pictures of an epoch in loggers other than W&B's: TensorBoard, MLflow, and those with Lightning's `log_image`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from PIL import Image
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from camtrain.messages import CamtrainWarning
from camtrain.pictures import Pixels


def log_picture(trainer: Trainer, key: str, pixels: Pixels) -> None:
    """Log a picture of the epoch to every logger of the trainer that takes pictures, W&B's aside.

    TensorBoard has it under the key at the present step. MLflow has a file for each epoch, `<key>/epoch_<k>.png`, among
    the artifacts of the run. Any other logger with Lightning's `log_image(key, images, step)` gets it by this method.
    Only the first process logs.

    Args:
        trainer: The trainer.
        key: The name, such as `val/panels`.
        pixels: The picture, (H, W, 3) uint8 RGB.

    Warns:
        CamtrainWarning: If a logger does not take it. The training goes on.
    """
    for logger in trainer.loggers if trainer.is_global_zero else ():
        log = _way_of(logger)
        if log is None:
            continue
        try:
            log(trainer, key, pixels)
        except Exception as error:  # whatever a client raises that has no server or no disk
            reason = " ".join(str(error).split())[:300]
            warnings.warn(
                f"{type(logger).__name__}: {type(error).__name__}: {reason}; the run goes on without {key} in it",
                CamtrainWarning,
                stacklevel=3,
            )


def _way_of(logger: Logger) -> Callable[[Trainer, str, Pixels], None] | None:
    """How a logger takes a picture; `None` if it takes none, or is W&B's, which gets more than a picture."""
    client: Any = logger
    if isinstance(logger, WandbLogger):
        return None
    if isinstance(logger, TensorBoardLogger):
        return lambda trainer, key, pixels: client.experiment.add_image(
            key, pixels, global_step=trainer.global_step, dataformats="HWC"
        )
    if isinstance(logger, MLFlowLogger):
        return lambda trainer, key, pixels: client.experiment.log_image(
            client.run_id, pixels, artifact_file=f"{key}/epoch_{trainer.current_epoch}.png"
        )
    if callable(getattr(logger, "log_image", None)):
        return lambda trainer, key, pixels: client.log_image(key, [Image.fromarray(pixels)], step=trainer.global_step)
    return None
