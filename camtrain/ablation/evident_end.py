"""What ended a training, as its last checkpoint tells, where nothing recorded it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camtrain.networks.checkpoint_file import checkpoint_content

_DEFAULT_EPOCHS = 1000  # of Lightning's trainer, where nothing else limits a training


def evident_end(run: Path, trainer: Mapping[str, Any]) -> str | None:
    """What ended the training of a run; `None` if nothing is known to have, so that it may have been stopped.

    Args:
        run: The folder of the run.
        trainer: The section `trainer` of its configuration.

    Returns:
        `max_epochs` or `max_steps` if all are done, and `early_stop` if Lightning's `EarlyStopping` ended it.

    Raises:
        ValueError: If the last checkpoint cannot be read.
    """
    saved = checkpoint_content(run / "checkpoints" / "last.ckpt")
    steps, epochs = trainer.get("max_steps"), trainer.get("max_epochs")
    steps = -1 if steps is None else int(steps)
    if epochs is None:
        epochs = _DEFAULT_EPOCHS if steps == -1 and trainer.get("max_time") is None else -1
    # The checkpoint of an epoch is written at its end, and has the number of epochs before it.
    if 0 <= epochs <= int(saved.get("epoch", -1)) + 1:
        return "max_epochs"
    if 0 <= steps <= int(saved.get("global_step", -1)):
        return "max_steps"
    states = [state for state in saved.get("callbacks", {}).values() if isinstance(state, Mapping)]
    if any("patience" in state and (state.get("stopped_epoch") or state.get("stopping_reason")) for state in states):
        return "early_stop"
    return None
