"""The table of a run, `metrics.csv`: whole whenever the run is stopped, and continued when it is resumed."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from camtrain.files import named_if_unwritable, set_aside, write_whole
from camtrain.messages import CamtrainWarning
from camtrain.runs.claimed_folder import claimed_version

Row = Mapping[str, Any]
"""Values by column; a column without a value is left out, or has an empty text."""


class MetricsTable(CSVLogger):
    """Lightning's CSV logger, with a file that is complete after each row.

    Rows are added at the end of the file. A row with a new column makes a new file, which takes the place of the old
    one in one step. Columns are sorted.

    Args:
        folder: The parent folder of all runs.
        name: The name of the run.
        version: Its version; `None` is the next free one.
        rows: The rows to go on from; what is in the file is replaced by them. `None` begins an empty table.

    Attributes:
        made: The folders that the table made for a new run: that of the run, and then those above it.
    """

    def __init__(self, folder: str, name: str, version: int | None = None, rows: Sequence[Row] | None = None) -> None:
        super().__init__(folder, name=name, version=version)
        self.made: list[Path] = []
        self._is_new = version is None
        if rows is not None:
            self.experiment.replace(rows)

    @property
    @rank_zero_experiment
    def experiment(self) -> _TableWriter:
        """The writer of the file; in other processes than the first, one that does nothing."""
        if self._experiment is None:
            with named_if_unwritable(self.path):
                if self._is_new:
                    self._version, self.made = claimed_version(Path(self.root_dir).absolute(), int(self.version))
                self._experiment = _TableWriter(self.log_dir)
        return self._experiment  # type: ignore[return-value]

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.log_dir, ExperimentWriter.NAME_METRICS_FILE)


class _TableWriter(ExperimentWriter):
    def replace(self, rows: Sequence[Row]) -> None:
        """Write these rows in the place of all that the file has."""
        self.metrics_keys = _columns(rows)
        if rows or Path(self.metrics_file_path).exists():
            write_whole(Path(self.metrics_file_path), table_text(rows))

    def save(self) -> None:
        """Write the rows that are not yet written."""
        if not self.metrics:
            return
        path = Path(self.metrics_file_path)
        if self._record_new_keys() or not path.is_file():
            write_whole(path, table_text([*_known(path), *self.metrics]))
        else:
            with path.open("a", newline="", encoding="utf-8") as file:
                file.write(_lines(self.metrics, self.metrics_keys))
        self.metrics = []

    def _check_log_dir_exists(self) -> None:
        """Nothing: Lightning would warn that it deletes the file, and delete it."""


def _known(path: Path) -> Sequence[Row]:
    """The rows that this run has written; those that can be read of a file that somebody has changed meanwhile."""
    if not path.is_file():
        return []
    try:
        return rows_of(path.read_text(encoding="utf-8"))
    except ValueError as error:
        return _instead_of(path, str(error), _readable_rows(path))


def table_text(rows: Sequence[Row]) -> str:
    """A table as CSV, with a header of all columns, sorted.

    Args:
        rows: Its rows.

    Example:
        >>> print(table_text([{"step": 7, "val/loss": 0.5}, {"step": 7, "epoch": 0}]))
        epoch,step,val/loss
        ,7,0.5
        0,7,
    """
    columns = _columns(rows)
    return _lines([dict(zip(columns, columns, strict=True)), *rows], columns) if columns else ""


def rows_of(text: str) -> list[dict[str, str]]:
    """The rows of a table as CSV, each without the columns that are empty in it.

    Args:
        text: A text as `table_text` returns it.

    Raises:
        ValueError: If it is no such table: no header, a row of another length, a value that is no number.

    Example:
        >>> rows_of(table_text([{"step": 7, "val/loss": 0.5}, {"step": 7, "epoch": 0}]))
        [{'step': '7', 'val/loss': '0.5'}, {'epoch': '0', 'step': '7'}]
    """
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from error
    if not lines or "step" not in lines[0] or len(set(lines[0])) < len(lines[0]):
        raise ValueError("it is empty" if not text else "its first line is not a header with a column `step`")
    header, *rows = lines
    for number, row in enumerate(rows, 2):
        if len(row) != len(header) or not _is_row(dict(zip(header, row, strict=True))):
            raise ValueError(f"line {number} is incomplete or has no number where one is expected")
    if not text.endswith("\n"):
        raise ValueError("its last line is incomplete")
    return [{key: value for key, value in zip(header, row, strict=True) if value} for row in rows]


def continued_rows(path: Path, kept: Sequence[Row] | None, steps: int) -> list[Row]:
    """The rows that a resumed run goes on from.

    A file that is not what the run has written is set aside, with a warning that says what is lost.

    Args:
        path: The run's `metrics.csv`.
        kept: The rows that the run's checkpoint holds, which are all up to it; `None` for a checkpoint of an earlier
            version, which has none.
        steps: The number of steps of the checkpoint.

    Warns:
        CamtrainWarning: If the file is gone or damaged.
    """
    try:
        rows: list[Row] = [*rows_of(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        if kept != []:
            lost = (
                f"its rows up to step {steps} are lost" if kept is None else "it is written again from the checkpoint"
            )
            warnings.warn(f"{path} is gone; {lost}", CamtrainWarning, stacklevel=2)
        return list(kept or ())
    except ValueError as error:  # an error of decoding is one, too
        return _instead_of(path, str(error), _before(_readable_rows(path), steps), kept)
    if kept is None:
        return _before(rows, steps)
    expected = [{key: str(value) for key, value in row.items() if value not in (None, "")} for row in kept]
    # A kill between a checkpoint and the row of its epoch leaves the file without that row.
    if rows[: len(expected)] != expected and rows != expected[:-1]:
        return _instead_of(path, "its rows are not those of the checkpoint", [], kept)
    return [*kept, *_before(rows[len(expected) :], steps)]


def _instead_of(path: Path, reason: str, readable: Sequence[Row], kept: Sequence[Row] | None = None) -> list[Row]:
    """The rows to go on from instead of a damaged file, which is set aside."""
    source = f"its rows that can be read ({len(readable)}); the others are lost" if kept is None else "the checkpoint"
    warnings.warn(
        f"{path} is damaged: {reason}. It is kept as {set_aside(path).name}, and written again from {source}",
        CamtrainWarning,
        stacklevel=3,
    )
    return list(readable if kept is None else kept)


def _before(rows: Iterable[Row], steps: int) -> list[Row]:
    # The step of the first row that will be written again is the number of steps done.
    return [row for row in rows if int(row["step"]) < steps]


def _readable_rows(path: Path) -> list[Row]:
    """The rows of a damaged file that are complete."""
    whole, _, _cut = path.read_text(encoding="utf-8", errors="replace").replace("\0", "").rpartition("\n")
    try:
        header, *lines = csv.reader(whole.splitlines())
    except (ValueError, csv.Error):
        return []
    rows = [dict(zip(header, line, strict=True)) for line in lines if len(line) == len(header)]
    named = [{key: value for key, value in row.items() if value and "\ufffd" not in key} for row in rows]
    return [row for row in named if _is_row(row)]


def _is_row(row: Mapping[str, str]) -> bool:
    try:
        return bool([float(value) for value in row.values() if value]) and row["step"].isdecimal()
    except (KeyError, ValueError):
        return False


def _columns(rows: Iterable[Row]) -> list[str]:
    return sorted({key for row in rows for key in row})


def _lines(rows: Iterable[Row], columns: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    csv.DictWriter(text, columns).writerows(rows)
    return text.getvalue()
