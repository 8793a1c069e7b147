"""How a run ends that a signal has stopped."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException


class TrainingStoppedError(Exception):
    """A run was told to stop before its end.

    Args:
        message: What is said.
        status: The exit status that says the same to whoever started the process: 143 after SIGTERM, 130 after SIGINT.
    """

    def __init__(self, message: str, status: int = 128 + signal.SIGTERM) -> None:
        super().__init__(message)
        self.status = int(status)

    @classmethod
    def by(cls, number: signal.Signals, what: str) -> TrainingStoppedError:
        """The error of a signal.

        Args:
            number: The signal.
            what: What it stopped.
        """
        how = "Ctrl-C" if number == signal.SIGINT else number.name
        return cls(f"{how} stopped {what} before its end", 128 + number)


@contextmanager
def stops_as_errors(what: str) -> Iterator[None]:
    """Raise `TrainingStoppedError` where Lightning would end the process with status 0 or 1.

    Args:
        what: What runs inside.
    """
    try:
        yield
    except SIGTERMException as error:  # a SystemExit with status 0
        raise TrainingStoppedError.by(signal.SIGTERM, what) from error
    except KeyboardInterrupt as error:
        raise TrainingStoppedError.by(signal.SIGINT, what) from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning has caught it, and shut down
            raise TrainingStoppedError.by(signal.SIGINT, what) from error
        raise


def stop_without_broadcast(trainer: Trainer) -> None:
    """Let SIGTERM set a flag, which the loops of all processes read, and nothing else.

    Lightning's handler sends a broadcast from wherever the signal finds the process. If another process waits in
    another collective operation then, both wait forever. The loops broadcast the flag themselves, before each step.

    Args:
        trainer: A trainer that has not run yet.
    """
    connector: Any = trainer._signal_connector

    def note(number: int, frame: object) -> None:
        launcher: Any = trainer.strategy.launcher
        if launcher is not None and not connector.received_sigterm:
            launcher.kill(number)  # sends the signal on to the processes that it has started
        connector.received_sigterm = True

    connector._sigterm_notifier_fn = note
