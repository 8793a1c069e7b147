"""The folder of an evaluation: which one it belongs to, and what an earlier one left in it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from camtrain.evaluation.metric_specs import METRICS
from camtrain.evaluation.score_map_files import MAPS
from camtrain.files import (
    SEAL,
    DamagedFileError,
    named_if_unwritable,
    read_sealed,
    said_aside,
    set_aside,
    write_sealed,
)
from camtrain.messages import CamtrainWarning
from camtrain.methods import CONTROLS, FURTHER_METHODS, METHOD_NAME, METHODS, SHUFFLED

COMPARED = "compared"
"""The folder of the second network, in that of the first."""

SETTINGS_OF_PART = "settings"
"""The key under which a part has the name of the settings that it was made with."""

_SETTINGS = "settings.json"
_OF_A_RUN = ("metrics.csv", "config.yaml")  # which a training writes into its folder
_PARTS = "batch_*.pt"
# What an evaluation leaves in its folder of parts, also where it was killed, or found a file damaged.
_OWN = re.compile(r"(\.\d+\.)?(batch_\d+\.pt|settings\.json)(\.\d+)?(\.damaged)?")
_FILES = (
    "scores.csv",
    "scores.json",
    "images.csv",
    "curves.csv",
    "curves.png",
    "gallery.npz",
    "curves_compared.png",
    "differences.csv",
    *(f"differences_beyond_{control}.csv" for control in (*CONTROLS, SHUFFLED)),
    *(f"panels/{name}.png" for name in METRICS),
)


class OtherEvaluationError(ValueError):
    """A folder holds an evaluation with other settings.

    Attributes:
        reason: Which settings are others.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"`folder`: {reason}; choose another folder, or `fresh` to forget it")
        self.reason = reason


class EvaluationFolder:
    """The folder of one evaluation, which is identified by everything that changes its numbers.

    Nothing is written or forgotten before `claim`, so that several folders can be checked first.

    Each part knows the settings that it was made with. So if `rows/settings.json` is gone or damaged, `claim` keeps the
    parts that are of this evaluation and sets the others aside.

    Args:
        path: The folder.
        settings: Everything that changes the numbers, as JSON can hold it.
        fresh: True to forget an earlier evaluation in the folder.

    Attributes:
        path: The folder.
        rows: The folder of the parts and of the settings.
        settings: The settings, as JSON returns them.

    Raises:
        OtherEvaluationError: If the folder holds an evaluation with other settings.
        ValueError: If the folder holds something else, where it is to be forgotten, or is that of a training.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.path = path
        self.rows = path / "rows"
        self.settings: dict[str, Any] = json.loads(json.dumps(dict(settings)))
        self._fresh = fresh
        self._lost: DamagedFileError | None = None
        if fresh:
            self._check_that_it_may_go()
        elif _is_evaluation(path):
            self._check_whose_it_is()
        elif any(self.rows.glob(_PARTS)):
            self._lose_settings(DamagedFileError(self.rows / _SETTINGS, "it is gone"))
        if all((path / name).is_file() for name in _OF_A_RUN):
            raise ValueError(
                f"`folder`: {path} is the folder of a training, whose scores.json would be replaced; choose another "
                f"one, such as {path / 'evaluated'}"
            )

    def claim(self) -> None:
        """Make the folder this evaluation's own, after what is to be forgotten is gone.

        Warns:
            CamtrainWarning: If `rows/settings.json` was damaged or gone.
        """
        if self._fresh:
            with named_if_unwritable(self.rows / _SETTINGS):
                _forget(self.path / COMPARED)
                _forget(self.path)
        if self._lost is not None:
            self._keep_own_parts(self._lost)
        write_sealed(self.rows / _SETTINGS, dict(sorted(self.settings.items())))

    def _lose_settings(self, lost: DamagedFileError) -> None:
        """Go on without the settings of the earlier evaluation, unless its parts say that it is another one."""
        names = {_settings_of(path) for path in self.rows.glob(_PARTS)} - {None}
        if names and settings_hash(self.settings) not in names:
            raise OtherEvaluationError(f"{self.rows} holds parts of another evaluation, and {lost}")
        self._lost = lost

    def _keep_own_parts(self, lost: DamagedFileError) -> None:
        """Set aside all parts but those that say that they are of this evaluation."""
        mine = settings_hash(self.settings)
        others = [path for path in sorted(self.rows.glob(_PARTS)) if _settings_of(path) != mine]
        for path in others:
            set_aside(path)
        said = said_aside(lost) if lost.path.is_file() else str(lost)
        again = f"; {len(others)} parts may be of another evaluation and are set aside as *.damaged" if others else ""
        warnings.warn(f"{said}{again}; it is written anew", CamtrainWarning, stacklevel=4)

    def _check_that_it_may_go(self) -> None:
        if self.rows.is_dir() and not all(_OWN.fullmatch(path.name) for path in self.rows.iterdir()):
            raise ValueError(f"`fresh`: {self.rows} holds files that are no evaluation's; choose another folder")

    def _check_whose_it_is(self) -> None:
        try:
            found = read_sealed(self.rows / _SETTINGS)
        except DamagedFileError as error:
            self._lose_settings(error)
            return
        found.pop(SEAL, None)
        wanted = self.settings
        # What tells most comes first: another network explains more than another hash of the images.
        different = [key for key in (*wanted, *found) if wanted.get(key) != found.get(key)]
        if different:
            key = different[0]
            raise OtherEvaluationError(
                f"{self.path} holds an evaluation with {key} {_short(found.get(key))}, and this one has "
                f"{_short(wanted.get(key))}"
            )


def settings_hash(settings: Mapping[str, Any]) -> str:
    """A name for everything that changes the numbers of an evaluation."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()


def settings_hash_in(rows: Path) -> str | None:
    """The name of the settings in a folder of parts; `None` where they cannot be read."""
    try:
        found = read_sealed(rows / _SETTINGS)
    except (OSError, DamagedFileError):
        return None
    return settings_hash({key: value for key, value in found.items() if key != SEAL})


def evaluation_files(folder: Path) -> list[str]:
    """The names of the tables and pictures that an evaluation left in a folder."""
    return [name for name in _FILES if (folder / name).is_file()]


def _settings_of(part: Path) -> str | None:
    """The name of the settings that a part was made with; `None` if it does not say, or cannot be read."""
    try:
        return torch.load(part, weights_only=True)[SETTINGS_OF_PART]  # type: ignore[no-any-return]
    except Exception:  # torch raises almost anything for a file that is not one of its own
        return None


def _is_evaluation(folder: Path) -> bool:
    return (folder / "rows" / _SETTINGS).is_file()


def _forget(folder: Path) -> None:
    """Remove what an evaluation has written, if there is one, and nothing else that may be there."""
    if not (folder / "rows").is_dir():
        return
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    methods = {*METHODS, *FURTHER_METHODS, *_registered_in(folder / "rows")}
    shutil.rmtree(folder / "rows")
    for method in methods:
        shutil.rmtree(folder / MAPS / method, ignore_errors=True)
    for path in (folder / MAPS, folder / "panels", folder):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _registered_in(rows: Path) -> list[str]:
    """The names of the methods that an evaluation was given, or that were registered; none where it does not say."""
    try:
        found = read_sealed(rows / _SETTINGS).get("given", {})
    except (OSError, DamagedFileError):
        return []
    # They become names of folders, so that a file from elsewhere must not say anything else.
    return [name for name in found if re.fullmatch(METHOD_NAME, name)]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
