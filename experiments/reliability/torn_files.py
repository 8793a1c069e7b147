"""Damages each file of a run and of a study, calls the commands that read it, and says what came of it; see README.md.

    python -m experiments.reliability.torn_files [--small] [--seed 0] [--only row.json]

A case is *equal* if the results are those of undamaged files; *stated* if the file was named, and the command stopped
or the results differ; *vague* if the command stopped without naming the file; *silent* if the results differ and
nothing was said of the file.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from experiments.reliability.children import Call, Ended, last_line, plain, run_child, run_children
from experiments.reliability.damage import DAMAGES
from experiments.reliability.parts import Part, Row, chosen, kept, part_settings, run_part
from experiments.reliability.results import results_of_run, results_of_study
from experiments.reliability.workplace import ABLATE, CONFIG, EVALUATION, RUN, STUDY, Workplace, command, preload

PART = Part(
    "torn_files",
    "torn or missing files of a run or study (every file: gone, empty, cut, flipped)",
    "0 tracebacks, each named, results equal or stated as lost",
    ("equal", "stated"),
    None,
    12,
)
SECONDS = 240.0  # a damaged trial is trained again, in processes of its own
_COMMANDS = {
    "resume": ("fit", "--config", CONFIG, "--run.resume", "true", "--trainer.max_epochs", "3"),
    "evaluate": ("evaluate", "--checkpoint", str(RUN), *EVALUATION),
    "ablate": (*ABLATE, "--out", str(STUDY)),
    "report": ("report", str(STUDY)),
}


@dataclass(frozen=True)
class TornFile:
    """A damaged file, and the command that reads it.

    Attributes:
        reader: The command.
        path: The file, from the folder of the case.
        shown: Its path without what differs from machine to machine.
        damage: What happened to it.
    """

    reader: str
    path: Path
    shown: str
    damage: str

    @property
    def name(self) -> str:
        """The name of the case."""
        return f"{self.reader}: {self.shown} {self.damage}"


def main(words: Sequence[str] | None = None) -> None:
    """Run the cases that have no row yet."""
    settings = part_settings(PART, __doc__, words)
    PART.rows(settings.results, fresh=settings.fresh)
    preload()
    place = Workplace(settings.work)
    found = chosen(list(all_cases(place)), settings.size, settings.seed, lambda case: case.shown)
    cases = kept(PART, settings, found, lambda case: case.name)
    run_part(PART, settings, rows(cases, place, settings.seed, settings.jobs), len(cases))


def all_cases(place: Workplace) -> Iterator[TornFile]:
    """Every file of a run and of the first trial of a study, with every damage, and each command that reads it."""
    for source, folder, readers in (
        (place.run, RUN.parents[1], ("resume", "evaluate")),
        (place.study, STUDY, ("ablate", "report")),
    ):
        trials = sorted((source / folder / "trials").glob("*"))
        for path in sorted(path for path in (source / folder).rglob("*") if path.is_file()):
            own = path.relative_to(source)
            # The second trial shows that the damage of the first one is no other's.
            if (trials and trials[-1] in path.parents) or path.name == ".lock":
                continue
            for reader in readers:
                for damage in DAMAGES:
                    yield TornFile(reader, own, shown_path(own), damage)


def shown_path(path: Path) -> str:
    """A path without the hashes in it."""
    text = re.sub(r"trials/[^/]+", "trials/TRIAL", path.as_posix())
    return re.sub(r"evaluated_[0-9a-f]+", "evaluated_HASH", text)


def rows(cases: Sequence[TornFile], place: Workplace, seed: int, jobs: int) -> Iterator[Row]:
    """Run the cases, and yield a row for each."""
    wanted = {reader: expected(place, reader) for reader in dict.fromkeys(case.reader for case in cases)}

    def calls() -> Iterator[tuple[tuple[TornFile, Path], Call]]:
        for number, case in enumerate(cases):
            folder = place.copied(_source(place, case.reader), f"torn_{number}")
            DAMAGES[case.damage](folder / case.path, random.Random(f"{seed} {case.name}"))
            yield (case, folder), Call(partial(command, *_COMMANDS[case.reader]), folder, SECONDS)

    for (case, folder), ended in run_children(calls(), jobs):
        outcome, detail = classified(case, ended, folder, wanted[case.reader])
        figure = "named" if is_named(case, ended, folder, wanted[case.reader]) else "not named"
        yield Row(case.name, case.reader, case.damage, outcome, detail, figure, f"{ended.seconds:.1f}")
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Expected:
    """What a command comes to where no file is damaged: its results, and all that it says."""

    results: dict[str, Any]
    said: str


def expected(place: Workplace, reader: str) -> Expected:
    """Run a command on undamaged files."""
    folder = place.copied(_source(place, reader), f"undamaged_{reader}")
    ended = run_child(Call(partial(command, *_COMMANDS[reader]), folder, SECONDS))
    if ended.how not in ("returned", "exited") or ended.status:
        raise RuntimeError(f"{reader} fails on undamaged files: {ended.said[-2000:]}")
    found = Expected(results(reader, folder), _all_said(ended, folder))
    shutil.rmtree(folder, ignore_errors=True)
    return found


def results(reader: str, folder: Path) -> dict[str, Any]:
    """What a command has left behind, as far as it must be the same each time."""
    if reader == "resume":
        return results_of_run(folder / RUN)
    if reader == "evaluate":
        path = folder / "evaluated/images.csv"
        return {"images.csv": path.read_text(encoding="utf-8") if path.is_file() else None}
    found = results_of_study(folder / STUDY)
    return found if reader == "ablate" else {**found, "report.html": _words_of_report(folder / STUDY / "report.html")}


def classified(case: TornFile, ended: Ended, folder: Path, wanted: Expected) -> tuple[str, str]:
    """Say what a case came to, and the words that it said, or what differs."""
    said = plain(last_line(ended.said), folder)
    if ended.how == "hung":
        return "hang", said
    if ended.how in ("raised", "killed") or ended.printed_a_traceback:
        return "traceback", plain(f"{ended.error}: {ended.message}" if ended.error else said, folder)
    named = is_named(case, ended, folder, wanted)
    if ended.status:
        return ("stated" if named else "vague"), said
    found = results(case.reader, folder)
    different = [name for name, value in wanted.results.items() if not same(value, found.get(name))]
    if not different:
        return "equal", ""
    return ("stated" if named else "silent"), f"differs: {', '.join(different)}"


def is_named(case: TornFile, ended: Ended, folder: Path, wanted: Expected) -> bool:
    """Whether the file is named: in the error, or in a line that is not said where nothing is damaged, logs included.

    Of a file that is gone, the folder that lacks it will do.
    """
    name = case.path.name
    names = [name, *(str(parent) for parent in list(case.path.parents)[:2])] if case.damage == "gone" else [name]
    error = "\n".join(ended.said.strip().splitlines()[-3:]) if ended.status else ended.message
    in_error = any(each in error for each in names if each != ".")
    new = set(_all_said(ended, folder).splitlines()) - set(wanted.said.splitlines())
    return in_error or any(name in line for line in new)


def _all_said(ended: Ended, folder: Path) -> str:
    logs = [path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("study/trials/*/trial.log")]
    return "\n".join([ended.said, ended.message, *logs])


def same(one: Any, other: Any) -> bool:
    """Whether two results are equal, tensors included."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _source(place: Workplace, reader: str) -> Path:
    return place.run if reader in ("resume", "evaluate") else place.study


def _words_of_report(path: Path) -> str | None:
    """The report without what changes from one call to the next: data of pictures, times."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    text = re.sub(r"<svg.*?</svg>|base64,[A-Za-z0-9+/=]+", "", text, flags=re.DOTALL)
    return re.sub(r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?", "", text)


if __name__ == "__main__":
    main()
