"""Puts tables and other generated text between two marker lines of a README."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from camtrain.files import write_whole

PROJECT_README = Path(__file__).parents[1] / "README.md"
_END = "<!-- end -->"


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make a table in Markdown; a bar in a cell is escaped.

    Raises:
        ValueError: If a row has more or fewer cells than there are headings.
    """
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"`rows`: expected {len(headings)} cells in each, got {len(row)}: {row}")
    lines = [[cell.replace("|", r"\|") for cell in line] for line in (headings, *rows)]
    lines.insert(1, ["---"] * len(headings))
    return "\n".join("".join(f"| {cell} " if cell else "| " for cell in line) + "|" for line in lines)


def put_texts(texts: Mapping[str, str], *readmes: Path) -> None:
    """Replace the text between the marker lines `<!-- NAME -->` and `<!-- end -->` of READMEs.

    A README that lacks the markers of a name does not show that text; a text that none of them shows is named.

    Args:
        texts: The new texts, by the name in their marker.
        readmes: The files to change.

    Raises:
        ValueError: If a marker has no end, or appears twice.
    """
    for readme in readmes:
        old = new = readme.read_text(encoding="utf-8")
        for name, text in texts.items():
            new = _replaced(new, f"<!-- {name} -->\n", text, readme)
        if new != old:
            write_whole(readme, new)
    for name in texts:
        if all(text_between(readme.read_text(encoding="utf-8"), name) is None for readme in readmes):
            named = " and ".join(str(readme) for readme in readmes)
            print(f"not shown: {named} lacks the lines <!-- {name} --> and {_END}", file=sys.stderr)


def text_between(readme: str, name: str) -> str | None:
    """Return the text between the marker lines of a name, or `None` if the README has no such markers."""
    _, found, rest = readme.partition(f"<!-- {name} -->\n")
    return rest.partition(f"\n{_END}")[0] if found else None


def _replaced(content: str, start: str, text: str, readme: Path) -> str:
    if content.count(start) > 1:
        raise ValueError(f"{readme}: expected the line {start.strip()} once, found it {content.count(start)} times")
    before, found, rest = content.partition(start)
    if not found:
        return content
    old, end, after = rest.partition(_END)
    if not end or "<!-- " in old:
        raise ValueError(f"{readme}: expected the line {_END} after {start.strip()}, found none")
    return f"{before}{start}{text}\n{end}{after}"
