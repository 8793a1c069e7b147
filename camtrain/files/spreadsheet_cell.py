"""Words in a CSV file that a spreadsheet would take for formulas."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", flags=re.ASCII)
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def spreadsheet_cell(word: str) -> str:
    """A word as a cell that a spreadsheet shows and does not compute.

    A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, which may read other cells and call
    other programs. An apostrophe before it makes it text. A number stays a number.

    Args:
        word: What the cell says.

    Example:
        >>> [spreadsheet_cell(word) for word in ("cat", "=1+1", "-cat", "-0.5", "'=x")]
        ['cat', "'=1+1", "'-cat", '-0.5', "''=x"]
    """
    return f"'{word}" if _FORMULA.match(word) and not _NUMBER.fullmatch(word) else word


def word_of_cell(cell: str) -> str:
    """The word that `spreadsheet_cell` made a cell of.

    Example:
        >>> [word_of_cell(cell) for cell in ("cat", "'=1+1", "''=x", "'quoted'")]
        ['cat', '=1+1', "'=x", "'quoted'"]
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
