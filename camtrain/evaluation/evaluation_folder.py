"""The folder of an evaluation: which one it belongs to, and what an earlier one left in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camtrain.evaluation.metric_specs import METRICS
from camtrain.files import write_whole
from camtrain.methods import CONTROLS, SHUFFLED

COMPARED = "compared"
"""The folder of the second network, in that of the first."""

_SETTINGS = "settings.json"
_FILES = (
    "scores.csv",
    "scores.json",
    "images.csv",
    "curves.csv",
    "curves.png",
    "gallery.npz",
    "differences.csv",
    *(f"differences_beyond_{control}.csv" for control in (*CONTROLS, SHUFFLED)),
    *(f"panels/{name}.png" for name in METRICS),
)


class EvaluationFolder:
    """The folder of one evaluation, which is identified by everything that changes its numbers.

    Nothing is written or forgotten before `claim`, so that several folders can be checked first.

    Args:
        path: The folder.
        settings: Everything that changes the numbers, as JSON can hold it.
        fresh: True to forget an earlier evaluation in the folder.

    Attributes:
        path: The folder.
        rows: The folder of the parts and of the settings.
        settings: The settings, as JSON returns them.

    Raises:
        ValueError: If the folder holds an evaluation with other settings or, where it is to be forgotten, something
            else.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.path = path
        self.rows = path / "rows"
        self.settings: dict[str, Any] = json.loads(json.dumps(dict(settings)))
        self._fresh = fresh
        if fresh:
            self._check_that_it_may_go()
        elif _is_evaluation(path):
            self._check_whose_it_is()
        elif any(self.rows.glob("*.pt")):
            raise ValueError(
                f"`folder`: {self.rows} holds parts of an evaluation without its {_SETTINGS}, so that it is not known "
                "which; choose another folder, or delete this one"
            )

    def claim(self) -> None:
        """Make the folder this evaluation's own, after what is to be forgotten is gone."""
        if self._fresh:
            _forget(self.path / COMPARED)
            _forget(self.path)
        write_whole(self.rows / _SETTINGS, json.dumps(self.settings, indent=2, sort_keys=True) + "\n")

    def _check_that_it_may_go(self) -> None:
        if self.rows.is_dir() and any(self.rows.iterdir()) and not _is_evaluation(self.path):
            raise ValueError(f"`fresh`: {self.rows} holds files that are no evaluation's; choose another folder")

    def _check_whose_it_is(self) -> None:
        wanted, found = self.settings, _read(self.rows / _SETTINGS)
        # What tells most comes first: another network explains more than another hash of the images.
        different = [key for key in (*wanted, *found) if wanted.get(key) != found.get(key)]
        if different:
            key = different[0]
            raise ValueError(
                f"`folder`: {self.path} holds an evaluation with {key} {_short(found.get(key))}, and this one has "
                f"{_short(wanted.get(key))}; choose another folder, or `fresh` to forget it"
            )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(
            f"`folder`: {path} is damaged; choose another folder, or `fresh` to forget the evaluation in it"
        )
    return found


def _is_evaluation(folder: Path) -> bool:
    return (folder / "rows" / _SETTINGS).is_file()


def _forget(folder: Path) -> None:
    """Remove what an evaluation has written, if there is one, and nothing else that may be there."""
    if not _is_evaluation(folder):
        return
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "rows")
    for path in (folder / "panels", folder):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
