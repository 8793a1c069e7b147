"""One trial of a study, in a process of its own: `python -m camtrain.ablation.worker FOLDER TRIAL`.

It trains what is not yet trained, scores what is not yet scored, and enters the result in the study. What it prints
goes to the trial's log.
"""

from __future__ import annotations

import csv
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from camtrain.ablation.tether import let_go_with_parent
from camtrain.evaluation import NETWORK, evaluate
from camtrain.files import write_whole
from camtrain.loading import checkpoint_in, load_data, load_network
from camtrain.runs import RunSettings, TrainingStoppedError, fit
from camtrain.study import Study, Trial

_FITTED = "fitted.json"
STOPPED = 143
"""The exit status of a worker whose training was stopped before its end, as after SIGTERM."""


def main(words: list[str] | None = None) -> int:
    """Run the trial that the words name.

    Args:
        words: The folder of a study, the name of a trial, and `offline`, `online` or `disabled` if W&B's mode is
            another one than the study's. `None` takes them from the command line.

    Returns:
        The exit status.
    """
    folder, name, *mode = sys.argv[1:] if words is None else words
    study = Study.opened(Path(folder))
    try:
        finish_trial(study, study.trial_named(name), mode[0] if mode else None)
    except TrainingStoppedError as error:
        print(error, file=sys.stderr)
        return STOPPED
    return 0


def finish_trial(
    study: Study, trial: Trial, wandb: str | None = None, train: Callable[[Path, RunSettings], Path] = fit
) -> None:
    """Train, score and enter what is not yet there; a training that was stopped goes on from its last checkpoint.

    Args:
        study: The study.
        trial: One of its trials.
        wandb: W&B's mode; `None` is the study's.
        train: From a configuration and the settings of a run to the folder of the finished run.
    """
    run, checkpoint = _trained(study, trial, wandb or study.plan.wandb, train)
    scores: dict[str, Any] = {**_logged(run, checkpoint), **_scored(study, trial, checkpoint)}
    study.write_row(trial, scores | provenance())


def _trained(study: Study, trial: Trial, wandb: str, train: Callable[[Path, RunSettings], Path]) -> tuple[Path, Path]:
    """The folder of the finished run, and the checkpoint that its test scored."""
    plan, folder = study.plan, study.folder_of(trial)
    record = folder / _FITTED
    found = {"test": True, **json.loads(record.read_text(encoding="utf-8"))} if record.is_file() else None
    # Trained once only, but for a test that was not planned then.
    if found is None or (plan.test and not found["test"]):
        settings = RunSettings(
            folder=str(folder.parent),
            name=folder.name,
            wandb=wandb,  # type: ignore[arg-type]
            project=plan.project,
            group=plan.name,
            tags=list(plan.tags),
            test=plan.test,
            resume=True,
        )
        run = train(folder / "config.yaml", settings)
        found = {"run": run.name, "checkpoint": checkpoint_in(run).name, "test": plan.test}
        write_whole(record, json.dumps(found, indent=2) + "\n")
    run = folder / found["run"]
    return run, run / "checkpoints" / found["checkpoint"]


def _logged(run: Path, checkpoint: Path) -> dict[str, float]:
    """The last value of everything that was logged, but for single classes.

    Validation is that of the scored checkpoint, as test and maps are.
    """
    steps = int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return last_values(csv.DictReader(file), steps)


def last_values(rows: Iterable[Mapping[str, str]], steps: int) -> dict[str, float]:
    """The last value of each quantity of `metrics.csv`; of validation, the last one before a number of steps.

    Args:
        rows: The rows of the file; a step's number is that of the steps done before it.
        steps: The number of steps that the scored checkpoint was trained for.

    Example:
        >>> rows = [{"step": "7", "val/accuracy": "0.9", "train/loss": "1"}, {"step": "15", "val/accuracy": "0.8"}]
        >>> last_values(rows, 8), last_values(rows, 16)
        ({'val/accuracy': 0.9, 'train/loss': 1.0}, {'val/accuracy': 0.8, 'train/loss': 1.0})
    """
    found = {
        key: float(value)
        for row in rows
        for key, value in row.items()
        if value and "/" in key and not (key.startswith("val/") and int(row["step"]) >= steps)
    }
    return {key: value for key, value in found.items() if "accuracy_per_class" not in key}


def _scored(study: Study, trial: Trial, checkpoint: Path) -> dict[str, float | None]:
    """The scores of the maps of a checkpoint, under `evaluated/<metric>[/<method>]`; NaN is `None`."""
    plan = study.plan.evaluation
    if plan is None:
        return {}
    network = load_network(checkpoint)
    data = load_data(checkpoint, network)
    scores = evaluate(network, data, folder=study.evaluation_of(trial), **plan.arguments())
    return {
        f"evaluated/{each.metric}" + (f"/{each.method}" if each.method != NETWORK else ""): _finite(each.value)
        for each in scores
    }


def _finite(value: float) -> float | None:
    return value if value == value and abs(value) != float("inf") else None


def provenance() -> dict[str, str]:
    """What a number depends on beside its configuration: versions, the commit, the machine."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return {
        "commit": _commit(),
        "version/camtrain": version("camtrain"),
        "version/torch": torch.__version__,
        "version/pytorch-lightning": version("pytorch-lightning"),
        "version/python": platform.python_version(),
        "device": device,
    }


def _commit() -> str:
    """The commit of the running code, with a mark where it was changed since; empty outside of a repository."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    let_go_with_parent()
    sys.exit(main())
