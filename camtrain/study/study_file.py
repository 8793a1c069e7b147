"""The file of a study, `study.json`, and its copy."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from camtrain.files import SEAL, DamagedFileError, is_plain_name, local_folder, read_sealed, said_aside, write_sealed
from camtrain.messages import CamtrainWarning
from camtrain.study.study_plan import StudyPlan

STUDY = "study.json"
_COPY = ".study.json"
MADE_AGAIN = "`camtrain ablate` with the words of the study makes it again"


class TrialEntry(TypedDict):
    """A trial as the file has it.

    Attributes:
        name: The name of its folder.
        hash: The hash of its configuration; empty where an earlier version did not say it.
        seed: Its seed.
        point: Its values by configuration key.
    """

    name: str
    hash: str
    seed: int
    point: dict[str, Any]


def write_study_content(folder: Path, content: Mapping[str, Any]) -> None:
    """Write `study.json` and its copy.

    Args:
        folder: The folder of the study.
        content: The plan, and the trials.
    """
    for name in (_COPY, STUDY):
        write_sealed(folder / name, content)


@dataclass(frozen=True)
class StudyContent:
    """What the file of a study holds.

    Attributes:
        plan: What is run.
        trials: The trials of the plan.
        earlier: The trials of earlier plans that belong to the study.
        commands: The words that were typed for these.
    """

    plan: StudyPlan
    trials: list[TrialEntry]
    earlier: list[TrialEntry]
    commands: list[tuple[str, ...]]


def study_content(folder: Path) -> StudyContent:
    """What the file of the study that a folder holds says.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If its file is damaged, and the copy of it too, or both are of a version that is not known; or if
            it is no folder.

    Warns:
        CamtrainWarning: If the file is gone or damaged, and was made again from its copy.
    """
    folder = local_folder(folder, "folder")
    path, copy = folder / STUDY, folder / _COPY
    try:
        return _read(path)
    except FileNotFoundError:
        if not copy.is_file():
            raise FileNotFoundError(f"{folder} holds no study: `camtrain ablate --out {folder}` makes one") from None
        why = f"{path} is gone"
    except DamagedFileError as error:
        why = said_aside(error)
    try:
        found = _read(copy)
    except FileNotFoundError:
        raise ValueError(f"{why}; {MADE_AGAIN}, and finds the trials that are finished") from None
    except DamagedFileError as error:
        raise ValueError(f"{why}; so is its copy, {said_aside(error)}; {MADE_AGAIN}") from error
    content = {key: value for key, value in read_sealed(copy).items() if key != SEAL}
    try:
        write_sealed(path, content)
        warnings.warn(f"{why}; it is made again from its copy", CamtrainWarning, stacklevel=3)
    except OSError as error:
        warnings.warn(f"{why}; its copy is read, and cannot be put there ({error})", CamtrainWarning, stacklevel=3)
    return found


def warn_of_damage(error: DamagedFileError, what_now: str) -> None:
    """Set a damaged file aside, and warn of it.

    Args:
        error: What is wrong with which file.
        what_now: What is lost, and what to do.
    """
    warnings.warn(f"{said_aside(error)}; {what_now}", CamtrainWarning, stacklevel=4)


def _read(path: Path) -> StudyContent:
    found = read_sealed(path)
    try:
        # Earlier versions called the plan what was asked.
        plan = StudyPlan.from_json(found["asked"] if "asked" in found else found["plan"])
        trials = [_entry(each) for each in found["trials"]]
        earlier = [_entry(each) for each in found.get("earlier", [])]
        return StudyContent(plan, trials, earlier, _commands(found.get("commands", [])))
    except (KeyError, TypeError, AttributeError, ValueError, SystemExit) as error:
        missing = isinstance(error, KeyError)
        reason = f"it has no {error.args[0]!r}" if missing else str(error)
        if SEAL in found:
            raise ValueError(f"{path} is of no version of camtrain that is known here: {reason}") from error
        raise DamagedFileError(path, reason) from error


def _commands(found: Any) -> list[tuple[str, ...]]:
    if not all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in found):
        raise ValueError(f"expected lists of words as the commands, got {found!r:.200}")
    return [tuple(words) for words in found]


def _entry(found: Mapping[str, Any]) -> TrialEntry:
    name, known, seed, point = found["name"], found.get("hash", ""), found["seed"], found["point"]
    if not is_plain_name(name):
        raise ValueError(f"expected the name of a trial's folder, got {name!r:.200}")
    if known and not (isinstance(known, str) and re.fullmatch("[0-9a-f]{16}", known)):
        raise ValueError(f"expected the hash of {name!r}, got {known!r:.200}")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ValueError(f"expected an integer as the seed of {name!r}, got {seed!r:.200}")
    if not (isinstance(point, dict) and all(isinstance(key, str) and key for key in point)):
        raise ValueError(f"expected values by key as the point of {name!r}, got {point!r:.200}")
    return {"name": name, "hash": known, "seed": seed, "point": point}
