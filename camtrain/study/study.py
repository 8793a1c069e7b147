"""A study as a folder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from camtrain.files import write_whole
from camtrain.study.evaluation_words import evaluation_hash
from camtrain.study.study_plan import StudyPlan, evaluation_from_json
from camtrain.study.trial import Trial

Row = dict[str, Any]
"""A row of the table of results, by column."""

_FIRST_COLUMNS = ("trial", "hash", "seed")
_HANDED_OVER = "plan.json"


class Study:
    """A folder of runs.

        study.json               what is run: the plan and its trials
        results.csv              a row for each finished trial
        trials/<name>/           config.yaml, plan.json, trial.log, row.json; version_<k>/, the run; evaluated_<hash>/,
                                 the files of `camtrain.evaluate`

    A trial is known by its whole configuration. A new plan takes over the trials that it shares with an earlier one, in
    the folders that they have. The others stay in `trials` and are not in the table.

    Args:
        folder: The folder of the study.
        plan: What is run.
        trials: The runs; of two with the same configuration one is kept.
    """

    def __init__(self, folder: Path, plan: StudyPlan, trials: Sequence[Trial]) -> None:
        self.folder = folder
        self.plan = plan
        self.trials = list({trial.hash: trial for trial in trials}.values())
        self._names: dict[str, str] = {}

    @classmethod
    def opened(cls, folder: Path) -> Study:
        """The study that a folder holds.

        Raises:
            FileNotFoundError: If there is none, or a trial's configuration is gone.
        """
        found = _content(folder)
        trials = []
        for each in found["trials"]:
            path = folder / "trials" / each["name"] / "config.yaml"
            if not path.is_file():
                raise FileNotFoundError(f"{path} is gone: `camtrain ablate` with the words of the study makes it again")
            trials.append(Trial(each["point"], each["seed"], yaml.safe_load(path.read_text(encoding="utf-8"))))
        return cls(folder, StudyPlan.from_json(_plan(found)), trials)

    @staticmethod
    def plan_in(folder: Path) -> StudyPlan:
        """The plan of the study that a folder holds, whatever has become of its trials.

        Raises:
            FileNotFoundError: If there is none.
        """
        return StudyPlan.from_json(_plan(_content(folder)))

    def write(self) -> None:
        """Write the plan, and the resolved configuration of each trial."""
        for trial in self.trials:
            write_whole(self.folder_of(trial) / "config.yaml", yaml.safe_dump(dict(trial.config), sort_keys=False))
        trials = [
            {"name": self.folder_of(trial).name, "hash": trial.hash, "seed": trial.seed, "point": dict(trial.point)}
            for trial in self.trials
        ]
        content = {"plan": self.plan.as_json(), "trials": trials}
        write_whole(self.folder / "study.json", json.dumps(content, indent=2) + "\n")

    def folder_of(self, trial: Trial) -> Path:
        """The folder of a trial; its name comes from the grid that ran the trial first."""
        if trial.hash not in self._names:
            self._names[trial.hash] = self._name_in_use(trial)
        return self.folder / "trials" / self._names[trial.hash]

    def _name_in_use(self, trial: Trial) -> str:
        trials = self.folder / "trials"
        if not (trials / trial.name).is_dir():
            for path in sorted(trials.glob(f"*-{trial.hash[:8]}/config.yaml")):
                config = yaml.safe_load(path.read_text(encoding="utf-8"))
                if Trial({}, 0, config).hash == trial.hash:
                    return path.parent.name
        return trial.name

    def evaluation_of(self, trial: Trial) -> Path:
        """The folder with the scores of a trial's maps; scores of other settings are in other folders."""
        written: Any = None if self.plan.evaluation is None else self.plan.evaluation.as_json()
        if self.row(trial) is not None:
            # A finished trial was scored in the folder that its entry names, perhaps by an earlier version.
            written = (self._entry(trial) or {}).get("evaluation", written)
        return self.folder_of(trial) / f"evaluated_{evaluation_hash(written)}"

    def trial_named(self, name: str) -> Trial:
        """The trial of a name, or of a folder below `trials`.

        Raises:
            KeyError: If there is none.
        """
        for trial in self.trials:
            if name in (trial.name, self.folder_of(trial).name):
                return trial
        raise KeyError(f"no trial of {self.folder} is called {name!r}")

    def hand_over(self, trial: Trial) -> None:
        """Write what a worker has to know of a trial beside the trial.

        Another call on the same folder may plan other trials meanwhile, and other scores.
        """
        content = {"plan": self.plan.as_json(), "point": dict(trial.point), "seed": trial.seed}
        write_whole(self.folder_of(trial) / _HANDED_OVER, json.dumps(content, indent=2) + "\n")

    @classmethod
    def taken_over(cls, folder: Path, name: str) -> tuple[Study, Trial]:
        """The study of one trial, as `hand_over` left it.

        Args:
            folder: The folder of the study.
            name: The name of the trial's folder below `trials`.

        Raises:
            FileNotFoundError: If nobody has handed over such a trial.
        """
        place = folder / "trials" / name
        path = place / _HANDED_OVER
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there: camtrain.ablation.run_trial writes it and starts the worker")
        found = json.loads(path.read_text(encoding="utf-8"))
        config = yaml.safe_load((place / "config.yaml").read_text(encoding="utf-8"))
        trial = Trial(found["point"], found["seed"], config)
        study = cls(folder, StudyPlan.from_json(found["plan"]), [trial])
        study._names[trial.hash] = name
        return study, trial

    def row(self, trial: Trial) -> Row | None:
        """The result of a finished trial; `None` if it is not finished, or was scored by another plan.

        It has the values of the present grid, which may be another one than that in which it was run.
        """
        found = self._entry(trial)
        # A first version had no "keys"; its columns of validation meant another checkpoint, so it is entered again.
        if found is None or "keys" not in found or found["hash"] != trial.hash:
            return None
        if evaluation_from_json(found["evaluation"]) != self.plan.evaluation:
            return None
        if self.plan.test and not found["test"]:
            return None
        known = {*_FIRST_COLUMNS, *found["keys"]}
        scores = {column: value for column, value in found["row"].items() if column not in known}
        return {**self._first(trial), **scores}

    def _entry(self, trial: Trial) -> dict[str, Any] | None:
        path = self.folder_of(trial) / "row.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def _first(self, trial: Trial) -> Row:
        return {"trial": self.folder_of(trial).name, "hash": trial.hash, "seed": trial.seed, **trial.point}

    def write_row(self, trial: Trial, scores: Mapping[str, Any]) -> None:
        """Enter the result of a trial, which finishes it."""
        evaluation = None if self.plan.evaluation is None else self.plan.evaluation.as_json()
        planned = {"evaluation": evaluation, "test": self.plan.test, "keys": list(trial.point)}
        content = {"hash": trial.hash, **planned, "row": {**self._first(trial), **scores}}
        write_whole(self.folder_of(trial) / "row.json", json.dumps(content, indent=2) + "\n")

    def rows(self) -> list[Row]:
        """The rows of all finished trials, in the order of the grid."""
        return [row for trial in self.trials if (row := self.row(trial)) is not None]

    def others(self) -> list[str]:
        """The names of finished trials in the folder that are not part of the plan."""
        names = {self.folder_of(trial).name for trial in self.trials}
        return sorted(
            path.parent.name for path in self.folder.glob("trials/*/row.json") if path.parent.name not in names
        )

    def write_results(self) -> Path:
        """Write `results.csv`: a row for each finished trial."""
        rows = self.rows()
        keys = list(dict.fromkeys(key for trial in self.trials for key in trial.point))
        rest = sorted({column for row in rows for column in row} - {*_FIRST_COLUMNS, *keys})
        text = io.StringIO()
        writer = csv.DictWriter(text, [*_FIRST_COLUMNS, *keys, *rest], lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows([{key: _cell(value) for key, value in row.items()} for row in rows])
        path = self.folder / "results.csv"
        write_whole(path, text.getvalue())
        return path


def _content(folder: Path) -> dict[str, Any]:
    path = folder / "study.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no study: `camtrain ablate --out {folder}` makes one")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _plan(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The plan of a study's file; earlier versions called it what was asked."""
    return content["plan"] if "plan" in content else content["asked"]  # type: ignore[no-any-return]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)
