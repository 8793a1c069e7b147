"""Writes the predictions of `camtrain predict` to a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import Tensor

from camtrain.callbacks.run_folder import run_folder
from camtrain.files import spreadsheet_cell, whole_file


class PredictionWriter(BasePredictionWriter):
    """Writes `predictions.csv` to the folder of the run: one line for each image, in the order of the data set.

    The columns are `index` (of the image in the data set), `predicted_class`, `probability` (of that class) and
    `probability_<class>` for each class. Classes are named by the data module, or numbered if it has no names. With
    several processes, each writes its own images to `predictions_<rank>.csv`. With several loaders, the lines of the
    second follow those of the first. `fast_dev_run` writes nothing.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Write the file; Lightning passes the probabilities of each batch, (N, K)."""
        folder = run_folder(trainer)
        rows = list(_rows(predictions, batch_indices))
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        names = getattr(getattr(trainer, "datamodule", None), "class_names", None) or range(len(rows[0][1]))
        part = f"_{trainer.global_rank}" if trainer.world_size > 1 else ""
        path = folder / f"predictions{part}.csv"
        with whole_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["index", "predicted_class", "probability", *(f"probability_{name}" for name in names)])
            for index, probabilities in rows:
                best = int(probabilities.argmax())
                shown = [f"{float(value):.6f}" for value in probabilities]
                writer.writerow([index, spreadsheet_cell(str(list(names)[best])), shown[best], *shown])
        print(f"\npredictions {path}", flush=True)


def _rows(predictions: Sequence[Any], batch_indices: Sequence[Any]) -> Iterator[tuple[int, Tensor]]:
    """Index and probabilities of each image. Lightning nests predictions by loader only if there are several."""
    of_loaders = [predictions] if isinstance(predictions[0], Tensor) else predictions
    for batches, indices_of_batches in zip(of_loaders, batch_indices, strict=True):
        for probabilities, indices in zip(batches, indices_of_batches, strict=True):
            yield from zip(indices, probabilities.cpu(), strict=True)
