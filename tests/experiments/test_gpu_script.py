"""The script that waits for a GPU runs in small on a CPU, so that it does not fail where a GPU is lent for minutes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_part_ends_well_in_small(tmp_path):
    settings = {"DEVICE": "cpu", "SIZE": "--quick", "OUT": str(tmp_path), "OMP_NUM_THREADS": "2"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ended = subprocess.run(
        ["bash", "experiments/gpu/run.sh"],
        cwd=ROOT,
        env={**os.environ, **settings, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=3600,
    )
    assert "ended with status" not in ended.stdout, ended.stdout
    for table in ("step_cost", "engine_agreement", "throughput"):
        assert len((tmp_path / f"{table}.csv").read_text(encoding="utf-8").splitlines()) > 1, table
