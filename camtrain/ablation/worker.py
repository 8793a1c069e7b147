"""One trial of a study, in a process of its own: `python -m camtrain.ablation.worker FOLDER TRIAL`.

It trains what is not yet trained, scores what is not yet scored, and enters the result in the study. What it prints
goes to the trial's log.
"""

from __future__ import annotations

import csv
import platform
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from camtrain.ablation.fitted import record, recorded
from camtrain.ablation.running_trial import note_phase
from camtrain.ablation.tether import restart
from camtrain.evaluation import (
    NETWORK,
    EvaluationPlan,
    NoImagesError,
    OtherEvaluationError,
    evaluate,
    validates_on_test_images,
)
from camtrain.files import DamagedFileError, said_aside
from camtrain.loading import load_data, load_network
from camtrain.messages import one_line
from camtrain.networks.checkpoint_file import checkpoint_content
from camtrain.runs import RunSettings, TrainingStoppedError, fit, is_first_process
from camtrain.runs.training_parser import WrongArgumentsError
from camtrain.study import EVALUATED, VALIDATED, Study, Trial

STOPPED = 143
"""The exit status of a worker whose training was stopped before its end, as after SIGTERM."""

Train = Callable[[Path, RunSettings], Path]
"""From a configuration and the settings of a run to the folder of the finished run."""


def main(words: list[str] | None = None) -> int:
    """Train the trial that the words name, and score it in a fresh process; what is done already is not done again.

    Scores must not depend on what a training leaves behind in its process. Of several processes that Lightning starts
    for several devices, one goes on to the scores.

    Args:
        words: The folder of a study, the name of a trial's folder, and `offline`, `online` or `disabled` if W&B's mode
            is another one than the study's. `None` takes them from the command line.

    Returns:
        The exit status.
    """
    words = sys.argv[1:] if words is None else words
    if len(words) not in (2, 3):
        print("usage: python -m camtrain.ablation.worker FOLDER TRIAL [offline|online|disabled]", file=sys.stderr)
        return 2
    study, trial = Study.taken_over(Path(words[0]), words[1])
    if not is_trained(study, trial):
        try:
            train_trial(study, trial, words[2] if len(words) == 3 else None)
        except TrainingStoppedError as error:
            print(error, file=sys.stderr)
            return STOPPED
        if not is_first_process():
            return 0
        note_phase(study.folder_of(trial), "scoring maps")
        if study.plan.evaluation is not None:
            restart([sys.executable, "-m", "camtrain.ablation.worker", *words])
    note_phase(study.folder_of(trial), "scoring maps")
    score_trial(study, trial)
    return 0


def is_trained(study: Study, trial: Trial) -> bool:
    """Whether the training of a trial reached its end, and was tested if that is planned.

    A record of it that is damaged is set aside; the training, resumed from its last checkpoint, makes it again.
    """
    try:
        found = recorded(study, trial)
    except DamagedFileError as error:
        print(f"{said_aside(error)}; the training is taken up again", file=sys.stderr)
        return False
    return found is not None and (found.test or not study.plan.test)


def train_trial(study: Study, trial: Trial, wandb: str | None = None, train: Train = fit) -> None:
    """Train a trial; a training that was stopped goes on from its last checkpoint.

    Args:
        study: The study.
        trial: One of its trials.
        wandb: W&B's mode; `None` is the study's.
        train: Trains a configuration.

    Raises:
        TrainingStoppedError: If the training was stopped before its end.
    """
    plan, folder = study.plan, study.folder_of(trial)
    settings = RunSettings(
        folder=str(folder.parent),
        name=folder.name,
        wandb=wandb or plan.wandb,  # type: ignore[arg-type]
        project=plan.project,
        group=plan.name,
        tags=list(plan.tags),
        test=plan.test,
        resume=True,
    )
    run = train(folder / "config.yaml", settings)
    if is_first_process():
        record(study, trial, run)


