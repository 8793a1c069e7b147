"""From a trial's configuration to its row in the table."""

from __future__ import annotations

import csv
import json
import platform
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from camtrain.ablation.tether import start_tethered
from camtrain.ablation.trial_lock import trial_lock
from camtrain.files import write_whole
from camtrain.study import Study, Trial

Status = Literal["finished", "was finished", "failed", "stopped", "held"]
_CHECK = 0.2  # seconds between two looks at a running process
_PATIENCE = 10.0  # seconds that a process has to end once it is asked to


@dataclass(frozen=True)
class Outcome:
    """How the running of a trial ended.

    Attributes:
        trial: its name.
        status: `finished` now, or it `was finished` before, or it `failed`; `stopped` if it was told to; `held` if
            another process runs it.
        seconds: that it took.
        log: of what failed.
        message: what it says.
    """

    trial: str
    status: Status
    seconds: float = 0.0
    log: Path | None = None
    message: str = ""


class TrialFailedError(Exception):
    """A command of a trial did not do what it should.

    Args:
        log: its output.
        message: what to say of it.
    """

    def __init__(self, log: Path, message: str) -> None:
        super().__init__(message)
        self.log = log


class TrialStoppedError(Exception):
    """A trial was told to stop."""


def run_trial(
    study: Study,
    trial: Trial,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    wait: bool = True,
    stop: threading.Event | None = None,
) -> Outcome:
    """Train, score and enter in the table what is not yet there; go on from the last checkpoint if there is one.

    Args:
        study: that the trial belongs to.
        trial: to run.
        command: words that call `camtrain`.
        environment: of its processes, beside this one's.
        wait: until another process that runs the trial is done, instead of coming back with `held`.
        stop: once set, the running process is ended, or the waiting.
    """
    stop = stop or threading.Event()
    while True:
        outcome = _run_if_free(study, trial, command, environment or {}, stop)
        if outcome.status != "held" or not wait:
            return outcome
        if stop.wait(_PATIENCE / 10):
            return Outcome(trial.name, "stopped")


def _run_if_free(
    study: Study, trial: Trial, command: Sequence[str], environment: Mapping[str, str], stop: threading.Event
) -> Outcome:
    started = time.monotonic()
    # Another process may be about to finish it: only who holds the lock can tell.
    with trial_lock(study.folder_of(trial)) as lock:
        if lock is None:
            return Outcome(trial.name, "held")
        if study.row(trial) is not None:
            return Outcome(trial.name, "was finished")
        run = _TrialRun(study, trial, command, environment, lock, stop)
        try:
            run.fit()
            scores = run.metrics() | run.evaluated()
        except TrialFailedError as error:
            return Outcome(trial.name, "failed", time.monotonic() - started, error.log, str(error))
        except TrialStoppedError:
            return Outcome(trial.name, "stopped", time.monotonic() - started)
        except Exception as error:  # whatever it is, the other trials go on
            log = study.folder_of(trial) / "error.log"
            log.write_text(traceback.format_exc(), encoding="utf-8")
            message = f"{type(error).__name__}: {error}"
            return Outcome(trial.name, "failed", time.monotonic() - started, log, message)
        study.write_row(trial, scores | provenance())
    return Outcome(trial.name, "finished", time.monotonic() - started)


