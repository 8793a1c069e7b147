"""A study as a folder."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from camtrain.evaluation import EvaluationPlan, evaluation_files
from camtrain.files import (
    DamagedFileError,
    check_inside,
    file_hash,
    is_plain_name,
    local_folder,
    read_sealed,
    said_aside,
    spreadsheet_cell,
    write_sealed,
    write_whole,
)
from camtrain.messages import CamtrainWarning
from camtrain.study.config_file import read_config, write_config
from camtrain.study.evaluation_words import evaluation_hash
from camtrain.study.merged_grids import in_grid_order
from camtrain.study.row_file import Entry, is_half_trained, read_entry, write_entry
from camtrain.study.score_prefixes import VALIDATED
from camtrain.study.study_file import (
    MADE_AGAIN,
    TrialEntry,
    study_content,
    warn_of_damage,
    write_study_content,
)
from camtrain.study.study_plan import StudyPlan, evaluation_as_json, evaluation_from_json
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
                                 the files of `camtrain.evaluate`; validated_<hash>/, those of validation images

    A trial is known by its whole configuration. A new plan takes over the trials that it shares with an earlier one, in
    the folders that they have. The others stay in `trials`; those that belong to the study are in its table as well.

    A file that is damaged is set aside as `<name>.damaged`, and a `CamtrainWarning` says so. `study.json` is made again
    from its copy, `.study.json`. A trial without its `row.json` is not finished.

    Args:
        folder: The folder of the study.
        plan: What is run.
        trials: The runs; of two with the same configuration one is kept.
        earlier: Runs of earlier plans, which are reported if they are finished, and not run.
        commands: The words that were typed for these.
    """

    def __init__(
        self,
        folder: Path,
        plan: StudyPlan,
        trials: Sequence[Trial],
        earlier: Sequence[Trial] = (),
        commands: Sequence[tuple[str, ...]] = (),
    ) -> None:
        self.folder = folder
        self.plan = plan
        self.trials = list({trial.hash: trial for trial in trials}.values())
        known = {trial.hash for trial in self.trials}
        self.earlier = [trial for trial in earlier if trial.hash not in known]
        self.commands = list(commands)
        self._names: dict[str, str] = {}
        self._checked: set[Path] = set()

    @classmethod
    def opened(cls, folder: Path) -> Study:
        """The study that a folder holds. A trial keeps its result also where its configuration is lost.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If its file is damaged, and the copy of it too.

        Warns:
            CamtrainWarning: If a file is damaged or gone.
        """
        folder = local_folder(folder, "folder")
        found = study_content(folder)
        trials, earlier = ([_trial_of(folder, each) for each in entries] for entries in (found.trials, found.earlier))
        study = cls(folder, found.plan, trials, earlier, found.commands)
        study._names |= {each["hash"]: each["name"] for each in (*found.trials, *found.earlier) if each["hash"]}
        return study

    def without_earlier(self) -> Study:
        """The study of the present plan alone, in points of the keys that differ in it."""
        axes = self.plan.axes
        varying = {axis.key for axis in axes if len(axis.values) > 1} or {axis.key for axis in axes}
        trials = [
            replace(trial, point={key: value for key, value in trial.point.items() if key in varying})
            for trial in self.trials
        ]
        return Study(self.folder, self.plan, trials)

    @property
    def reported(self) -> list[Trial]:
        """The trials of the plan, and those of earlier plans that are finished, as one grid would have them."""
        return in_grid_order(self.trials, [trial for trial in self.earlier if self.row(trial) is not None])

    @staticmethod
    def trials_in(folder: Path) -> list[Trial]:
        """All trials of a folder whose configurations are whole: those planned before, and those that are finished."""
        try:
            content = study_content(folder)
            known = {each["name"]: each for each in (*content.trials, *content.earlier)}
        except (FileNotFoundError, ValueError):
            known = {}
        found = []
        for path in sorted(folder.glob("trials/*/config.yaml")):
            try:
                entry = known.get(path.parent.name) or _entry_of_row(path.parent)
                trial = Trial(entry["point"], entry["seed"], read_config(path))
            except (FileNotFoundError, DamagedFileError):
                continue
            if entry["hash"] in ("", trial.hash):
                found.append(trial)
        return found

    @staticmethod
    def commands_in(folder: Path) -> list[tuple[str, ...]]:
        """The words that were typed for all trials of a folder, call by call."""
        try:
            found = study_content(folder)
        except (FileNotFoundError, ValueError):
            return []
        return list(dict.fromkeys(words for words in (*found.commands, found.plan.command) if words))

    @staticmethod
    def plan_in(folder: Path) -> StudyPlan:
        """The plan of the study that a folder holds, whatever has become of its trials.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If its file is damaged, and the copy of it too.
        """
        return study_content(folder).plan

    def write(self) -> None:
        """Write the plan, and the resolved configuration of each trial."""
        for trial in self.trials:
            if not trial.known_hash:
                write_config(self.folder_of(trial) / "config.yaml", trial.config)
        trials, earlier = (
            [
                {"name": self.folder_of(trial).name, "hash": trial.hash, "seed": trial.seed, "point": dict(trial.point)}
                for trial in some
            ]
            for some in (self.trials, self.earlier)
        )
        commands = [list(words) for words in self.commands if words != self.plan.command]
        content = {"plan": self.plan.as_json(), "trials": trials}
        if earlier:  # without them the file is that of an earlier version
            content |= {"earlier": earlier, "commands": commands}
        write_study_content(self.folder, content)

    def folder_of(self, trial: Trial) -> Path:
        """The folder of a trial; its name comes from the grid that ran the trial first.

        Raises:
            ValueError: If it is a link that leads out of the study.
        """
        if trial.hash not in self._names:
            self._names[trial.hash] = self._name_in_use(trial)
        path = self.folder / "trials" / self._names[trial.hash]
        if path not in self._checked:
            self._checked.add(check_inside(path, self.folder))
        return path

    def _name_in_use(self, trial: Trial) -> str:
        trials = self.folder / "trials"
        if not (trials / trial.name).is_dir():
            for path in sorted(trials.glob(f"*-{trial.hash[:8]}/config.yaml")):
                try:
                    config = read_config(path)
                except DamagedFileError:  # it is not known whose it is; it stays where it is
                    continue
                if Trial({}, 0, config).hash == trial.hash:
                    return path.parent.name
        return trial.name

    def evaluation_of(self, trial: Trial) -> Path:
        """The folder with the scores of a trial's maps; scores of other settings are in other folders."""
        name = f"evaluated_{evaluation_hash(self._evaluation_as_written(trial))}"
        return check_inside(self.folder_of(trial) / name, self.folder)

    def validation_of(self, trial: Trial) -> Path:
        """The folder with the scores of a trial's maps on validation images."""
        name = f"validated_{evaluation_hash(evaluation_as_json(self.plan.validation))}"
        return check_inside(self.folder_of(trial) / name, self.folder)

    def _evaluation_as_written(self, trial: Trial) -> Any:
        """The evaluation of a trial as its entry has it, perhaps in the words of an earlier version."""
        planned: Any = evaluation_as_json(self.plan.evaluation)
        return planned if self.row(trial) is None else (self._entry(trial) or {}).get("evaluation", planned)

    def trial_named(self, name: str) -> Trial:
        """The trial of a name, or of a folder below `trials`.

        Raises:
            KeyError: If there is none.
        """
        for trial in (*self.trials, *self.earlier):
            if name in (trial.name, self.folder_of(trial).name):
                return trial
        raise KeyError(f"no trial of {self.folder} is called {name!r}")

    def hand_over(self, trial: Trial) -> None:
        """Write what a worker has to know of a trial beside the trial.

        Another call on the same folder may plan other trials meanwhile, and other scores.
        """
        content = {"plan": self.plan.as_json(), "point": dict(trial.point), "seed": trial.seed, "hash": trial.hash}
        write_sealed(self.folder_of(trial) / _HANDED_OVER, content)

    @classmethod
    def taken_over(cls, folder: Path, name: str) -> tuple[Study, Trial]:
        """The study of one trial, as `hand_over` left it.

        Args:
            folder: The folder of the study.
            name: The name of the trial's folder below `trials`.

        Raises:
            FileNotFoundError: If nobody has handed over such a trial.
            ValueError: If what was handed over, or the trial's configuration, is damaged, or the name is a path.
        """
        if not is_plain_name(name):
            raise ValueError(f"`name`: expected the name of a folder, got {name!r}")
        place = folder / "trials" / name
        path = place / _HANDED_OVER
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there: camtrain.ablation.run_trial writes it and starts the worker")
        found = read_sealed(path)
        trial = Trial(found["point"], found["seed"], read_config(place / "config.yaml"))
        if found.get("hash", trial.hash) != trial.hash:
            raise DamagedFileError(place / "config.yaml", "it is not the configuration that was planned")
        study = cls(folder, StudyPlan.from_json(found["plan"]), [trial])
        study._names[trial.hash] = name
        return study, trial

    def row(self, trial: Trial) -> Row | None:
        """The result of a finished trial; `None` if it is not finished, or was scored by another plan.

        It has the values of the present grid, which may be another one than that in which it was run, and scores on
        validation images only if they are planned.

        Warns:
            CamtrainWarning: If its file is damaged; it is set aside, and the trial is not finished.
        """
        found = self._entry(trial)
        # A first version had no "keys"; its columns of validation meant another checkpoint, so it is entered again.
        if found is None or "keys" not in found or found["hash"] != trial.hash:
            return None
        if not _is_plan(self.plan.evaluation, found["evaluation"]) or (self.plan.test and not found["test"]):
            return None
        chooses = self.plan.validation is not None
        if chooses and not _is_plan(self.plan.validation, found.get("validation")):
            return None
        if self.plan.test and is_half_trained(found):
            return None
        known = {*_FIRST_COLUMNS, *found["keys"]}
        scores = {
            column: value
            for column, value in found["row"].items()
            if column not in known and (chooses or not column.startswith(VALIDATED))
        }
        return {**self._first(trial), **scores}

    def _entry(self, trial: Trial) -> Entry | None:
        path = self.folder_of(trial) / "row.json"
        try:
            return read_entry(path)
        except FileNotFoundError:
            return None
        except DamagedFileError as error:
            warn_of_damage(error, "the trial is not finished until `camtrain ablate` has scored it again")
            return None

    def half_trained(self) -> list[str]:
        """The names of trials that an earlier version finished although their training may have been stopped."""
        entries = {self.folder_of(trial).name: self._entry(trial) for trial in (*self.trials, *self.earlier)}
        return [name for name, found in entries.items() if self.plan.test and found and is_half_trained(found)]

    def lost_files(self, trial: Trial) -> list[str]:
        """What is gone or damaged of the files of a finished trial's evaluation; the damaged are set aside.

        Returns:
            A clause for each.
        """
        files = (self._entry(trial) or {}).get("files", {})
        folder = self.evaluation_of(trial)
        return [lost for name, written in files.items() if (lost := _lost(folder / name, written))]

    def evaluation_file(self, trial: Trial, name: str) -> Path | None:
        """A file of a trial's evaluation; `None` if there is none, or it is damaged.

        Args:
            trial: The trial.
            name: The name of the file, such as `curves.csv`.

        Warns:
            CamtrainWarning: If it is gone or damaged; then it is set aside.
        """
        path = self.evaluation_of(trial) / name
        written = (self._entry(trial) or {}).get("files", {}).get(name)
        lost = None if written is None else _lost(path, written)
        if lost is not None:
            warnings.warn(f"{lost}; {MADE_AGAIN}", CamtrainWarning, stacklevel=2)
        return path if lost is None and path.is_file() else None

    def _first(self, trial: Trial) -> Row:
        return {"trial": self.folder_of(trial).name, "hash": trial.hash, "seed": trial.seed, **trial.point}

    def write_row(self, trial: Trial, scores: Mapping[str, Any]) -> None:
        """Enter the result of a trial whose training reached its end, which finishes it."""
        evaluation = self._evaluation_as_written(trial)
        validation = evaluation_as_json(self.plan.validation)
        planned = {
            "evaluation": evaluation,
            "validation": validation,
            "test": self.plan.test,
            "keys": list(trial.point),
        }
        folder = self.evaluation_of(trial)
        files = {name: file_hash(folder / name) for name in evaluation_files(folder)}
        row = {**self._first(trial), **scores}
        write_entry(self.folder_of(trial) / "row.json", {"hash": trial.hash, **planned, "row": row, "files": files})

    def rows(self) -> list[Row]:
        """The rows of all finished trials, in the order of the grid."""
        return [row for trial in self.reported if (row := self.row(trial)) is not None]

    def others(self) -> list[str]:
        """The names of finished trials in the folder that are not reported: of another configuration, or scores."""
        names = {self.folder_of(trial).name for trial in self.reported}
        return sorted(
            path.parent.name for path in self.folder.glob("trials/*/row.json") if path.parent.name not in names
        )

    def write_results(self) -> Path:
        """Write `results.csv`: a row for each finished trial."""
        rows = self.rows()
        keys = list(dict.fromkeys(key for trial in self.reported for key in trial.point))
        rest = sorted({column for row in rows for column in row} - {*_FIRST_COLUMNS, *keys})
        text = io.StringIO()
        columns = [*_FIRST_COLUMNS, *keys, *rest]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(map(spreadsheet_cell, columns))
        writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
        path = self.folder / "results.csv"
        write_whole(path, text.getvalue())
        return path


