"""Keeps the rows of `metrics.csv` in the checkpoints of a run, so that no kill and no torn file loses them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from lightning_fabric.utilities.apply_func import convert_tensors_to_scalars
from pytorch_lightning import Callback, LightningModule, Trainer

from camtrain.runs.metrics_table import MetricsTable, Row, rows_of

_KEY = "camtrain_metrics"


class TableKeeper(Callback):
    """Puts the table of a run into its checkpoints.

    Lightning writes the row of an epoch after the checkpoint of that epoch, and a resumed run begins with the next
    epoch: a kill in between would lose the row. So a checkpoint also has the row that is about to be written.

    Cost: a tenth of the size of `metrics.csv` in each checkpoint, since the text is compressed.
    """

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the rows."""
        row = _row_of_this_epoch(trainer)  # in all processes: they reduce its values together
        table = next((logger for logger in trainer.loggers if isinstance(logger, MetricsTable)), None)
        if table is None or not trainer.is_global_zero:
            return
        written = table.path.read_bytes() if table.path.is_file() else b""
        checkpoint[_KEY] = {"table": zlib.compress(written, level=1), "next": row}


def rows_in_checkpoint(content: Mapping[str, Any]) -> list[Row] | None:
    """The rows of a run up to a checkpoint.

    Args:
        content: The content of the checkpoint.

    Returns:
        The rows; `None` if the checkpoint does not have them, as those of earlier versions.
    """
    kept = content.get(_KEY)
    if kept is None:
        return None
    try:
        text = zlib.decompress(kept["table"]).decode()
        return [*(rows_of(text) if text else []), *([kept["next"]] if kept["next"] else [])]
    except (KeyError, TypeError, ValueError, zlib.error):  # the file was damaged when the checkpoint was written
        return None


def _row_of_this_epoch(trainer: Trainer) -> dict[str, Any]:
    """The row that Lightning writes after the hooks of a training epoch's end; empty at any other time.

    `trainer.logged_metrics` has its values, mixed with those of other stages: Lightning has no public way to them.
    """
    connector = trainer._logger_connector
    is_end_of_epoch = trainer.training and connector._first_loop_iter is None
    if not is_end_of_epoch or trainer._results is None:
        return {}
    values: dict[str, Any] = dict(convert_tensors_to_scalars(connector.metrics["log"]))
    if not values:
        return {}
    if "step" in values:
        return {**values, "step": int(values["step"])}
    # Lightning counts the last step of an epoch only after it has written the row.
    step = trainer.fit_loop.epoch_loop._batches_that_stepped - 1
    return {"epoch": trainer.current_epoch, **values, "step": step}
