"""Whether tracebacks are shown beside the one line that says what went wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

DEBUG_HELP = "Show the traceback of an error above the line that says what it is."
"""The help of the option `--debug`, which every command has."""

_ASKED: ContextVar[bool] = ContextVar("debugging", default=False)


def debugging() -> bool:
    """Whether `--debug` was given, or the environment variable JSONARGPARSE_DEBUG is set.

    Example:
        >>> with show_tracebacks():
        ...     debugging()
        True
    """
    return _ASKED.get() or os.environ.get("JSONARGPARSE_DEBUG", "").lower() not in ("", "0", "false", "no")


@contextmanager
def show_tracebacks(asked: bool = True) -> Iterator[None]:
    """Show tracebacks meanwhile.

    Args:
        asked: False leaves it to the environment.
    """
    token = _ASKED.set(asked)
    try:
        yield
    finally:
        _ASKED.reset(token)
