"""Errors of a command as one line: what a user can act on, or that it is unexpected and where its traceback is."""

from __future__ import annotations

import errno
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from camtrain.cli.command_parser import CommandParser
from camtrain.messages import debugging, error_message, message_of_worker, one_line

_PACKAGE = Path(__file__).parents[1]
# By name, since a command that does not train should not pay for Lightning and W&B.
_TOLD = {"OSError", "MemoryError", "ImportError", "MisconfigurationException", "OutOfMemoryError", "UsageError"}
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
_TRACEBACK_IN = "The traceback is in "


@contextmanager
def errors_as_lines(command: str, in_words: Callable[[str], str] = str) -> Iterator[None]:
    """End a command that raises an error with status 1 and a line on stderr.

    With `--debug` the traceback is printed above the line. An error that is nobody's message for a user, such as an
    AttributeError, is called unexpected, and its traceback is written to a file.

    Args:
        command: The subcommand.
        in_words: From the message of a function to that of the command.

    Raises:
        SystemExit: With status 1 after an error.
    """
    try:
        yield
    except Exception as error:
        if debugging():
            traceback.print_exception(error)
        print(f"camtrain {command}: error: {one_line(in_words(line_of(error)))}", file=sys.stderr)
        raise SystemExit(1) from error


@contextmanager
def wrong_arguments(parser: CommandParser, renamed: Callable[[str], str] = str) -> Iterator[None]:
    """End a command with status 2 if a function says that an argument is wrong, in words of the command line.

    Other errors pass, to `errors_as_lines`: those of the disk, and those that were not written for a user.

    Args:
        parser: The parser of the command.
        renamed: Changes the message before the parser puts its options in the place of parameters.

    Raises:
        SystemExit: With status 2 if an argument is wrong.
    """
    try:
        yield
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        if not _is_told(error, _place(error)) or getattr(error, "errno", None) in _OF_THE_DISK:
            raise
        parser.error(renamed(line_of(error)), error)


def line_of(error: Exception) -> str:
    """What to say of an error that ends a command.

    Example:
        >>> line_of(FileNotFoundError(2, "No such file or directory", "absent.png"))
        'absent.png: No such file or directory'
    """
    kind, message, place = _kind(error), message_of_worker(error_message(error)), _place(error)
    if "OutOfMemoryError" in _names(error) or isinstance(error, MemoryError):
        return f"out of memory: {message or kind}; try a smaller `data.batch_size` or `max_batch`"
    if _is_told(error, place):
        return message or kind
    where = "" if place is None else f" in {place.file}, line {place.line}"
    return f"unexpected {kind}{where}: {message}; {_where_the_rest_is(error)}"


@dataclass(frozen=True)
class _Place:
    """The line of code that an error comes from."""

    file: Path
    line: int
    source: str


def _is_told(error: Exception, place: _Place | None) -> bool:
    """Whether the message of an error was written for a user.

    Camtrain's own are those of its `raise` statements; what else its code raises is a fault of it. Of other libraries
    it is a ValueError, and whatever Lightning raises.
    """
    if _names(error) & _TOLD:
        return True
    if place is None:
        return isinstance(error, ValueError)
    is_raised = place.source.startswith("raise")
    if _PACKAGE in place.file.parents or "pytorch_lightning" in place.file.parts:
        return is_raised
    return isinstance(error, ValueError)


def _names(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _kind(error: Exception) -> str:
    """The name of the error, or of that which a process of a data loader passed on."""
    found = re.match(r"Caught (\w+) in ", str(error))
    return found[1] if found else type(error).__name__


def _place(error: Exception) -> _Place | None:
    """Where an error comes from, perhaps in another process."""
    passed_on = re.findall(r'^\s*File "(.+?)", line (\d+), in .*\n\s*(.*)', str(error), flags=re.MULTILINE)
    if passed_on:
        file, line, source = passed_on[-1]
        return _Place(Path(file), int(line), source.strip())
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return None
    last = frames[-1]
    return _Place(Path(last.filename), last.lineno or 0, (last.line or "").strip())


def _where_the_rest_is(error: Exception) -> str:
    """A clause on where to find the traceback; it is in a run's folder, or is written now."""
    noted = [note for note in getattr(error, "__notes__", ()) if note.startswith(_TRACEBACK_IN)]
    if noted:
        return f"the traceback is in {noted[-1].removeprefix(_TRACEBACK_IN)}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="camtrain_", suffix=".traceback.txt", delete=False, encoding="utf-8"
        ) as file:
            file.write("".join(traceback.format_exception(error)))
        return f"the traceback is in {file.name}"
    except OSError:
        return "the same command with --debug shows the traceback"
