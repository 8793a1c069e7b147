"""The rows of an experiment in a CSV file: read, appended so that a stopped run resumes, and written anew."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from camtrain.files import write_whole

Row = TypeVar("Row")


class ResultRows(Generic[Row]):
    """The rows of a CSV file, of which each case has at most one.

    An experiment skips the cases that are here already, and adds each row as soon as it is measured: a run that was
    stopped resumes, and nothing is written twice. A last line that was cut off while it was written is dropped.

    Args:
        path: The file. It need not exist.
        row: The dataclass of a row: its fields are the columns, and all of them hold text.
        case: The dataclass that tells rows apart; its fields are fields of `row`.
        fresh: Whether to delete the file first.

    Raises:
        ValueError: If the columns of the file are not the fields of `row`.
    """

    def __init__(self, path: Path, row: type[Row], case: type[Any], *, fresh: bool = False) -> None:
        self.path, self._row, self._case = path, row, case
        self._columns = [field.name for field in fields(row)]  # type: ignore[arg-type]
        self._case_columns = [field.name for field in fields(case)]
        if fresh:
            path.unlink(missing_ok=True)
        self._rows: dict[Any, Row] = {}
        if path.is_file():
            _drop_torn_line(path)
            for values in read_rows(path, self._columns):
                found = row(**values)
                self._rows[self.case_of(found)] = found

    def case_of(self, row: Row) -> Any:
        """The case of a row."""
        return self._case(**{name: getattr(row, name) for name in self._case_columns})

    def __contains__(self, case: object) -> bool:
        return case in self._rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, *rows: Row) -> None:
        """Append rows to the file, without those whose case is there; rows that are added together stay together."""
        new = {self.case_of(row): row for row in rows}
        new = {case: row for case, row in new.items() if case not in self._rows}
        if not new:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        first = not self.path.is_file() or not self.path.stat().st_size
        lines = [astuple(row) for row in new.values()]  # type: ignore[call-overload]
        with self.path.open("a", newline="", encoding="utf-8") as file:
            file.write(_text([self._columns, *lines] if first else lines))
        self._rows.update(new)


def read_rows(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, str]]:
    """Read a CSV file with a line of headings; no rows if there is no file.

    Raises:
        ValueError: If the headings are not `columns`.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if columns is not None and list(reader.fieldnames or columns) != list(columns):
            raise ValueError(f"`path`: expected the columns {list(columns)} in {path}, got {reader.fieldnames}")
        return list(reader)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object] | Mapping[str, object]]) -> None:
    """Write a CSV file as a whole, from rows in the order of the columns or by the names of the columns."""
    lines = [[row.get(name, "") for name in columns] if isinstance(row, Mapping) else row for row in rows]
    write_whole(path, _text([columns, *lines]))


def _text(lines: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _drop_torn_line(path: Path) -> None:
    """Drop what follows the last end of a line: a row that was being written when its process was killed."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        print(f"{path}: the last line was cut off and is dropped")
        write_whole(path, whole.decode())
