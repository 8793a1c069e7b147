"""Kills `fit` and `ablate` at random moments, calls them again until they are done, and compares; see README.md.

    python -m experiments.reliability.kills [--small] [--seed 0] [--only fit]

A run or a study is killed several times, by SIGKILL, SIGTERM and SIGINT in turn, each time at a moment that is drawn
from the time that it would still take. Then it is called once more and left alone. Each kill has a row. Its outcome is
that of its run: *equal* to an uninterrupted one; *lost* if a row, a file or a state is missing; *mixed* if one is
another; *not resumed* if a call after a kill ended with an error. A process that outlives the killed one by five
seconds makes it an *orphan*.
"""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.reliability.children import last_line, plain
from experiments.reliability.parts import Case, Part, Row, part_settings, run_part
from experiments.reliability.processes import Marked, name_of
from experiments.reliability.results import missing_rows, results_of_run, results_of_study
from experiments.reliability.torn_files import same
from experiments.reliability.workplace import ABLATE, CONFIG, GRID, SMALL, write_config

PART = Part(
    "kills",
    "kills of `fit` (40) and of `ablate` with 2 jobs (40), at random moments, SIGKILL, SIGTERM, SIGINT",
    "0 lost, 0 mixed, 0 orphans after 5 s, tables and weights equal to an uninterrupted run",
    ("equal",),
    80,
    2,
)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE = 5.0  # seconds that what a killed process has started may live
_KILLS_OF_A_RUN = 4
_LONGEST = 600.0  # seconds of a call that is left alone
_STATUSES = {signal.SIGKILL: (-9,), signal.SIGTERM: (143, -15), signal.SIGINT: (130, -2)}


@dataclass(frozen=True)
class Target:
    """What is killed.

    Attributes:
        name: The command.
        words: Its words.
        config: The configuration that it reads.
        results: What it comes to, from the folder of the case.
        lost: The number of rows that a second result lacks of a first one.
    """

    name: str
    words: tuple[str, ...]
    config: str
    results: Callable[[Path], dict[str, Any]]
    lost: Callable[[dict[str, Any], dict[str, Any]], int]


def _lost_trials(wanted: dict[str, Any], found: dict[str, Any]) -> int:
    return max(0, len(wanted["results.csv"] or []) - len(found["results.csv"] or []))


LONGER = SMALL.replace("max_epochs: 2", "max_epochs: 12").replace("limit_train_batches: 2", "limit_train_batches: 4")
_THREE_POINTS = "model.regularizer_weight=0,0.1,0.2"
TARGETS = (
    Target(
        "fit",
        ("fit", "--config", CONFIG, "--run.resume", "true"),
        LONGER,
        # A run that was killed before its first checkpoint is begun anew, as the next version.
        lambda folder: results_of_run(max((folder / "runs/small").glob("version_*"))),
        missing_rows,
    ),
    Target(
        "ablate",
        (*(_THREE_POINTS if word == GRID[1] else word for word in ABLATE), "--jobs", "2", "--out", "study"),
        LONGER.replace("max_epochs: 12", "max_epochs: 6"),
        lambda folder: results_of_study(folder / "study"),
        _lost_trials,
    ),
)


@dataclass
class Kill:
    """A kill of a run, and what came of it.

    Attributes:
        number: Its number among the kills of the target.
        signal: The signal.
        moment: The seconds from the start of the process to the signal.
        status: The exit status of the process.
        gone_after: The seconds until all that it had started was gone; `None` if that took more than `PATIENCE`.
        survivor: The command line of a process that was not gone then.
        said: The last line that it printed.
        has_traceback: True if it printed a traceback.
    """

    number: int
    signal: signal.Signals
    moment: float
    status: int | None
    gone_after: float | None
    survivor: str
    said: str
    has_traceback: bool


def main(words: Sequence[str] | None = None) -> None:
    """Kill what has not been killed yet."""
    settings = part_settings(PART, __doc__, words)
    rows = PART.rows(settings.results, fresh=settings.fresh)
    targets = [target for target in TARGETS if settings.only in target.name]
    wanted = settings.size // len(targets)
    missing = {
        target.name: [number for number in range(wanted) if Case(case_name(target, number)) not in rows]
        for target in targets
    }
    total = sum(map(len, missing.values()))
    place = settings.work.absolute() / "kills"
    found = (row for target in targets for row in killed(target, missing[target.name], settings.seed, place))
    run_part(PART, settings, found, total)


def case_name(target: Target, number: int) -> str:
    """The name of a kill."""
    return f"{target.name}: kill {number} by {SIGNALS[number % len(SIGNALS)].name}"