def score_trial(study: Study, trial: Trial) -> None:
    """Score the maps of a trained trial, and enter its result in the study.

    Args:
        study: The study.
        trial: One of its trials.

    Raises:
        ValueError: If a file that it needs is damaged.
    """
    found = recorded(study, trial)
    assert found is not None  # it is trained
    scores: dict[str, Any] = {
        **_logged(found.run, found.checkpoint),
        **_scored(study, trial, found.checkpoint),
        **_validated(study, trial, found.checkpoint),
    }
    study.write_row(trial, scores | provenance())


def _logged(run: Path, checkpoint: Path) -> dict[str, float]:
    """The last value of everything that was logged, but for single classes.

    Validation is that of the scored checkpoint, as test and maps are.
    """
    steps = int(checkpoint_content(checkpoint)["global_step"])
    path = run / "metrics.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return last_values(csv.DictReader(file, strict=True), steps)
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        said = said_aside(DamagedFileError(path, str(error)))
        raise ValueError(f"{said}; the same call makes it again from the last checkpoint") from error


def last_values(rows: Iterable[Mapping[str, str]], steps: int) -> dict[str, float]:
    """The last value of each quantity of `metrics.csv`; of validation, those of the last one before a number of steps.

    What that validation did not measure, since it is measured in some epochs only, is left out.

    Args:
        rows: The rows of the file; a step's number is that of the steps done before it.
        steps: The number of steps that the scored checkpoint was trained for.

    Example:
        >>> rows = [{"step": "7", "val/accuracy": "0.9", "train/loss": "1"}, {"step": "15", "val/accuracy": "0.8"}]
        >>> last_values(rows, 8), last_values(rows, 16)
        ({'train/loss': 1.0, 'val/accuracy': 0.9}, {'train/loss': 1.0, 'val/accuracy': 0.8})
    """
    found: dict[str, float] = {}
    of_validation: dict[str, dict[str, float]] = {}
    for row in rows:
        for key, value in row.items():
            if not value or "/" not in key or "_per_class" in key:
                continue
            if not key.startswith("val/"):
                found[key] = float(value)
            elif int(row["step"]) < steps:
                of_validation.setdefault(row["step"], {})[key] = float(value)
    last = max(of_validation, key=int, default=None)
    return found | ({} if last is None else of_validation[last])


def _scored(study: Study, trial: Trial, checkpoint: Path) -> dict[str, float | None]:
    """The scores of the maps of a checkpoint, under `evaluated/<metric>[/<method>]`; NaN is `None`."""
    plan = study.plan.evaluation
    return {} if plan is None else _scores(plan, checkpoint, study.evaluation_of(trial), EVALUATED)


def _validated(study: Study, trial: Trial, checkpoint: Path) -> dict[str, float | None]:
    """The scores of the maps on validation images, under `validated/<metric>[/<method>]`; none without such images."""
    plan = study.plan.validation
    if plan is None:
        return {}
    try:
        return _scores(plan, checkpoint, study.validation_of(trial), VALIDATED)
    except NoImagesError as error:
        print(f"{error}; so the best point of the study is chosen by test images", file=sys.stderr)
        return {}


def _scores(plan: EvaluationPlan, checkpoint: Path, folder: Path, prefix: str) -> dict[str, float | None]:
    network = load_network(checkpoint)
    data = load_data(checkpoint, network)
    if prefix == VALIDATED and validates_on_test_images(data):
        raise NoImagesError("the validation images are the test images")
    try:
        scores = evaluate(network, data, folder=folder, **plan.arguments())
    except OtherEvaluationError as error:
        # The folder is the trial's: its scores are those of an earlier checkpoint, or of an earlier version.
        print(f"{error.reason}; the maps are scored from the beginning", file=sys.stderr)
        scores = evaluate(network, data, folder=folder, fresh=True, **plan.arguments())
    return {
        f"{prefix}{each.metric}" + (f"/{each.method}" if each.method != NETWORK else ""): _finite(each.value)
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


def _in_a_line() -> int:
    """Do as the command line says; the last line of what is printed says what went wrong."""
    try:
        return main()
    except WrongArgumentsError as error:  # which is said above it, with a hint that is not for this command
        print(one_line(error.message), file=sys.stderr)
        return 2
    except Exception as error:
        traceback.print_exc()
        said = str(error) if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {error}"
        print(one_line(said), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(_in_a_line())
