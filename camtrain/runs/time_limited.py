"""Calls of a library that may hang."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from typing import TypeVar

Result = TypeVar("Result")
_inside = threading.local()


class NoAnswerError(Exception):
    """A call did not return in time."""


def time_limited(function: Callable[[], Result], seconds: float) -> Result:
    """Call a function in a thread of its own, and stop waiting for it after some time.

    A call that hangs is left behind in its thread, which does not keep the process from ending. A call from within such
    a call is made directly.

    Args:
        function: The function.
        seconds: The longest time to wait.

    Returns:
        What the function returns.

    Raises:
        NoAnswerError: If it has not returned by then.
        RuntimeError: If it tried to end the process.

    Example:
        >>> time_limited(lambda: 2 + 2, seconds=5)
        4
    """
    if getattr(_inside, "it", False):
        return function()
    answer: Future[Result] = Future()

    def run() -> None:
        _inside.it = True
        try:
            answer.set_result(context.run(function))
        except Exception as error:
            answer.set_exception(error)
        except BaseException as error:  # a SystemExit would end this thread only, and nobody would hear of it
            answer.set_exception(RuntimeError(repr(error)))

    context = copy_context()
    threading.Thread(target=run, name=f"time-limited {function}", daemon=True).start()
    if not wait([answer], seconds).done:
        raise NoAnswerError(f"no answer within {seconds:g} s")
    return answer.result()
