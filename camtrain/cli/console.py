"""What a command says on stderr beside its progress bar."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from camtrain.messages import CamtrainWarning


def say(command: str, message: str) -> None:
    """Print a line on stderr, above a progress bar if there is one."""
    tqdm.write(f"camtrain {command}: {message}", file=sys.stderr)


@contextmanager
def warnings_as_lines(command: str, in_words: Callable[[str], str]) -> Iterator[None]:
    """Print camtrain's own warnings as lines of the command, each once.

    Args:
        command: The subcommand.
        in_words: From the message of a function to that of the command.
    """
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
        if not issubclass(category, CamtrainWarning):
            with tqdm.external_write_mode(file=sys.stderr):  # a bar is taken away meanwhile
                usual(message, category, *place, **more)  # type: ignore[arg-type]
        elif str(message) not in said:
            said.add(str(message))
            say(command, f"warning: {in_words(str(message))}")

    with warnings.catch_warnings():
        usual = warnings.showwarning
        warnings.simplefilter("always", CamtrainWarning)
        warnings.showwarning = show
        yield
