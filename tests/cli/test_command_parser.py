"""Options of commands are parameters of functions."""

from __future__ import annotations

from typing import Literal

import pytest

from camtrain.cli.command_parser import CommandParser


def draw(
    width: int,
    title: str | None = None,
    mean: list[float] | None = None,
    style: Literal["plain", "bold"] = "plain",
    path: str = "out",
    *,
    quick: bool = False,
) -> None:
    """Draw.

    Args:
        width: The width
            in pixels.
        title: The title.
        mean: The mean color.
        style: The style.
        path: Where it is written.
        quick: Leave out details.
    """


@pytest.fixture
def parser() -> CommandParser:
    parser = CommandParser("draw", "Draw something.", "examples:\n  camtrain draw --width 3")
    parser.add_parameters("looks", draw, ["width", "title", "mean", "style"], title={"help": "Words above."})
    parser.add_parameters("files", draw, [("path", "--out"), "quick"])
    return parser


def test_words_become_arguments_of_the_function(parser):
    words = ["--width", "3", "--mean", "0", "0.5", "1", "--style=bold", "--out", "there", "--quick"]
    assert parser.arguments(parser.parsed(words), draw, more=1) == {
        "width": 3, "title": None, "mean": [0, 0.5, 1], "style": "bold", "path": "there", "quick": True, "more": 1,
    }  # fmt: skip
    assert parser.parsed(["--width", "3", "--mean", "0.5", "--quick"]).mean == [0.5]
    usual = {"width": 3, "title": None, "mean": None, "style": "plain", "path": "out", "quick": False}
    assert parser.arguments(parser.parsed(["--width", "3"]), draw) == usual


def test_values_are_not_options(parser):
    typed = parser.parsed(["--width", "3", "--title", "a-b", "--out=--limit-x"])
    assert (typed.title, typed.out) == ("a-b", "--limit-x")


def test_the_help_has_docstrings_defaults_and_examples(parser, capsys):
    with pytest.raises(SystemExit) as stop:
        parser.parsed(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    text = " ".join(out.split())
    for words in ("usage: camtrain draw", "Draw something.", "The width in pixels.", "Words above.",
                  "--mean NUMBER [NUMBER ...]",
                  "{plain,bold}", "default: out", "--quick Leave out details."):  # fmt: skip
        assert words in text
    assert "examples:\n  camtrain draw --width 3" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--width: expected, and not given"),
        (["--width", "wide"], "--width: "),
        (["--width", "3", "--mean"], "--mean"),
        (["--width", "3", "--mean", "gray"], "--mean: expected a number, got 'gray'"),
        (["--width", "3", "--style", "thin"], "--style: "),
        (["--width", "3", "--colour", "red"], "--colour"),
        (["--wid", "3"], "--wid"),
        (["--width", "3", "extra"], "extra"),
    ],
)
def test_wrong_words_are_named_in_two_lines(parser, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        parser.parsed(words)
    assert stop.value.code == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("camtrain draw: error: ")
    assert message in error
    assert hint == "`camtrain draw --help` explains all options"


def test_messages_name_options(parser, capsys):
    assert parser.in_words("`path`: it is full, see `other`") == "--out: it is full, see `other`"
    with pytest.raises(SystemExit):
        parser.error("`path`: it is full\n\tof  things")
    assert capsys.readouterr().err.splitlines()[0] == "camtrain draw: error: --out: it is full of things"
