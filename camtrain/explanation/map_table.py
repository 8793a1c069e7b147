"""A line for each map as a table: `explanations.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from camtrain.explanation.explanation import Explanation
from camtrain.files import spreadsheet_cell, write_whole

TABLE = "explanations.csv"


@dataclass(frozen=True)
class MapRow:
    """A line of the table.

    Attributes:
        path: The file of the image, or the image's number.
        label: The name of its class; empty where it is not known.
        prediction: The name of the predicted class.
        probability: The probability of the predicted class.
        method: The name of the method.
        question: The kind of question.
        explained: The name of the class that the question is about.
        explained_probability: The probability of that class.
        file: The name of the file of the map; empty where the method made none.
        reason: Why there is no map; empty where there is one.
    """

    path: str
    label: str
    prediction: str
    probability: str
    method: str
    question: str
    explained: str
    explained_probability: str
    file: str
    reason: str


def map_rows(explanation: Explanation, files: Sequence[Path]) -> list[MapRow]:
    """The lines of an image.

    Args:
        explanation: The explanation of the image.
        files: The files of its maps, in their order; a question without a map has none.
    """
    names = iter(files)
    rows = []
    for each in explanation.maps:
        question = each.question
        rows.append(
            MapRow(
                str(explanation.path or explanation.name),
                explanation.label or "",
                explanation.prediction,
                f"{float(explanation.probabilities.max()):.6f}",
                each.method,
                question.kind,
                question.class_name,
                f"{question.probability:.6f}",
                "" if each.map is None else next(names).name,
                "" if each.map is not None else question.unanswerable or each.reason,
            )
        )
    return rows


def write_map_table(rows: Iterable[MapRow], path: Path) -> Path:
    """Write the table.

    Args:
        rows: Its lines.
        path: The file.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([each.name for each in fields(MapRow)])
    for row in rows:
        writer.writerow([spreadsheet_cell(cell) for cell in astuple(row)])
    write_whole(path, text.getvalue())
    return path
