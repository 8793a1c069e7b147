"""Reports the final scores of a run in one table: on screen, in the folder of the run and in W&B."""

from __future__ import annotations

import csv
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerFn
from tabulate import tabulate  # type: ignore[import-untyped, unused-ignore]

from camtrain.callbacks.best_values import BestValues
from camtrain.callbacks.run_folder import run_folder
from camtrain.callbacks.wandb_loggers import log_to_wandb, wandb_loggers
from camtrain.evaluation import METRICS
from camtrain.files import path_from_here, set_aside, write_whole
from camtrain.messages import CamtrainWarning

_SCORES = "scores.json"
_STAGES = ("train", "val", "test")
# The quantity as it is logged, its name in the table, and whether it is a fraction, which is printed in percent.
_ROWS = (
    ("accuracy", "accuracy", True),
    ("accuracy_top5", "top-5 accuracy", True),
    ("mean_average_precision", "mean average precision", True),
    ("f1", "F1", True),
    ("accuracy_worst_group", "worst-group accuracy", True),
    ("loss", "loss L", False),
    ("loss_classification", "classification L_C", False),
    ("loss_regularizer", "regularizer L_R", False),
    ("regularizer_counted", "images with a penalty", True),
    *((name, metric.title, True) for name, metric in METRICS.items()),
    ("flat_maps", "flat maps", True),
)


