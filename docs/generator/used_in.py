"""Which experiment measured a regularizer, a method or a metric."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from docs.generator.families import Family
from docs.generator.links import ROOT, experiment_names
from experiments.result_rows import read_rows

# The columns of results whose cells are names of settings, regularizers, methods or metrics.
_NAMING = {"setting", "regularizer", "method", "metric", "map", "figure"}
# It gives every class wrong input, and measures none of them.
_OF_ALL = {"reliability"}


def experiments_with(family: Family) -> list[str]:
    """The experiments that have results of it.

    A regularizer is named by its class in the README or in a configuration, or as a setting in the results. A method or
    a metric is named in the headings or in a column of the results.

    Args:
        family: The regularizer, method or metric.
    """
    names = {family.main.__name__, family.key} if family.kind == "regularizers" else set(family.registered)
    return [
        experiment
        for experiment in experiment_names()
        if experiment not in _OF_ALL
        and (
            names & _measured(experiment)
            or (family.kind == "regularizers" and family.main.__name__ in _named(experiment))
        )
    ]


@cache
def question_of(experiment: str) -> str:
    """The question of an experiment, which is the heading of its README."""
    first = (_folder(experiment) / "README.md").read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ").strip()


@cache
def _measured(experiment: str) -> frozenset[str]:
    """The names in the results: parts of headings, cells of the columns that name something, and names of files."""
    found: set[str] = set()
    for path in _results(experiment):
        found.add(path.stem)
        for row in read_rows(path):
            found |= {part for heading in row for part in heading.split("/")}
            for column in _NAMING & row.keys():
                found |= {row[column], re.sub(r"(_\d+)+$", "", row[column]), re.split(r"[, ]", row[column])[0]}
    return frozenset(found)


@cache
def _named(experiment: str) -> frozenset[str]:
    """The words of the README and of the configurations, if there are results."""
    if not _results(experiment):
        return frozenset()
    paths = [_folder(experiment) / "README.md", *_folder(experiment).glob("*.yaml")]
    return frozenset(word for path in paths for word in re.findall(r"\w+", path.read_text(encoding="utf-8")))


def _results(experiment: str) -> list[Path]:
    return sorted(_folder(experiment).rglob("*.csv"))


def _folder(experiment: str) -> Path:
    return ROOT / "experiments" / experiment
