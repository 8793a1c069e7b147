"""What is printed while a study runs: a line for each run, and how long the rest will take."""

from __future__ import annotations

import csv
import sys
import threading
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from camtrain.ablation.job_lines import JobLines, clock, job_line
from camtrain.ablation.outcome import Outcome
from camtrain.ablation.running_trial import progress_of
from camtrain.report.accuracies import ACCURACIES, accuracy_name
from camtrain.study import Study, Trial

_REFRESH = 2.0  # seconds between two looks at the runs
_TRAINING = 0.8  # share of a run that training counts as; its scores are the rest


class Progress:
    """A line for each run that ends, with an estimate of the time left; on a terminal a bar and the running jobs, too.

    The estimate assumes that the rest goes as fast as what this call has done so far, epoch by epoch.

    Args:
        study: The study that is run.
        silent: True prints nothing.
    """

    def __init__(self, study: Study, *, silent: bool = False) -> None:
        self.study = study
        self._silent = silent
        self.ended: dict[str, Outcome] = {}
        self._start = {trial.name: self._share(trial) for trial in study.trials}
        self._began = time.monotonic()
        self._bar = tqdm(
            total=len(study.trials),
            desc=study.plan.name,
            disable=silent or not sys.stderr.isatty(),
            # tqdm puts a comma before the postfix, if there is one.
            bar_format="{desc}: {percentage:.0f} % of {total:.0f} runs |{bar}| {elapsed}{postfix}",
            dynamic_ncols=True,
            file=sys.stderr,
        )
        self._jobs = JobLines(silent=self._bar.disable)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._jobs.close()
        self._bar.close()

    def end(self, outcome: Outcome) -> None:
        """Print how a run ended."""
        self.ended[outcome.trial] = outcome
        if self._silent:
            return
        number = f"[{len(self.ended)}/{len(self.study.trials)}]"
        tqdm.write(f"{number} {_short(outcome.trial)}: {self._words(outcome)}", file=sys.stderr)

    def left(self) -> float | None:
        """Seconds that the rest will take; `None` while nothing can be said."""
        done = sum(self._shares().values())
        now = done - sum(self._start.values())
        if now <= 0:
            return None
        return (time.monotonic() - self._began) * (len(self.study.trials) - done) / now

    def _words(self, outcome: Outcome) -> str:
        match outcome.status:
            case "was finished":
                return "was finished before"
            case "failed":
                return f"FAILED after {clock(outcome.seconds)}: {outcome.message}\n    its log: {outcome.log}"
            case "stopped" if outcome.message:
                return f"STOPPED after {clock(outcome.seconds)}: {outcome.message}"
            case "finished":
                left = self.left()
                rest = f", about {clock(left)} left" if left else ""
                return f"{self._accuracy(outcome.trial)}in {clock(outcome.seconds)}{rest}"
            case _:
                return outcome.status

    def _accuracy(self, name: str) -> str:
        row = self.study.row(self.study.trial_named(name)) or {}
        known = ((accuracy_name(name), row.get(name)) for name in ACCURACIES["test"])
        return next((f"{name} {100 * float(value):.1f} %, " for name, value in known if value is not None), "")

    def _shares(self) -> dict[str, float]:
        # What failed will not be done, so it takes no more time.
        return {trial.name: 1.0 if trial.name in self.ended else self._share(trial) for trial in self.study.trials}

    def _share(self, trial: Trial) -> float:
        """How much of a run is done, in [0, 1]."""
        if self.study.row(trial) is not None:
            return 1.0
        folder = self.study.folder_of(trial)
        if (folder / "fitted.json").is_file():
            return _TRAINING
        running = progress_of(folder)
        if running is not None and running.done is not None:
            return _TRAINING * running.done
        epochs = trial.config.get("trainer", {}).get("max_epochs") or 0
        tables = sorted(folder.glob("version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
        if not epochs or epochs < 0 or not tables:
            return 0.0
        try:
            with tables[-1].open(newline="", encoding="utf-8") as file:
                # The file may be read while it is written.
                seen = [int(row["epoch"]) for row in csv.DictReader(file) if (row.get("epoch") or "").isdecimal()]
        except (OSError, ValueError, csv.Error):  # damaged; the training, once it goes on, makes it again
            return 0.0
        return float(_TRAINING * min(1.0, max(seen, default=0) / epochs))

    def _watch(self) -> None:
        while not self._over.wait(_REFRESH):
            self.refresh()

    def refresh(self) -> None:
        """Show how far all runs are: a bar for the study, a line for each running one."""
        left = self.left()
        self._bar.n = sum(self._shares().values())
        self._bar.set_postfix_str(f"about {clock(left)} left" if left else "")
        rest = [trial for trial in self.study.trials if trial.name not in self.ended]
        found = [(trial, progress_of(self.study.folder_of(trial))) for trial in rest]
        self._jobs.show([job_line(_short(trial.name), progress) for trial, progress in found if progress is not None])


def _short(name: str) -> str:
    """The name of a trial without its hash."""
    return name.rpartition("-")[0]