class _TrialRun:
    """The commands of one trial."""

    def __init__(
        self,
        study: Study,
        trial: Trial,
        command: Sequence[str],
        environment: Mapping[str, str],
        lock: int,
        stop: threading.Event,
    ) -> None:
        self.study, self.trial, self.command, self.lock, self.stop = study, trial, command, lock, stop
        self.folder = study.folder_of(trial)
        threads = str(study.asked.threads)
        self.environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **environment}

    def fit(self) -> None:
        """Train and test; once only, but for a test that was not asked for then."""
        asked = self.study.asked
        if self._fitted.is_file() and (self._found["test"] or not asked.test):
            return
        run = {"folder": self.folder.parent, "name": self.folder.name, "resume": "true", "group": asked.name}
        run |= {"wandb": asked.wandb, "project": asked.project, "test": json.dumps(asked.test)}
        run |= {"tags": json.dumps(asked.tags)}
        words = [word for key, value in run.items() for word in (f"--run.{key}", str(value))]
        self._call("fit", ["--config", str(self.folder / "config.yaml"), *words])
        checkpoints = list(self.folder.glob("version_*/checkpoints/last.ckpt"))
        if not checkpoints:
            log = self.folder / "fit.log"
            raise TrialFailedError(log, "`camtrain fit` ended without an error, and without a checkpoint")
        last = max(checkpoints, key=lambda path: path.stat().st_mtime)
        found = {"run": last.parents[1].name, "checkpoint": scored_checkpoint(last), "test": asked.test}
        write_whole(self._fitted, json.dumps(found, indent=2) + "\n")

    @property
    def _fitted(self) -> Path:
        return self.folder / "fitted.json"

    @property
    def _found(self) -> dict[str, Any]:
        return {"test": True, **json.loads(self._fitted.read_text(encoding="utf-8"))}

    @property
    def _run(self) -> tuple[Path, Path]:
        """Folder of the finished run, and the checkpoint that its test scored."""
        run = self.folder / self._found["run"]
        return run, run / "checkpoints" / self._found["checkpoint"]

    def metrics(self) -> dict[str, float]:
        """The last value of everything that was logged, but for single classes.

        Validation is that of the scored checkpoint, as test and maps are.
        """
        run, checkpoint = self._run
        steps = int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
        with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
            return last_values(csv.DictReader(file), steps)

    def evaluated(self) -> dict[str, float | None]:
        """The scores of `camtrain evaluate`, under `evaluated/<metric>[/<method>]`."""
        words = self.study.asked.evaluation
        if not words:
            return {}
        out = self.study.evaluation_of(self.trial)
        self._call("evaluate", ["--checkpoint", str(self._run[1]), "--out", str(out), *words])
        scores = json.loads((out / "scores.json").read_text(encoding="utf-8"))["scores"]
        return {
            f"evaluated/{metric}" + (f"/{method}" if method != "network" else ""): entry["score"]
            for method, entries in scores.items()
            for metric, entry in entries.items()
        }

    def _call(self, name: str, words: Sequence[str]) -> None:
        """Run `camtrain <name> <words>` to its end; its output is added to `<name>.log`."""
        log = self.folder / f"{name}.log"
        process = start_tethered([*self.command, name, *words], log, self.environment, self.lock)
        try:
            while process.poll() is None:
                if self.stop.wait(_CHECK):
                    raise TrialStoppedError
        finally:
            _end(process)
        if process.returncode:
            raise TrialFailedError(log, _why(process.returncode, log))


def last_values(rows: Iterable[Mapping[str, str]], steps: int) -> dict[str, float]:
    """The last value of each quantity of `metrics.csv`; of validation, the last one after so many steps at most.

    Args:
        rows: of the file; a step's number is that of the steps done before it.
        steps: that the scored checkpoint was trained for.

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


def _why(status: int, log: Path) -> str:
    """What to say of a command that ended with an error."""
    if status > 0:
        return _last_line(log)
    name = signal.Signals(-status).name
    hint = " (often for want of memory: try fewer --jobs)" if -status == signal.SIGKILL else ""
    return f"ended by {name}{hint}; before: {_last_line(log)}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a process end, if it has not."""
    if process.stdin:
        # It ends with its children where nobody holds the other end.
        process.stdin.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def scored_checkpoint(last: Path) -> str:
    """Name of the checkpoint that `fit` tested: the best one, or the last where none was chosen.

    Args:
        last: `last.ckpt`, in the same folder.
    """
    saved = torch.load(last, map_location="cpu", weights_only=True)
    for state in saved["callbacks"].values():
        if isinstance(state, dict) and state.get("monitor") and state.get("best_model_path"):
            return Path(state["best_model_path"]).name
    return last.name


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
    """Of the code that runs, with a mark where it was changed since; empty where it is in no repository."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
