"""SIGTERM, by which a cluster takes a machine away, ends a command as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TerminatedError(KeyboardInterrupt):
    """SIGTERM came."""


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """A context in which SIGTERM raises `TerminatedError`, once; only the main thread can be told."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # what is running is being ended
        raise TerminatedError

    usual = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)
