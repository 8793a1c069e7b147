from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path

import pytest

from experiments import measuring
from experiments.measuring import json_of_own_process, quartiles, ratios, seconds_by_round, seconds_of

MEBIBYTE = 2**20


def test_quartiles():
    # Of 1, 2, 3, 4, 10 the quartiles are the second and the fourth value.
    assert quartiles([10.0, 2.0, 1.0, 4.0, 3.0]) == (3.0, 2.0, 4.0)
    assert quartiles([0.5]) == (0.5, 0.5, 0.5)
    assert all(math.isnan(each) for each in quartiles([]))


def test_ratios_are_of_the_same_round():
    assert ratios([2.0, 12.0], [1.0, 4.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


def test_calls_take_turns():
    taken = []
    seconds = seconds_by_round({name: lambda name=name: taken.append(name) for name in "ab"}, 3, warm_up=1)
    assert taken == ["a", "b"] * 4
    assert {name: len(each) for name, each in seconds.items()} == {"a": 3, "b": 3}


def test_seconds_are_those_of_the_call(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])

    def work():
        now[0] += 0.25

    assert seconds_of(work) == 0.25
    assert seconds_by_round({"work": work}, 2, warm_up=3) == {"work": [0.25, 0.25]}


def test_no_rounds():
    assert seconds_by_round({"a": time.time}, 0) == {"a": []}


def test_json_of_own_process(tmp_path, monkeypatch):
    program = "import json, os, sys\nprint('first')\nprint(json.dumps([sys.argv[1:], os.getpid()]))\nsys.exit(%d)\n"
    (tmp_path / "works.py").write_text(program % 0)
    (tmp_path / "fails.py").write_text(program % 1)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    arguments, process = json_of_own_process("works", ["--images", "4"])
    assert arguments == ["--images", "4"]
    assert process != os.getpid()
    assert json_of_own_process("fails", []) is None


MEMORY = """
import numpy as np
from experiments.measuring import raised_memory

kept = np.ones(64 * 2**20, dtype=np.uint8)  # in use before, and so no part of it

def work():
    for _ in range(3):
        np.ones(48 * 2**20, dtype=np.uint8)  # freed at once: the peak is one of them

print([raised_memory(work), raised_memory(lambda: None), int(kept.all())])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_raised_memory(tmp_path, monkeypatch):
    """In a process of its own: memory that a process has freed and kept hides part of a peak."""
    (tmp_path / "measured_memory.py").write_text(MEMORY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(measuring.__file__).parents[1])]))
    worked, idle, kept = json_of_own_process("measured_memory", [])
    assert 40 * MEBIBYTE < worked < 60 * MEBIBYTE
    assert idle < 8 * MEBIBYTE
    assert kept
