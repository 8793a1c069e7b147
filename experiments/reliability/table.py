"""Writes the tables of the README from the rows of all parts.

python -m experiments.reliability.table
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from experiments.readme_tables import markdown_table, put_texts
from experiments.reliability import (
    bad_inputs,
    gradients_of_processes,
    hostile_files,
    kills,
    long_training,
    torn_files,
    world_faults,
)
from experiments.reliability.parts import FOLDER, Part, Row

PARTS = tuple(
    module.PART
    for module in (kills, bad_inputs, hostile_files, torn_files, world_faults, long_training, gradients_of_processes)
)
README = FOLDER / "README.md"
NUMBERS, MISSES, KINDS = ("numbers", "misses", "kinds")
_OF = " of experiments/reliability"
_LONGEST_LIST = 60


def main() -> None:
    """Write the tables."""
    put_texts(readme_texts(), README)


def readme_texts(folder: Path = FOLDER) -> dict[str, str]:
    """Make the texts of the README from the CSV files in a folder."""
    rows = {part: list(part.rows(folder)) for part in PARTS}
    return {
        f"{NUMBERS}{_OF}": numbers(rows),
        f"{KINDS}{_OF}": by_kind(rows),
        f"{MISSES}{_OF}": misses(rows),
    }


def numbers(rows: dict[Part, list[Row]]) -> str:
    """Make the table of numbers to reach: what was counted, the goal, and what was found."""
    lines = [[part.figure, part.goal, outcomes(found), met(part, found)] for part, found in rows.items()]
    return markdown_table(["figure", "goal", "found", "reached"], lines)


def outcomes(rows: Iterable[Row]) -> str:
    """Count the outcomes of rows, the most frequent first."""
    counts = Counter(row.outcome for row in rows)
    if not counts:
        return "not measured"
    return f"{sum(counts.values())}: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())


def met(part: Part, rows: list[Row]) -> str:
    """Say if a goal is reached."""
    if not rows:
        return "–"
    bad = sum(row.outcome not in part.good for row in rows)
    return f"no, {bad} miss{'es' * (bad != 1)}" if bad else "yes"


def by_kind(rows: dict[Part, list[Row]]) -> str:
    """Make the table of outcomes by the kind of case, for the parts with several."""
    lines = []
    for part, found in rows.items():
        for kind in dict.fromkeys(row.kind for row in found):
            of_kind = [row for row in found if row.kind == kind]
            figures = [row.figure for row in of_kind if row.figure]
            figure = figures[0] if len(figures) == 1 else ""
            lines.append([part.name, kind, outcomes(of_kind), figure])
    # Functions of Python are many, and each has few cases.
    short = [line for line in lines if line[0] != bad_inputs.PART.name or line[1].islower()]
    return markdown_table(["part", "kind", "outcomes", "measured"], short)


def misses(rows: dict[Part, list[Row]]) -> str:
    """List the cases that miss their goal, with what was said."""
    found = [(part, row) for part, of_part in rows.items() for row in of_part if row.outcome not in part.good]
    if not found:
        return "None."
    lines = [[part.name, row.case[:100], row.outcome, row.detail[:140]] for part, row in found[:_LONGEST_LIST]]
    rest = len(found) - len(lines)
    text = markdown_table(["part", "case", "outcome", "what was said"], lines)
    return text + (f"\n\n{rest} more are in the CSV files." if rest else "")


if __name__ == "__main__":
    main()
