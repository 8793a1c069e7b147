"""Gives every command and every public function wrong inputs, and says what came of it; see README.md.

    python -m experiments.reliability.bad_inputs [--small] [--seed 0] [--only evaluate]

A case is a message if the input is refused, or warned about, with words that name the argument; vague if the words do
not name it; a traceback if an exception that nobody meant for a user came through; silent if the input was accepted.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.reliability.children import Call, Ended, last_line, plain, run_children
from experiments.reliability.parts import Part, Row, chosen, kept, part_settings, run_part
from experiments.reliability.workplace import Workplace, preload
from experiments.reliability.wrong_calls import WrongCall, wrong_calls
from experiments.reliability.wrong_commands import WrongCommand, folder_config, wrong_commands

PART = Part(
    "bad_inputs",
    "generated bad inputs (at least 600, from a seed)",
    "0 tracebacks, 0 silent, 0 hangs",
    ("message", "vague"),
    1200,
    60,
)
SECONDS = 40.0  # a whole training of one batch takes a few
_OF_PACKAGE = re.compile(r"[/\\]camtrain[/\\]")

BadInput = WrongCall | WrongCommand


def main(words: Sequence[str] | None = None) -> None:
    """Run the cases that have no row yet."""
    settings = part_settings(PART, __doc__, words)
    PART.rows(settings.results, fresh=settings.fresh)
    preload()
    place = Workplace(settings.work)
    cases = bad_inputs(settings, place)
    run_part(PART, settings, found(cases, place, settings.jobs), len(cases))


def bad_inputs(settings: argparse.Namespace, place: Workplace) -> list[BadInput]:
    """The cases that were asked for and have no row yet: as many of commands as of functions."""
    of_commands = chosen(list(_once(wrong_commands(settings.seed))), None, settings.seed, lambda case: case.target)
    of_functions = chosen(
        list(_once(wrong_calls(settings.seed, place.folder))), None, settings.seed, lambda case: case.target
    )
    half = None if settings.size is None else max(settings.size // 2, settings.size - len(of_functions))
    from_commands: list[BadInput] = list(of_commands[:half])
    rest = None if settings.size is None else settings.size - len(from_commands)
    return kept(PART, settings, [*from_commands, *of_functions[:rest]], lambda case: case.name)


def found(cases: Sequence[BadInput], place: Workplace, jobs: int) -> Iterator[Row]:
    """Run the cases, and yield a row for each."""
    template = _template(place)

    def calls() -> Iterator[tuple[tuple[BadInput, Path], Call]]:
        for number, case in enumerate(cases):
            if isinstance(case, WrongCall):
                folder = place.empty(f"input_{number}")
            else:
                folder = place.copied(template, f"input_{number}")
                if case.target == "report" and case.words == ("report", "study", *case.words[2:]):
                    shutil.copytree(place.study / "study", folder / "study")
            yield (case, folder), Call(case.body, folder, SECONDS)

    for (case, folder), ended in run_children(calls(), jobs):
        outcome, detail = classified(case, ended, folder)
        why = case.wrong.why if isinstance(case, WrongCall) else case.why
        yield Row(case.name, case.target, why, outcome, detail, "", f"{ended.seconds:.1f}")
        shutil.rmtree(folder, ignore_errors=True)


def classified(case: BadInput, ended: Ended, folder: Path | None = None) -> tuple[str, str]:
    """Say what a case came to, and the words that it said.

    Args:
        case: The case.
        ended: How its call ended.
        folder: Its folder, which is left out of the words.
    """
    names = (case.argument.lstrip("-"),) if isinstance(case, WrongCall) else case.names
    if ended.how == "hung":
        return "hang", plain(last_line(ended.said), folder)
    if ended.how == "killed":
        return "traceback", f"ended by signal {ended.status}"
    if ended.how == "returned" or (ended.how == "exited" and ended.status == 0):
        # A command prints the warnings of camtrain as lines of its own.
        lines = [line for line in ended.said.splitlines() if ": warning: " in line]
        warned = [each for each in (*ended.warnings, *lines) if _named(names, each)]
        return ("message", plain(warned[0], folder)) if warned else ("silent", "")
    if ended.how == "exited":
        # A usage has the name of every option.
        said = ended.said.rpartition("error:")[2] if "error:" in ended.said else last_line(ended.said)
        if ended.printed_a_traceback:
            return "traceback", plain(said, folder)
        return ("message" if _named(names, said) else "vague"), plain(said, folder)
    said = f"{ended.error}: {ended.message}"
    if isinstance(case, WrongCommand):
        return "traceback", plain(said, folder)
    # What nobody raised for a caller does not name an argument, but by chance.
    if _named(names, ended.message):
        return "message", plain(said, folder)
    meant = ended.on_purpose and _OF_PACKAGE.search(ended.raised_in)
    return ("vague" if meant else "traceback"), plain(said, folder)


def _named(names: Sequence[str], text: str) -> bool:
    """Whether a text has one of the names as a word."""
    return any(name and re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", text) for name in names)


def _once(cases: Sequence[BadInput]) -> Iterator[BadInput]:
    """The cases, without those that were drawn twice."""
    yield from {case.name: case for case in cases}.values()


def _template(place: Workplace) -> Path:
    """A folder with a run, images and a configuration for them, which each command gets a copy of."""
    template = place.folder / "template"
    if not template.is_dir():
        unfinished = place.folder / "template.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(place.run, unfinished)
        shutil.copytree(place.images, unfinished / "images")
        (unfinished / "folder.yaml").write_text(folder_config(), encoding="utf-8")
        unfinished.rename(template)
    return template


if __name__ == "__main__":
    main()
