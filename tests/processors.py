"""Runs the numerical tests as other processors would compute them, and prints a table of what passed.

    python tests/processors.py [--settings NAME ...] [--log FOLDER] [pytest arguments ...]

Sums are taken in another order by each instruction set, by another number of threads, and by torch's own kernels in
the place of oneDNN's. A comparison of two ways to the same number must hold in all of them. Each setting takes some
six minutes on one idle core; `-n 2` runs two tests at a time.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]

PATHS = [
    "tests/gradients",
    "tests/cams",
    "tests/attributions",
    "tests/metrics",
    "tests/evaluation",
    "tests/regularizers",
    "tests/networks",
    "tests/objective",
    "tests/callbacks",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").glob("test_methods*.py")),
    "tests/test_classifier.py",
    "tests/test_distributed.py",
    "camtrain",  # the doctests
]

SETTINGS = {
    f"{instructions}, {threads} thread{'s' if threads > 1 else ''}{', no oneDNN' if onednn == '0' else ''}": {
        **({} if instructions == "all instructions" else {"ATEN_CPU_CAPABILITY": instructions}),
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait slow a busy machine down
        "CAMTRAIN_TEST_ONEDNN": onednn,
    }
    for onednn in ("1", "0")
    for instructions in ("default", "avx2", "all instructions")
    for threads in (1, 2)
}
"""Environment variables by the name of the setting; `tests/conftest.py` reads CAMTRAIN_TEST_ONEDNN."""
for _limit in ("SSE41", "AVX2"):  # of oneDNN's own kernels, which ATEN_CPU_CAPABILITY does not concern
    SETTINGS[f"oneDNN with {_limit}, 1 thread"] = {"ONEDNN_MAX_CPU_ISA": _limit, "OMP_NUM_THREADS": "1"}


def run(setting: str, arguments: list[str], log: Path) -> tuple[str, float]:
    """The last line of pytest, and the seconds that it took; everything that it printed is in `log`."""
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        subprocess.run(
            command, cwd=ROOT, env=os.environ | SETTINGS[setting], stdout=file, stderr=subprocess.STDOUT, check=False
        )
    lines = log.read_text(encoding="utf-8").rstrip().splitlines()
    return lines[-1] if lines else "", time.monotonic() - start


def counted(summary: str, word: str) -> int:
    """How many tests the summary says passed or failed.

    Example:
        >>> counted("2 failed, 96 passed in 1.20s", "passed"), counted("1 error in 0.10s", "passed")
        (96, 0)
    """
    found = re.search(rf"(\d+) {word}", summary)
    return int(found[1]) if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME",
                        help="one or more of: " + "; ".join(SETTINGS))  # fmt: skip
    parser.add_argument("--log", type=Path, default=ROOT / "runs" / "processors", metavar="FOLDER",
                        help="where the output of each run goes (default: runs/processors)")  # fmt: skip
    options, arguments = parser.parse_known_args()
    options.log.mkdir(parents=True, exist_ok=True)
    if not any((ROOT / each.split("::")[0]).exists() for each in arguments):
        arguments += PATHS
    width, all_passed = max(map(len, SETTINGS)), True
    print(f"{'setting':{width}}  passed  failed  seconds")
    for setting in options.settings:
        log = options.log / (re.sub(r"\W+", "_", setting) + ".log")
        summary, seconds = run(setting, arguments, log)
        failed = counted(summary, "failed") + counted(summary, "error")
        passed = counted(summary, "passed")
        all_passed &= passed > 0 and failed == 0
        print(f"{setting:{width}}  {passed:6}  {failed:6}  {seconds:7.0f}", flush=True)
    print(f"The output of each run is in {options.log}.")
    return 0 if all_passed else 1


if __name__ == "__main__":
    sys.exit(main())