def killed(target: Target, numbers: Sequence[int], seed: int, place: Path) -> Iterator[Row]:
    """Kill a target, with as many kills of each run as there is time for, and yield a row for each kill.

    Args:
        target: What is killed.
        numbers: The numbers of the kills.
        seed: The moments depend on it.
        place: A folder for the runs.
    """
    if not numbers:
        return
    whole, duration = uninterrupted(target, place)
    left = list(numbers)
    while left:
        folder = place / f"{target.name}_{left[0]}"
        shutil.rmtree(folder, ignore_errors=True)
        write_config(folder, target.config)
        started = time.monotonic()
        kills = _kills_of_a_run(target, left, seed, folder, duration)
        outcome, detail = _end_of_a_run(target, kills, folder, whole)
        seconds = (time.monotonic() - started) / max(1, len(kills))
        yield from (_row(target, kill, outcome, detail, seconds) for kill in kills)
        left = [number for number in left if number not in {kill.number for kill in kills}]
        shutil.rmtree(folder, ignore_errors=True)


def uninterrupted(target: Target, place: Path) -> tuple[dict[str, Any], float]:
    """The results of a call that nobody kills, and the seconds that it takes."""
    folder = place / f"{target.name}_whole"
    shutil.rmtree(folder, ignore_errors=True)
    write_config(folder, target.config)
    with Marked(target.words, folder, folder / "said.txt") as whole:
        status = whole.wait(_LONGEST)
        seconds = time.monotonic() - whole.started
    if status != 0:
        raise RuntimeError(f"camtrain {' '.join(target.words)} ends with {status}: {whole.said()[-2000:]}")
    return target.results(folder), seconds


def _kills_of_a_run(target: Target, left: Sequence[int], seed: int, folder: Path, duration: float) -> list[Kill]:
    """Call a target in a folder and kill it, some times or until it is done before its moment comes."""
    kills: list[Kill] = []
    for number in left[:_KILLS_OF_A_RUN]:
        draw = random.Random(f"{seed} {target.name} {number} {len(kills)}")
        # A call goes on where the last one was: what it takes becomes less.
        moment = draw.uniform(0.2, duration * (1 - 0.5 * len(kills) / _KILLS_OF_A_RUN))
        with Marked(target.words, folder, folder / "said.txt") as process:
            if process.wait(moment) is not None:
                if kills or process.process.returncode:
                    break
                shutil.rmtree(folder)  # it was done before its moment: another one begins anew
                write_config(folder, target.config)
                continue
            name = SIGNALS[number % len(SIGNALS)]
            process.send(name)
            status = process.wait(60.0)
            gone = process.gone_after(PATIENCE)
            survivors = [name_of(each) for each in process.relatives()]
            said = process.said()
        kills.append(
            Kill(
                number,
                name,
                moment,
                status,
                gone,
                next(iter(survivors), ""),
                last_line(said),
                "Traceback (most" in said,
            )
        )
    return kills


def _end_of_a_run(target: Target, kills: Sequence[Kill], folder: Path, whole: dict[str, Any]) -> tuple[str, str]:
    """Call a target once more and leave it alone; what it came to."""
    with Marked(target.words, folder, folder / "said.txt") as process:
        status = process.wait(_LONGEST)
        said = process.said()
    if status != 0:
        return "not resumed", f"status {status}: {plain(last_line(said), folder)}"
    found = target.results(folder)
    different = [name for name, value in whole.items() if not same(value, found.get(name))]
    if not different:
        return "equal", ""
    lost = target.lost(whole, found)
    gone = [name for name in different if found.get(name) is None]
    detail = f"{lost} rows missing; differs: {', '.join(different)}"
    return ("lost" if lost or gone else "mixed"), detail


def _row(target: Target, kill: Kill, outcome: str, detail: str, seconds: float) -> Row:
    """The row of a kill; an orphan is worse than all that its run came to, but a loss."""
    notes = [detail] if detail else []
    if kill.gone_after is None:
        notes.append(f"after {PATIENCE:g} s there was {plain(kill.survivor)}")
        outcome = "orphan" if outcome == "equal" else outcome
    if kill.status not in _STATUSES[kill.signal]:
        notes.append(f"ended with status {kill.status}")
    if kill.has_traceback:
        notes.append("printed a traceback")
    gone = "more than 5" if kill.gone_after is None else f"{kill.gone_after:.1f}"
    return Row(
        case_name(target, kill.number),
        target.name,
        f"{kill.signal.name} after {kill.moment:.1f} s",
        outcome,
        "; ".join(notes),
        f"children gone after {gone} s",
        f"{seconds:.1f}",
    )


if __name__ == "__main__":
    main()
