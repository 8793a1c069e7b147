"""Writes the predictions of `camtrain predict` to a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import Tensor
from torch.utils._pytree import tree_leaves

from camtrain.batch import Batch
from camtrain.callbacks.run_folder import run_folder
from camtrain.class_names import names_in_use
from camtrain.files import spreadsheet_cell, whole_file
from camtrain.label_scores import classes_of
from camtrain.messages import sample_path
from camtrain.pictures import class_name


class PredictionWriter(BasePredictionWriter):
    """Writes `predictions.csv` to the folder of the run: one line for each image, in the order of the data set.

    The columns are `index` (of the image in the data set), `path` (of its file), `label`, `predicted_class`,
    `probability` (of that class) and `probability_<class>` for each class. A path or label that is not known is empty.
    If images may show several classes, the label is a list of those that the image shows, separated by semicolons,
    `predicted_class` is the most probable class, and `predicted_classes` lists those whose probability is at least 1/2.
    Classes are named by the data module, or numbered if it has no names; a single class has the two
    answers `not <class>` and `<class>`. With
    several processes, each writes its own images to `predictions_<rank>.csv`. With several loaders, the lines of the
    second follow those of the first. `fast_dev_run` writes nothing.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")
        self._labels: list[Tensor | None] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the labels of an earlier prediction."""
        self._labels = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the labels of the batch, which the predictions do not have."""
        super().on_predict_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
        labels = Batch.of(batch).labels
        self._labels.append(None if labels is None else labels.cpu())

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Write the file; Lightning passes the probabilities of each batch, (N, K)."""
        folder = run_folder(trainer)
        rows = list(_rows(predictions, batch_indices, self._labels))
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        known = names_in_use(pl_module, getattr(trainer, "datamodule", None))
        count = len(rows[0].probabilities)
        names = [str(name) for name in (known if known and len(known) == count else range(count))]
        data_sets = [getattr(loader, "dataset", None) for loader in tree_leaves(trainer.predict_dataloaders)]
        part = f"_{trainer.global_rank}" if trainer.world_size > 1 else ""
        path = folder / f"predictions{part}.csv"
        with whole_file(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            several = bool(getattr(pl_module, "several_labels", False))
            of_classes = ["predicted_classes"] * several + [f"probability_{name}" for name in names]
            writer.writerow(["index", "path", "label", "predicted_class", "probability", *of_classes])
            for row in rows:
                best = int(row.probabilities.argmax())
                shown = [f"{float(value):.6f}" for value in row.probabilities]
                label = ";".join(class_name(names, each) for each in row.labels)
                said = [names[each] for each in (row.probabilities >= 0.5).nonzero().flatten().tolist()]
                all_said = [spreadsheet_cell(";".join(said))] * several
                words = [str(sample_path(data_sets[row.loader], row.index) or ""), label, names[best]]
                writer.writerow([row.index, *map(spreadsheet_cell, words), shown[best], *all_said, *shown])
        print(f"\npredictions {path}", flush=True)


@dataclass(frozen=True)
class _Row:
    """The prediction of one image: the number of its loader, its index in the data set, and what is known of it."""

    loader: int
    index: int
    probabilities: Tensor
    labels: list[int]


def _rows(predictions: Sequence[Any], batch_indices: Sequence[Any], labels: Sequence[Tensor | None]) -> Iterator[_Row]:
    """The prediction of each image. Lightning nests predictions by loader only if there are several."""
    of_loaders = [predictions] if isinstance(predictions[0], Tensor) else predictions
    of_batches = iter(labels)
    for loader, (batches, indices_of_batches) in enumerate(zip(of_loaders, batch_indices, strict=True)):
        known = indices_of_batches if len(indices_of_batches) == len(batches) else _in_order(batches)
        for probabilities, indices in zip(batches, known, strict=True):
            of_batch = next(of_batches, None)
            for place, (index, each) in enumerate(zip(indices, probabilities.cpu(), strict=True)):
                yield _Row(loader, index, each, classes_of(of_batch, place) or [])


def _in_order(batches: Sequence[Tensor]) -> Iterator[range]:
    """The images numbered as they came, where Lightning knows no indices, as those of an iterable data set."""
    start = 0
    for batch in batches:
        yield range(start, start + len(batch))
        start += len(batch)
