"""The commands of the experiments name scripts that are there, in the form in which they can be run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMAND = re.compile(r"python3? (-m experiments[\w.]*|experiments/\S+)")
TEXTS = [path for kind in ("*.md", "*.sh", "*.py") for path in sorted((ROOT / "experiments").rglob(kind))]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_name_what_is_there(path):
    for command in COMMAND.findall(path.read_text(encoding="utf-8")):
        # A script in a folder would not find `experiments` itself, which is no installed package.
        assert command.startswith("-m "), f"python {command}"
        assert (ROOT / command.removeprefix("-m ").replace(".", "/")).with_suffix(".py").is_file(), command


def test_there_are_commands():
    assert sum(len(COMMAND.findall(path.read_text(encoding="utf-8"))) for path in TEXTS) > 20
