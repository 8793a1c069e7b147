"""What CONTRIBUTING.md says of the code is so."""

from __future__ import annotations

import re
from pathlib import Path

from tests.test_layers import ROWS

TEXT = (Path(__file__).parents[1] / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_table_has_the_rows_of_the_package():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ", TEXT, re.MULTILINE)
    assert [set(re.findall(r"\w+", row)) for row in rows] == ROWS


def test_files_that_are_named_exist():
    """A path with a placeholder, such as `<name>.py`, is that of a new file."""
    for name in re.findall(r"`((?:camtrain|tests)/[\w/.]+\.\w+)`", TEXT):
        assert (Path(__file__).parents[1] / name).is_file(), name
