"""Entry point of the console script."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType

_COMMANDS = {
    "fit": "train a classifier, and test it",
    "validate": "score a checkpoint on the validation images",
    "test": "score a checkpoint on the test images",
    "predict": "write the class probabilities of images",
    "explain": "show what a network looks at in photographs, as PNG",
    "evaluate": "score what it looks at, method by method, as tables",
    "ablate": "train a grid of settings with several seeds, and score each",
    "export": "write a network as a folder that other libraries read, or send it to a hub",
    "report": "say which of them is best, and what it costs, on one page",
}

_INTERRUPTED = 128 + signal.SIGINT
_PYTHONS = signal.default_int_handler

_DEBUG = "--debug"  # taken out of the words here; the parsers of the commands only explain it

# Those that are not Lightning's; each is `<name>_command` in the module of its name.
_OWN = ("explain", "evaluate", "ablate", "export", "report")


def main(words: list[str] | None = None) -> None:
    """Run `camtrain <subcommand> ...`.

    Args:
        words: The words after `camtrain`; `None` takes them from the command line.

    Raises:
        SystemExit: With the status of the subcommand, if that is not 0: 2 if an argument is wrong, 1 if the command
            failed, 130 after Ctrl-C, 143 after SIGTERM.
    """
    typed = sys.argv[1:] if words is None else words
    asked = [word for word in typed if word != _DEBUG]
    try:
        with _interrupted_imports(is_program=words is None):
            # Lightning warns if it is given words, so it finds those of the command line itself.
            run = _command(None if words is None and asked == typed else asked)
            from camtrain.cli.errors_as_lines import errors_as_lines
            from camtrain.messages import show_tracebacks
        with show_tracebacks(asked != typed), errors_as_lines(_subcommand(asked)):
            status = run() if run is not None else 0
        if words is None and threading.current_thread() is threading.main_thread():
            # All is done. Without its handlers, which Python takes down now, a late Ctrl-C would look like a failure.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if status:
            raise SystemExit(status)
    except KeyboardInterrupt:
        _say_interrupted()
        raise SystemExit(_INTERRUPTED) from None


def _command(words: list[str] | None) -> Callable[[], int | None] | None:
    """What the words ask for, with everything imported that it needs; `None` if it is done."""
    args = words
    words = sys.argv[1:] if words is None else words
    if words == ["--version"]:
        from importlib.metadata import version

        print(f"camtrain {version('camtrain')}")
        return None
    if words in (["--help"], ["-h"]):
        print(_help())
        return None
    if not words:
        print(_help(), file=sys.stderr)
        raise SystemExit(2)
    # A console script does not see the folder that it is called from; a class_path may name a module there.
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    # Lightning 2.6 calls what torch 2.14 deprecates; nothing that a user could act on.
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    if words[0] in _OWN:
        # Each takes a second or more to import.
        command = getattr(import_module(f"camtrain.cli.{words[0]}"), f"{words[0]}_command")
        return partial(command, words[1:])
    if not words[0].startswith("-") and words[0] not in _COMMANDS:
        from camtrain.messages import nearest_names

        print(f"camtrain: no subcommand is called {words[0]!r}; {nearest_names(words[0], _COMMANDS)}", file=sys.stderr)
        raise SystemExit(2)
    from camtrain.cli.train import train  # Lightning and W&B take seconds

    return partial(train, _subcommand(words), args)


def _subcommand(words: list[str]) -> str:
    """The name of the command; that of a training may follow its options."""
    return next((word for word in words if word in _COMMANDS), "fit")


@contextmanager
def _interrupted_imports(is_program: bool) -> Iterator[None]:
    """While packages are imported, Ctrl-C ends the process at once: nothing is written yet.

    An exception in the middle of an import would be printed with its traceback, or taken by the package for another
    error.

    Args:
        is_program: False changes nothing, for a process that does something else, too.
    """
    if not is_program or threading.current_thread() is not threading.main_thread():  # only the main one may choose
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        _say_interrupted()
        os._exit(_INTERRUPTED)

    before = signal.signal(signal.SIGINT, end) if signal.getsignal(signal.SIGINT) is _PYTHONS else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _say_interrupted() -> None:
    # The first of several processes says it for all.
    if os.environ.get("LOCAL_RANK", "0") == "0":
        command = " ".join(["camtrain", *(word for word in sys.argv[1:2] if word in _COMMANDS)])
        print(f"{command}: stopped by Ctrl-C", file=sys.stderr, flush=True)


def _help() -> str:
    commands = "\n".join(f"  {name:10}{summary}" for name, summary in _COMMANDS.items())
    return (
        "usage: camtrain [-h] [--version] SUBCOMMAND ...\n\n"
        f"Train image classifiers that look at the right thing, and show that they do.\n\n{commands}\n\n"
        "camtrain SUBCOMMAND --help explains each; with --debug each shows the traceback of an error."
    )
