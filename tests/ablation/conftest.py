"""A study that ran to its end without interruption, two runs at a time."""

from __future__ import annotations

import fcntl

import pytest

from tests.ablation.studies import WORDS, ablate


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Of studies that all workers of this test run share."""
    shared = tmp_path_factory.getbasetemp()
    if "popen-gw" in shared.name:
        shared = shared.parent
    found = shared / "studies"
    found.mkdir(exist_ok=True)
    return found


@pytest.fixture(scope="session")
def study(folder):
    """The study's own folder; whoever comes first makes it, the others find its runs finished."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "whole/report.html").is_file():
            done = ablate(folder, "whole", *WORDS, "--jobs", "2")
            assert done.returncode == 0, done.stderr
            (folder / "printed.txt").write_text(done.stdout + done.stderr)
    return folder / "whole"
