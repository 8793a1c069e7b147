"""Errors of a command as one line: those for its user, and those that are faults."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path

import pytest
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from camtrain.cli import main
from camtrain.cli.command_parser import CommandParser
from camtrain.cli.errors_as_lines import errors_as_lines, wrong_arguments
from camtrain.files import write_whole
from camtrain.messages import debugging, positive_integer, show_tracebacks
from camtrain.messages.one_line import error_message
from camtrain.regularizers import Term


@pytest.fixture
def said(capsys):
    """What a command prints that ends with the error of a function."""

    def say(function) -> str:
        with pytest.raises(SystemExit) as stop, errors_as_lines("fit"):
            function()
        assert stop.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("camtrain fit: error: ")

    return say


def raising(error):
    def function():
        raise error

    return function


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (lambda: positive_integer("max_batch", 0), "`max_batch`: expected a positive integer, got 0"),
        (lambda: Term(None), "`regularizer`: expected a Regularizer that is not a Sum, got None"),  # a TypeError
        (lambda: torch.optim.SGD([torch.zeros(1)], lr=-1), "Invalid learning rate: -1"),
        (lambda: open("absent/file"), "absent/file: No such file or directory"),  # noqa: SIM115
        (raising(OSError(errno.ENOSPC, "No space left on device")), "[Errno 28] No space left on device"),
        (raising(MisconfigurationException("no such\n  device")), "no such device"),
        (raising(ModuleNotFoundError("`pip install ray` installs it")), "`pip install ray` installs it"),
        (raising(ValueError("a\n\tb \x1b[31m" + "x" * 5000)), "a b �[31m" + "x" * 790 + "…"),
    ],
)
def test_messages_for_users(said, function, line):
    assert said(function) == line


def test_out_of_memory_says_what_to_do(said):
    line = said(raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")))
    assert line == (
        "out of memory: CUDA out of memory. Tried to allocate 20 GiB; try a smaller `data.batch_size` or `max_batch`"
    )


@pytest.mark.parametrize(
    ("function", "kind", "place"),
    [
        (lambda: {}["key"], "KeyError", "test_errors_as_lines.py, line "),
        (lambda: positive_integer(), "TypeError", "test_errors_as_lines.py, line "),
        # Faults of camtrain itself: an error that none of its `raise` statements made, whatever its kind.
        (lambda: write_whole(None, ""), "AttributeError", "camtrain/files/whole_file.py, line "),
        (lambda: CommandParser.arguments(None, None, None), "AttributeError", "camtrain/cli/command_parser.py, line"),
        (raising(RuntimeError("sizes must match")), "RuntimeError", "test_errors_as_lines.py, line "),
    ],
)
def test_faults_are_unexpected_and_their_traceback_is_kept(said, monkeypatch, tmp_path, function, kind, place):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    line = said(function)
    assert line.startswith(f"unexpected {kind} in ")
    assert place in line
    path = Path(re.search(r"the traceback is in (\S+)$", line)[1])
    assert path.parent == tmp_path
    assert f"\n{kind}" in path.read_text()


def test_a_traceback_that_cannot_be_written_is_a_rerun_away(said, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert said(raising(IndexError("3"))).endswith("3; the same command with --debug shows the traceback")


class Broken:
    """A data set whose images cannot be read."""

    def __init__(self, error: Exception):
        self.error = error

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int):
        raise self.error


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_an_error_of_a_loaders_process_has_no_traceback(said, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def read(error):
        return lambda: next(iter(DataLoader(Broken(error), num_workers=1)))

    assert said(read(ValueError("a.png: expected a picture,\ngot text"))) == "a.png: expected a picture, got text"
    assert said(read(OSError("b.png is truncated"))) == "b.png is truncated"
    assert said(read(IndexError("fault"))).startswith(f"unexpected IndexError in {__file__}, line ")


def test_debug_shows_the_traceback_above_the_line(capsys, monkeypatch):
    with pytest.raises(SystemExit), show_tracebacks(), errors_as_lines("fit"):
        raise ValueError("no")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "camtrain fit: error: no"
    assert not debugging()
    monkeypatch.setenv("JSONARGPARSE_DEBUG", "true")
    assert debugging()


def test_interruptions_pass():
    for error in (KeyboardInterrupt, SystemExit):
        with pytest.raises(error), errors_as_lines("fit"):
            raise error


def test_wrong_arguments_are_named_as_options(capsys):
    parser = CommandParser("draw", "Draw.")
    parser.add_parameters("files", write_whole, [("path", "--out")])
    with pytest.raises(SystemExit) as stop, wrong_arguments(parser, lambda text: text.replace("`folder`", "`path`")):
        raise ValueError("`folder`: expected an empty one")
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("camtrain draw: error: --out: expected an empty one\n")
    # A fault, and a full disk, are no argument.
    for error in (TypeError("unsupported operand"), OSError(errno.ENOSPC, "No space left", "a.png")):
        with pytest.raises(type(error)), wrong_arguments(parser):
            raise error


def test_every_command_has_the_option(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["camtrain"])
    for command in ("fit", "report"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "--debug" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["report", "nowhere", "--debug"])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2].startswith("camtrain report: error: nowhere holds no study")


def test_messages_of_errors():
    assert error_message(KeyError("no 'x'")) == "no 'x'"
    assert error_message(OSError("it broke")) == "it broke"
    assert error_message(json.JSONDecodeError("Expecting value", "", 0)) == "Expecting value: line 1 column 1 (char 0)"


@pytest.mark.filterwarnings("ignore:Found .* module")
def test_a_run_that_fails_later_keeps_its_folder_and_a_traceback(quick, capsys):
    assert quick("--checkpoint.monitor", "val/acc", "--run.test", "false") == 1
    (line,) = capsys.readouterr().err.splitlines()
    said = "camtrain fit: error: `checkpoint.monitor`: nothing is logged as 'val/acc'; did you mean 'val/accuracy', "
    assert line.startswith(said)
    assert "could not find the monitored key" in Path("runs/quick/version_0/traceback.txt").read_text()
