"""What the parts of this experiment share: the rows of their cases, their options, and a loop that resumes."""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from experiments.result_rows import ResultRows

FOLDER = Path(__file__).parent
Item = TypeVar("Item")


@dataclass(frozen=True)
class Case:
    """What tells the rows of a part apart."""

    case: str


@dataclass(frozen=True)
class Row(Case):
    """What became of a case.

    Attributes:
        kind: The group that the case belongs to.
        wrong: What was done, or why the input is wrong.
        outcome: The class of what came of it; each part names its own.
        detail: The line that was said, or what differed.
        figure: A number that was measured, with its unit; empty where none was.
        seconds: The time that the case took.
    """

    kind: str
    wrong: str
    outcome: str
    detail: str
    figure: str
    seconds: str


@dataclass(frozen=True)
class Part:
    """A part of the experiment: a line of its table.

    Attributes:
        name: The name of the module, and of the file with its rows.
        figure: What is counted.
        goal: What it should come to.
        good: The outcomes that the goal allows.
        full: The number of cases for the table; `None` is all there are.
        small: The number of cases for a first look, which takes less than a minute.
    """

    name: str
    figure: str
    goal: str
    good: tuple[str, ...]
    full: int | None
    small: int

    def rows(self, folder: Path = FOLDER, *, fresh: bool = False) -> ResultRows[Row]:
        """The rows that are in the part's file."""
        return ResultRows(folder / f"{self.name}.csv", Row, Case, fresh=fresh)


def part_settings(part: Part, description: str | None, words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options that all parts have.

    Args:
        part: The part.
        description: What it does.
        words: The words; `None` takes them from the command line.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=part.full, help="the number of cases (default: %(default)s)")
    parser.add_argument("--small", action="store_true", help=f"{part.small} cases, for a first look")
    parser.add_argument("--seed", type=int, default=0, help="what is drawn depends on it (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="the number of cases at a time (default: %(default)s)")
    parser.add_argument("--only", default="", help="only cases whose name or kind has this in it")
    parser.add_argument("--results", type=Path, default=FOLDER, help="the folder of the CSV files (default: this one)")
    parser.add_argument("--work", type=Path, default=Path("runs/reliability"), help="where cases are (%(default)s)")
    parser.add_argument("--fresh", action="store_true", help="forget the rows of an earlier call")
    settings = parser.parse_args(words)
    if settings.small:
        settings.size = part.small
    return settings


def chosen(items: Sequence[Item], size: int | None, seed: int, kind_of: Callable[[Item], str]) -> list[Item]:
    """Choose some items, so that every kind has its share; the first ones of a larger choice are those of a smaller.

    Args:
        items: The items to choose from.
        size: Their number; `None` takes all.
        seed: What is drawn depends on it.
        kind_of: The kind of an item.
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(kind_of(item), []).append(item)
    for kind, group in groups.items():
        random.Random(f"{seed} {kind}").shuffle(group)
    # The n-th of a group stands where it would if all groups were spread evenly.
    places = [
        ((index + 0.5) / len(group), kind, index) for kind, group in groups.items() for index in range(len(group))
    ]
    return [groups[kind][index] for _, kind, index in sorted(places)][:size]


def kept(part: Part, settings: argparse.Namespace, cases: Iterable[Item], name_of: Callable[[Item], str]) -> list[Item]:
    """Leave out the cases whose rows are there, and those that `--only` leaves out."""
    rows = part.rows(settings.results)
    return [case for case in cases if Case(name_of(case)) not in rows and settings.only in name_of(case)]


def run_part(part: Part, settings: argparse.Namespace, found: Iterator[Row] | Iterable[Row], total: int) -> None:
    """Write each row as soon as it is there, with a progress bar, and print what came of all.

    Args:
        part: The part.
        settings: Its options.
        found: The rows, as they come.
        total: Their number.
    """
    rows = part.rows(settings.results)
    with tqdm(total=total, desc=part.name, unit="case", disable=None, mininterval=1.0) as bar:
        for row in found:
            rows.add(row)
            bar.update()
            if row.outcome not in part.good:
                bar.write(f"{row.outcome}: {row.case}: {row.detail}", file=sys.stderr)
    print(f"{part.name}: {summary(rows)}; goal: {part.goal}")


def summary(rows: Iterable[Row]) -> str:
    """Count the outcomes of rows, the most frequent first."""
    counts = Counter(row.outcome for row in rows)
    total = f"{sum(counts.values())} cases"
    return ": ".join(filter(None, [total, ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())]))
