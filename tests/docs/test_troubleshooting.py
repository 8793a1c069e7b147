"""What troubleshooting quotes is what camtrain prints."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import camtrain

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SYMPTOMS = (
    "L_R does not fall",
    "L_R is 0",
    "flat",
    "NaN",
    "Accuracy collapses",
    "counted",
    "Out of memory",
    "second derivative",
    "No gate",
    "login",
    "wrong folder",
)


def quoted():
    """The lines of the page that are messages."""
    blocks = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def messages():
    """All texts in the code of the package, with … in the place of what is filled in."""
    found = []
    for path in Path(camtrain.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = written(node)
            if text:
                found.append(" ".join(text.split()))
    return found


def written(node):
    """A string of the code, or the sum of some; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (written(node.left) or "…") + (written(node.right) or "…")
    return ""


def parts_of(line):
    """The parts of a quoted line between the places that are filled in, without those that say nothing."""
    return [part.strip(" :;,.") for part in re.split("…|: ", line) if len(part.strip(" :;,.")) > 3]


def is_printed(line, found):
    """Whether each part of a line is in a text of the code."""
    parts = parts_of(line)
    return bool(parts) and all(any(part.lower() in text.lower() for text in found) for part in parts)


@pytest.fixture(scope="module")
def found():
    return messages()


@pytest.mark.parametrize("line", quoted())
def test_a_quoted_message_exists(line, found):
    assert is_printed(line, found), f"no such message: {line}"


@pytest.mark.parametrize("line", ["`network`: this is never printed", "…"])
def test_an_invented_message_is_noticed(line, found):
    assert not is_printed(line, found)


def test_every_symptom_has_a_section():
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    for symptom in SYMPTOMS:
        assert any(symptom in heading for heading in headings), symptom
    assert len(quoted()) > 12