def _entry_of_row(folder: Path) -> TrialEntry:
    """A trial as its own row has it."""
    found = read_entry(folder / "row.json")
    row, keys = found["row"], found.get("keys", [])
    if not all(key in row for key in ("seed", *keys)):
        raise DamagedFileError(folder / "row.json", "it has no seed, or no value of a key")
    return {"name": folder.name, "hash": found["hash"], "seed": row["seed"], "point": {key: row[key] for key in keys}}


def _is_plan(planned: EvaluationPlan | None, written: Any) -> bool:
    """Whether an evaluation, as an entry has it, is the one that is planned."""
    try:
        return evaluation_from_json(written) == planned
    except (ValueError, TypeError, KeyError, AttributeError, SystemExit):  # of a version with other scores
        return False


def _trial_of(folder: Path, entry: TrialEntry) -> Trial:
    """The trial of an entry of `study.json`."""
    path = folder / "trials" / entry["name"] / "config.yaml"
    point, seed, known = entry["point"], entry["seed"], entry["hash"]
    try:
        trial = Trial(point, seed, read_config(path))
        if known in ("", trial.hash):
            return trial
        raise DamagedFileError(path, "it is not the configuration that the study was planned with")
    except FileNotFoundError:
        warnings.warn(f"{path} is gone; {MADE_AGAIN}", CamtrainWarning, stacklevel=3)
    except DamagedFileError as error:
        warn_of_damage(error, MADE_AGAIN)
    return Trial(point, seed, {}, known)


def _lost(path: Path, written: str) -> str | None:
    """What is wrong with a file that had this hash when it was written; `None` if nothing is."""
    if not path.is_file():
        return f"{path} is gone"
    if file_hash(path) == written:
        return None
    return said_aside(DamagedFileError(path, "it is not what was written, by its checksum"))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return spreadsheet_cell(value) if isinstance(value, str) else json.dumps(value)
