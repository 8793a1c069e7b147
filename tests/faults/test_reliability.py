"""Each part of experiments/reliability at a small size: no case misses its goal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:  # `experiments` is no installed package
    sys.path.insert(0, str(ROOT))

from experiments.reliability.table import PARTS  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_no_case_misses_its_goal(part, tmp_path):
    """In a process of its own: it forks children, which must find no threads of this one."""
    words = ["--small", "--results", str(tmp_path), "--work", str(tmp_path / "work")]
    call = [sys.executable, "-m", f"experiments.reliability.{part.name}", *words]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = list(part.rows(tmp_path))
    assert rows
    assert [f"{row.outcome}: {row.case}: {row.detail}" for row in rows if row.outcome not in part.good] == []
