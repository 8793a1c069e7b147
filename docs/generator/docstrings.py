"""Docstrings of the house as Markdown."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_HEADING = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Cost|Source|Example):\s*(.*)")
_ENTRY = re.compile(r"(\*{0,2}\w+): (.*)")
_TITLES = {"Args": "Arguments", "Example": "Example", "Source": "Source", "Cost": "Cost"}
Link = Callable[[str], str | None]
"""The target of a link to what a piece of code names; `None` if it has no page."""


@dataclass(frozen=True)
class Docstring:
    """A docstring in parts.

    Attributes:
        summary: The first paragraph, in one line.
        body: What follows it, before the first section.
        sections: The text of each section, by its heading.
    """

    summary: str
    body: str
    sections: Mapping[str, str]


def docstring_of(value: object) -> Docstring:
    """The docstring of an object; empty if it has none."""
    text = inspect.getdoc(value) if inspect.isclass(value) or inspect.isroutine(value) else None
    return parsed(text or "")


def parsed(text: str) -> Docstring:
    """The parts of a docstring.

    Args:
        text: The docstring, without the indentation of the code around it.
    """
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for line in text.splitlines():
        heading = _HEADING.fullmatch(line)
        if heading:
            current = heading[1]
            parts[current] = [f"    {heading[2]}"] if heading[2] else []
        else:
            parts[current].append(line)
    summary, _, body = "\n".join(parts.pop("")).strip().partition("\n\n")
    sections = {name: textwrap.dedent("\n".join(lines)).strip("\n") for name, lines in parts.items()}
    return Docstring(" ".join(summary.split()), body.strip("\n"), sections)


def prose(text: str, link: Link) -> str:
    """Paragraphs, bullet lists and indented blocks, as Markdown.

    Args:
        text: The text of a docstring. An indented block, which holds a formula, stays as it is.
        link: Finds the target of what is between backticks.
    """
    blocks = [block for block in re.split(r"\n[ \t]*\n", text.strip("\n")) if block.strip()]
    written = []
    for block in blocks:
        lines = block.splitlines()
        if all(line.startswith("    ") for line in lines):
            written.append(f"```text\n{textwrap.dedent(block)}\n```")
        elif lines[0].startswith("- "):
            written.append("\n".join(_escaped_line(line, link) for line in lines))
        else:
            written.append(inline(" ".join(line.strip() for line in lines), link))
    return "\n\n".join(written)


def formulas(text: str) -> list[str]:
    """The indented blocks of a text."""
    blocks = re.split(r"\n[ \t]*\n", text.strip("\n"))
    return [
        textwrap.dedent(block)
        for block in blocks
        if block.strip() and all(line.startswith("    ") for line in block.splitlines())
    ]


def entries(text: str, link: Link) -> str:
    """A list of arguments, attributes or errors, as bullets.

    Args:
        text: The text of the section.
        link: See `prose`.
    """
    items: list[str] = []
    for line in text.splitlines():
        found = _ENTRY.fullmatch(line)
        if found:
            items.append(f"- **`{found[1]}`**: {inline(found[2], link)}")
        elif items and line.strip():
            items[-1] += " " + inline(line.strip(), link)
        elif line.strip():
            items.append(f"- {inline(line.strip(), link)}")
    return "\n".join(items)


def section(name: str, text: str, link: Link) -> str:
    """The content of a section, as Markdown.

    Args:
        name: The heading in the docstring, such as `Args`.
        text: Its text.
        link: See `prose`.
    """
    if name in ("Args", "Attributes", "Raises"):
        return entries(text, link)
    if name == "Example":
        return f"```pycon\n{text}\n```"
    return prose(text, link)


def title_of(name: str) -> str:
    """The heading of a section as the site shows it."""
    return _TITLES.get(name, name)


def inline(text: str, link: Link) -> str:
    """A line with its code marked and linked, and everything else as it is written.

    Args:
        text: The line. Code is between single backticks.
        link: See `prose`.
    """
    pieces = re.split(r"(`[^`]+`)", text)
    return "".join(
        _code(piece[1:-1], link) if piece.startswith("`") and len(piece) > 2 else escaped(piece) for piece in pieces
    )


def escaped(text: str) -> str:
    """A text in which nothing is a sign of Markdown but the stars around *emphasized* words."""
    pieces = re.split(r"(?<![\w*])\*(\w[^*]*\w)\*(?![\w*])", text)
    signs = [re.sub(r"([\\*_\[\]<>$#|~{}])", r"\\\1", piece) for piece in pieces]
    return "".join(f"*{piece}*" if number % 2 else piece for number, piece in enumerate(signs))


def _code(text: str, link: Link) -> str:
    target = link(text)
    return f"[`{text}`]({target})" if target else f"`{text}`"


def _escaped_line(line: str, link: Link) -> str:
    indent, rest = (line[: len(line) - len(line.lstrip())], line.lstrip())
    if rest.startswith("- "):
        return f"{indent}- {inline(rest[2:], link)}"
    return f"{indent}{inline(rest, link)}"
