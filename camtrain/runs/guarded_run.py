"""A W&B run that cannot end a training: its calls neither raise nor hang."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import wandb

from camtrain.messages import CamtrainWarning
from camtrain.runs.time_limited import NoAnswerError, time_limited

CALL_LIMIT = 60.0
"""Seconds that W&B may take for a call; it writes pictures and tables in it."""
UPLOAD_LIMIT = 60.0
"""Seconds that the upload of what is left may take at the end of a run."""
_TEARDOWN_LIMIT = 5.0


class Guard:
    """Makes calls of W&B, and warns of those that fail, once for each kind of error.

    After a call that did not return in time, no further call is made, since each would have to be waited for.

    Args:
        consequence: The second half of the warning: what is lost, and what can be done.
        limit: The longest time to wait for a call, in seconds.

    Attributes:
        failed: True once a call has failed.

    Example:
        >>> Guard("all is in metrics.csv").call(max, 2, 3)
        3
    """

    def __init__(self, consequence: str, limit: float = CALL_LIMIT) -> None:
        self.failed = False
        self._consequence, self._limit = consequence, limit
        self._lost = False
        self._said: set[str] = set()

    def call(self, function: Callable[..., Any], *args: Any, limit: float | None = None, **keywords: Any) -> Any:
        """The result of a call; `None` if it failed.

        Args:
            function: What is called.
            args: Its positional arguments.
            limit: The longest time to wait, in seconds; `None` is the guard's.
            keywords: Its keyword arguments.
        """
        if self._lost:
            return None
        try:
            return time_limited(partial(function, *args, **keywords), self._limit if limit is None else limit)
        except Exception as error:  # W&B raises almost anything
            self.failed = True
            self._lost = isinstance(error, NoAnswerError)
            self._warn(error)
            return None

    def _warn(self, error: Exception) -> None:
        kind = type(error).__name__
        if kind not in self._said:
            self._said.add(kind)
            warnings.warn(f"W&B: {reason(error)}; {self._consequence}", CamtrainWarning, stacklevel=4)


class Guarded:
    """An object of W&B with all its attributes, whose methods are called by a guard.

    Args:
        target: The object: a run, its `config` or its `summary`.
        guard: The guard.
    """

    def __init__(self, target: Any, guard: Guard) -> None:
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_guard", guard)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name in ("config", "summary"):
            return Guarded(value, self._guard)
        return partial(self._guard.call, value) if callable(value) else value

    def __setattr__(self, name: str, value: Any) -> None:
        self._guard.call(setattr, self._target, name, value)

    def __getitem__(self, key: str) -> Any:
        return self._target[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._guard.call(self._target.__setitem__, key, value)

    def __contains__(self, key: str) -> bool:
        return key in self._target

    def __iter__(self) -> Iterator[Any]:
        return iter(self._target)


class GuardedRun(Guarded):
    """A W&B run whose calls are made by a guard.

    Args:
        run: The run.
        guard: The guard.
    """

    def __init__(self, run: Any, guard: Guard) -> None:
        super().__init__(run, guard)
        # `wandb.log` and the hooks of `watch` come here without passing this object.
        if hasattr(run, "_log"):
            run._log = partial(guard.call, run._log)

    def finish(self, exit_code: int | None = None) -> None:
        """Finish the run, as W&B's run does; what fails is warned about, and given up after some time."""
        # W&B's own time limit comes first, and keeps its files in order.
        self._guard.call(self._target.finish, exit_code, limit=UPLOAD_LIMIT + 15)
        if self._guard.failed:
            end_service()
            if wandb.run is self._target:  # it would be taken for a run that a next one can go on with
                wandb.run = None


class NoRun:
    """In the place of a W&B run where there can be none: all its methods do nothing.

    Attributes:
        disabled: True.
        offline: False.
        id: `None`.
        name: `None`.

    Example:
        >>> NoRun().summary.update({"val/accuracy": 0.9})
    """

    disabled = True
    offline = False
    id = None
    name = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self if name in ("config", "summary") else _nothing

    def __setitem__(self, key: str, value: Any) -> None:
        return


def _nothing(*_: Any, **__: Any) -> None:
    return


def end_service() -> None:
    """End W&B's own process, so that nobody waits for it at the end of this one, and a next run has a new one."""
    # Whatever it says of its end was said before.
    with suppress(Exception):
        time_limited(wandb.teardown, _TEARDOWN_LIMIT)


def reason(error: Exception) -> str:
    """What went wrong, in one line: the first sentence of the error, with its kind where that is not an OSError."""
    text = " ".join(str(error).partition("\n")[0].split()).rstrip(".")
    if isinstance(error, NoAnswerError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
