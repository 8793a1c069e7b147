"""Text and tables that fit the width of a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate  # type: ignore[import-untyped, unused-ignore]

from camtrain.messages.one_line import one_line

USUAL_WIDTH = 80
"""The width of a terminal that does not say how wide it is, and of a file."""

_GAP = 2  # characters between two columns
_PADDING = 2  # characters that tabulate adds to a heading


def terminal_width() -> int:
    """The number of characters in a line of the terminal: `COLUMNS` of the environment, or what the terminal says."""
    return max(40, shutil.get_terminal_size((USUAL_WIDTH, 24)).columns)


def folded(text: str, width: int | None = None, indent: str = "") -> str:
    """A paragraph in lines that fit. A word that is longer than a line, such as a path, is not broken.

    Args:
        text: The paragraph.
        width: The largest number of characters in a line; `None` is the width of the terminal.
        indent: What the second and further lines begin with.

    Example:
        >>> print(folded("in out: scores.csv, scores.json, images.csv", 27, "  "))
        in out: scores.csv,
          scores.json, images.csv
    """
    width = terminal_width() if width is None else width
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def folded_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None, style: str = "simple"
) -> str:
    """A table whose lines fit. Columns that do not fit beside the first ones go to a further table below.

    Every table begins with the first column. Where it leaves too little room for any other column, its cells are
    wrapped, and so are the cells of a column that does not fit by itself.

    Args:
        headings: The heading of each column.
        rows: The rows, each as long as the headings.
        width: The largest number of characters in a line; `None` is the width of the terminal.
        style: The format of `tabulate`.

    Example:
        >>> print(folded_table(["point", "accuracy", "drop"], [["plain", "50.0", "12.0"]], 20))
        point    accuracy
        -------  ----------
        plain    50.0
        <BLANKLINE>
        point    drop
        -------  ------
        plain    12.0
    """
    width = terminal_width() if width is None else width
    columns = [[heading, *(row[number] for row in rows)] for number, heading in enumerate(headings)]
    first, others = columns[0], columns[1:]
    widest = max((column_width(column) for column in others), default=0)
    first_width = max(min(column_width(first), width - _GAP - widest), min(column_width(first), width // 3))
    room = width - first_width - _GAP
    tables = []
    for group in _groups([min(column_width(column), room) for column in others], room):
        chosen = [first, *(others[number] for number in group)]
        limits = [first_width, *(min(column_width(others[number]), room) for number in group)]
        tables.append(_made(chosen, limits, style))
    return "\n\n".join(tables)


def _made(columns: Sequence[Sequence[str]], limits: Sequence[int], style: str) -> str:
    headings, *rows = zip(*columns, strict=True)
    is_whole = all(column_width(column) <= limit for column, limit in zip(columns, limits, strict=True))
    of_headings = [max(1, limit - _PADDING) for limit in limits]
    wrapped: dict[str, Any] = {} if is_whole else {"maxcolwidths": list(limits), "maxheadercolwidths": of_headings}
    return str(tabulate(rows, headings, tablefmt=style, disable_numparse=True, **wrapped))


def column_width(column: Sequence[str]) -> int:
    """The number of characters that `tabulate` gives a column, whose first word is its heading."""
    return max(len(column[0]) + _PADDING, *map(len, column))


def _groups(widths: Sequence[int], room: int) -> list[list[int]]:
    """The numbers of the columns that go side by side."""
    groups: list[list[int]] = [[]]
    left = room
    for number, width in enumerate(widths):
        if groups[-1] and width > left:
            groups.append([])
            left = room
        groups[-1].append(number)
        left -= width + _GAP
    return groups


def tail(text: str, longest: int) -> str:
    """The end of a text that is too long, such as that of a path; a text that fits stays as it is.

    Example:
        >>> tail("photographs/of/cats/1.png", 12), tail("1.png", 12)
        ('…/cats/1.png', '1.png')
    """
    line = one_line(text)
    return line if len(line) <= longest else "…" + line[1 - longest :]