class ScoreReporter(Callback):
    """Reports the final scores at the end of fit, validate and test.

    A table of all scores is printed, with one column for each stage that this trainer has run (a test after a fit adds
    a column). Fractions are in percent. Below it are the folder of the run, its panels and its checkpoints. All scores
    are written to `scores.json` in the folder of the run. A `WandbLogger` also gets them in the summary of the run,
    with the best value of each validation score (`best/val/accuracy`, `best_epoch/val/accuracy`), and in the table
    `scores`.

    A run that is resumed and trains on has no test scores until its next test: those in `scores.json` are of a
    checkpoint that need not be the best one any longer.

    The callback also makes W&B plot every metric against `epoch`, where Lightning asks for the global step.

    `fast_dev_run` only prints.

    Args:
        print_table: Whether to print the table; false only writes and logs the scores.
    """

    def __init__(self, print_table: bool = True) -> None:
        self.print_table = print_table
        self.scores: dict[str, float] = {}
        self._best = BestValues()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Agree on the folder, forget the scores before a fit, and tell W&B to plot against the epoch."""
        self._folder = run_folder(trainer)
        if stage == "fit":
            self.scores = {}
            self._best = BestValues()
        for run in _wandb_runs(trainer):
            # Lightning defines "*" too, and W&B takes any of several patterns that match, so replace it.
            run.define_metric("epoch")
            run.define_metric("*", step_metric="epoch", step_sync=True, overwrite=True)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up the best values of a run that is resumed."""
        if trainer.ckpt_path is not None and trainer.is_global_zero:
            self._best.add_table(self._folder / "metrics.csv")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the test scores of an earlier training; not called if there is nothing left to train."""
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            _forget_test(self._folder / _SCORES)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on training and validation.

        If a run is resumed that had finished its training, report the scores that it has written.
        """
        if trainer.ckpt_path is not None and not trainer.callback_metrics:
            known = _known_scores(self._folder) if trainer.is_global_zero else {}
            self.scores = {key: value for key, value in known.items() if key.split("/")[0] in ("train", "val")}
        self._report(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the best values of fit; report on `trainer.validate`."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            values = {name: float(value) for name, value in trainer.callback_metrics.items()}
            self._best.add(trainer.current_epoch, values)
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._report(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report on the test, beside the scores of earlier stages."""
        self._report(trainer)

    def _report(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        final = {key: float(value) for key, value in trainer.callback_metrics.items()}
        self.scores.update({key: value for key, value in final.items() if key.split("/")[0] in _STAGES})
        if self.print_table:
            print(f"\n{score_table(self.scores)}\n{self._weights(trainer)}\n{self._places(trainer)}\n", flush=True)
        if getattr(trainer, "fast_dev_run", False):
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        _write_json(self.scores, self._folder / _SCORES)
        for run in _wandb_runs(trainer):
            run.summary.update(self.scores | self._best.summary())
        log_to_wandb(trainer, lambda: {"scores": _wandb_table(self.scores)})

    def _weights(self, trainer: Trainer) -> str:
        """A line that says which weights were scored; empty if all columns have the same weights."""
        stages = {key.split("/")[0] for key in self.scores}
        if not trainer.ckpt_path or not {"train", "test"} <= stages:
            return ""
        return f"(train and val: last epoch; test: {Path(trainer.ckpt_path).name})\n"

    def _places(self, trainer: Trainer) -> str:
        """The folders and files of the run, one per line."""
        places: list[tuple[str, Path | str]] = [("run", self._folder)]
        panels = self._folder / "panels"
        if panels.is_dir():
            places.append(("panels", panels))
        for run in _wandb_runs(trainer):
            folder = path_from_here(Path(run.dir).parent)
            places += [("W&B run", folder), *([("upload", f"wandb sync {folder}")] if run.offline else [])]
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint):
                paths = [Path(path) for path in (callback.best_model_path, callback.last_model_path) if path]
                # The checkpoint that was tested has put its own epoch's state in the place of the callback's.
                last = Path(callback.dirpath or "") / f"{callback.filename}.ckpt"
                paths += [path_from_here(last)] if last.is_file() else []
                places += [("checkpoint", path) for path in dict.fromkeys(paths)]
        return "\n".join(f"{name:<11} {place}" for name, place in places)


def score_table(scores: Mapping[str, float]) -> str:
    """Scores as a text table, with a row for each known quantity and a column for each stage.

    Args:
        scores: Values by `<stage>/<quantity>[/<method>]`; quantities that the table does not know are left out.

    Example:
        >>> print(score_table({"val/accuracy": 0.912, "test/accuracy": 0.9, "val/loss_regularizer": 0.25}))
        score               val    test
        ---------------  ------  ------
        accuracy         91.2 %  90.0 %
        regularizer L_R  0.2500       –
    """
    by_stage = _by_stage(scores)
    rows = [
        [name, *(_shown(values.get(key), fraction) for values in by_stage.values())]
        for key, name, fraction in _rows(by_stage)
    ]
    alignment = ["left", *("right" for _ in by_stage)]
    return str(tabulate(rows, ["score", *by_stage], "simple", disable_numparse=True, colalign=alignment))


def _by_stage(scores: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Values by stage and quantity; stages without values are left out."""
    stages: dict[str, dict[str, float]] = {stage: {} for stage in _STAGES}
    for key, value in scores.items():
        stage, _, quantity = key.partition("/")
        if stage in stages:
            stages[stage][quantity] = value
    return {stage: values for stage, values in stages.items() if values}


def _rows(by_stage: Mapping[str, Mapping[str, float]]) -> list[tuple[str, str, bool]]:
    """Key, name and kind of each row: the known quantities that some stage has, in the order of the table."""
    present = list(dict.fromkeys(key for values in by_stage.values() for key in values))
    rows = []
    for quantity, name, fraction in _ROWS:
        for key in present:
            head, _, method = key.partition("/")
            # That all images have a penalty goes without saying.
            goes_without_saying = quantity == "regularizer_counted" and all(
                values.get(key, 1.0) == 1 for values in by_stage.values()
            )
            if head == quantity and "/" not in method and not goes_without_saying:
                rows.append((key, f"{name}, {method}" if method else name, fraction))
    return rows


def _shown(value: float | None, fraction: bool) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{100 * value:.1f} %" if fraction else f"{value:#.4g}"


def _write_json(scores: Mapping[str, float], path: Path) -> None:
    """Write scores as JSON; NaN becomes null, since JSON has no NaN."""
    known = {key: value if math.isfinite(value) else None for key, value in scores.items()}
    write_whole(path, json.dumps(known, indent=2, sort_keys=True) + "\n")


def _forget_test(path: Path) -> None:
    """Remove the test scores from a file of scores; one that is damaged is left as it is."""
    try:
        known: Any = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in known.items() if not key.startswith("test/")}
    except (OSError, ValueError, AttributeError):
        return
    if kept != known:
        write_whole(path, json.dumps(kept, indent=2, sort_keys=True) + "\n")


def _known_scores(folder: Path) -> dict[str, float]:
    """The scores that a run has written; empty if it has not written any. Those of a damaged file are found again."""
    path = folder / _SCORES
    if not path.is_file():
        return {}
    try:
        known: dict[str, float | None] = json.loads(path.read_text(encoding="utf-8"))
        return {key: math.nan if value is None else float(value) for key, value in known.items()}
    except (ValueError, AttributeError, TypeError) as error:
        warnings.warn(
            f"{path} is damaged ({error}) and kept as {set_aside(path).name}; it is written again from metrics.csv",
            CamtrainWarning,
            stacklevel=2,
        )
        return _last_values(folder / "metrics.csv")


def _last_values(table: Path) -> dict[str, float]:
    """The last value in each column of a run's table."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        return {key: float(value) for row in csv.DictReader(file) for key, value in row.items() if value and "/" in key}


def _wandb_runs(trainer: Trainer) -> list[Any]:
    """The W&B runs of the trainer; empty except in the first process."""
    return [logger.experiment for logger in wandb_loggers(trainer)]


def _wandb_table(scores: Mapping[str, float]) -> Any:
    """All scores as a new table, since W&B's tables are immutable once logged."""
    import wandb  # takes a second, so only if a run is logged to W&B

    by_stage = _by_stage(scores)
    quantities = sorted({quantity for values in by_stage.values() for quantity in values})
    rows = [[quantity, *(values.get(quantity) for values in by_stage.values())] for quantity in quantities]
    return wandb.Table(columns=["quantity", *by_stage], data=rows)
