"""A study as a folder."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from camtrain.files import write_whole
from camtrain.study.asked import Asked
from camtrain.study.trial import Trial

Row = dict[str, Any]
"""Of the table of results, by column."""

_FIRST_COLUMNS = ("trial", "hash", "seed")


class Study:
    """A folder of runs.

        study.json               what was asked, and its trials
        results.csv              a row for each finished trial
        trials/<name>/           config.yaml, fit.log, evaluate.log, row.json, version_<k>/ of `camtrain fit`,
                                 evaluated_<hash>/ of `camtrain evaluate`

    Trials of an earlier question that are not part of the present one stay in `trials`, and are not in the table. Those
    that are, by their whole configuration, are this question's too, in the folders that they have.

    Args:
        folder: of the study.
        asked: what was asked.
        trials: its runs, no two of the same configuration.
    """

    def __init__(self, folder: Path, asked: Asked, trials: Sequence[Trial]) -> None:
        self.folder = folder
        self.asked = asked
        self.trials = list({trial.hash: trial for trial in trials}.values())
        self._names: dict[str, str] = {}

    @classmethod
    def opened(cls, folder: Path) -> Study:
        """The study that a folder holds.

        Raises:
            FileNotFoundError: if there is none, or a trial's configuration is gone.
        """
        found = _content(folder)
        trials = []
        for each in found["trials"]:
            path = folder / "trials" / each["name"] / "config.yaml"
            if not path.is_file():
                raise FileNotFoundError(f"{path} is gone: `camtrain ablate` with the words of the study makes it again")
            trials.append(Trial(each["point"], each["seed"], yaml.safe_load(path.read_text(encoding="utf-8"))))
        return cls(folder, Asked.from_json(found["asked"]), trials)

    @staticmethod
    def asked_in(folder: Path) -> Asked:
        """What was asked of the study that a folder holds, whatever has become of its trials.

        Raises:
            FileNotFoundError: if there is none.
        """
        return Asked.from_json(_content(folder)["asked"])

    def write(self) -> None:
        """Write what was asked, and the resolved configuration of each trial."""
        for trial in self.trials:
            write_whole(self.folder_of(trial) / "config.yaml", yaml.safe_dump(dict(trial.config), sort_keys=False))
        trials = [
            {"name": self.folder_of(trial).name, "hash": trial.hash, "seed": trial.seed, "point": dict(trial.point)}
            for trial in self.trials
        ]
        content = {"asked": self.asked.as_json(), "trials": trials}
        write_whole(self.folder / "study.json", json.dumps(content, indent=2) + "\n")

    def folder_of(self, trial: Trial) -> Path:
        """Where a trial keeps its files.

        Its name says what differs within a grid; in a wider grid the same trial has another name, and its old folder.
        """
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
        """Where the scores of its maps are; scores of other settings are elsewhere."""
        settings = hashlib.sha256(json.dumps(self.asked.evaluation).encode()).hexdigest()[:8]
        return self.folder_of(trial) / f"evaluated_{settings}"

    def trial_named(self, name: str) -> Trial:
        """The trial of a name."""
        return next(trial for trial in self.trials if trial.name == name)

    def row(self, trial: Trial) -> Row | None:
        """What a finished trial came to; `None` if it is not finished, or was scored otherwise than is now asked.

        It has the values of the present grid, which may be another one than that in which it was run.
        """
        path = self.folder_of(trial) / "row.json"
        if not path.is_file():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        if "keys" not in found:
            # Of a first version, whose columns of validation meant another checkpoint: it is entered again.
            return None
        if found["hash"] != trial.hash or tuple(found["evaluation"]) != self.asked.evaluation:
            return None
        if self.asked.test and not found["test"]:
            return None
        known = {*_FIRST_COLUMNS, *found["keys"]}
        scores = {column: value for column, value in found["row"].items() if column not in known}
        return {**self._first(trial), **scores}

    def _first(self, trial: Trial) -> Row:
        return {"trial": self.folder_of(trial).name, "hash": trial.hash, "seed": trial.seed, **trial.point}

    def write_row(self, trial: Trial, scores: Mapping[str, Any]) -> None:
        """Say what a trial came to, which finishes it."""
        asked = {"evaluation": list(self.asked.evaluation), "test": self.asked.test, "keys": list(trial.point)}
        content = {"hash": trial.hash, **asked, "row": {**self._first(trial), **scores}}
        write_whole(self.folder_of(trial) / "row.json", json.dumps(content, indent=2) + "\n")

    def rows(self) -> list[Row]:
        """Of all finished trials, in the order of the grid."""
        return [row for trial in self.trials if (row := self.row(trial)) is not None]

    def others(self) -> list[str]:
        """Names of trials in the folder that are not part of what is asked."""
        names = {self.folder_of(trial).name for trial in self.trials}
        return sorted(
            path.parent.name for path in self.folder.glob("trials/*/row.json") if path.parent.name not in names
        )

    def write_results(self) -> Path:
        """`results.csv`: a row for each finished trial."""
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


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)
