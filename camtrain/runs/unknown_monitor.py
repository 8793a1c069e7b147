"""A quantity that a callback watches, and nobody logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Trainer

from camtrain.messages import nearest_names

# How Lightning's ModelCheckpoint, EarlyStopping and schedules say it, each with all names there are.
_SAID = (
    (r"`ModelCheckpoint\(monitor='(.+?)'\)` could not find the monitored key", "checkpoint.monitor"),
    (r"Early stopping conditioned on metric `(.+?)` which is not available", "EarlyStopping: monitor"),
    (r"ReduceLROnPlateau conditioned on metric (\S+) which is not available", "lr_scheduler.monitor"),
)


@contextmanager
def unknown_monitor(trainer: Trainer) -> Iterator[None]:
    """Say in one line that nothing is logged as what a callback watches, with the nearest names.

    Args:
        trainer: The trainer that runs inside.
    """
    try:
        yield
    except (MisconfigurationException, RuntimeError) as error:
        said = monitor_message(str(error), trainer.callback_metrics)
        if said is None:
            raise
        raise MisconfigurationException(said) from error


def monitor_message(message: str, logged: Iterable[str]) -> str | None:
    """What to say instead of a message of Lightning; `None` if it is about something else.

    Args:
        message: Lightning's message.
        logged: The names of what is logged.

    Example:
        >>> text = "`ModelCheckpoint(monitor='val/acc')` could not find the monitored key in the returned metrics"
        >>> monitor_message(text, ["val/accuracy", "epoch"])
        "`checkpoint.monitor`: nothing is logged as 'val/acc'; did you mean 'val/accuracy'?"
    """
    for pattern, setting in _SAID:
        if found := re.search(pattern, message):
            return f"`{setting}`: nothing is logged as {found[1]!r}; {nearest_names(found[1], logged, count=3)}"
    return None
