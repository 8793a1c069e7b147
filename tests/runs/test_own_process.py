"""`camtrain fit` in a process of its own: what it prints depends on what was imported, and tests import much."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

QUICKSTART = Path(__file__).parents[2] / "configs/quickstart.yaml"
LIMITS = ["--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1.0"]
FIT = f"""
import sys
from camtrain.cli import main
for words in ({[*LIMITS, "--print_config"]!r}, ["--help"]):
    sys.argv = ["camtrain", "fit", "--config", {str(QUICKSTART)!r}, *words]
    try:
        main()
    except SystemExit as end:
        print("ended with", end.code)
"""


@pytest.fixture(scope="module")
def printed():
    """The configuration and the help, which one process prints, since its start takes seconds."""
    environment = {**os.environ, "COLUMNS": "80"}
    words = [sys.executable, "-c", FIT]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.count("ended with 0\n") == 2, done.stdout[-500:] + done.stderr[-2000:]
    config, shown, rest = done.stdout.split("ended with 0\n")
    assert rest == ""
    return config, shown


def test_one_batch_is_not_all_of_them(printed):
    """1 is a number of batches, 1.0 a share of them; to what types a process remembers they are equal."""
    assert "  limit_train_batches: 1\n  limit_val_batches: 1.0\n" in printed[0]


def test_what_people_set_is_short(printed):
    """The help lists all classes that are imported, and tests define some."""
    assert printed[1].startswith("usage: camtrain fit")
    assert len(printed[1].splitlines()) < 240  # five or six screens
