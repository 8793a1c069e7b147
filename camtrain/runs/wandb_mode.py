"""How W&B takes part: what the settings ask for, and what the environment says."""

from __future__ import annotations

import os
import warnings
from typing import Literal

from camtrain.messages import CamtrainWarning

Mode = Literal["online", "offline", "shared", "disabled"]

_VARIABLE = "WANDB_MODE"
_MODES: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "shared": "shared",
    "disabled": "disabled",
}


def wandb_mode(asked: str) -> Mode:
    """W&B's mode: that of the environment variable `WANDB_MODE` if it is set, else the one that the settings ask for.

    Settings that say `disabled` hold whatever the variable says.

    Args:
        asked: The mode of the settings: offline, online or disabled.

    Warns:
        CamtrainWarning: If the variable has a value that W&B does not know. The settings hold then.

    Example:
        >>> wandb_mode("disabled")
        'disabled'
    """
    given = os.environ.get(_VARIABLE, "")
    mode = _MODES[asked]
    if mode == "disabled" or not given:
        return mode
    if given in _MODES:
        return _MODES[given]
    message = f"{_VARIABLE}: expected {', '.join(_MODES)}, got {given!r}; W&B's mode is {mode}, as the settings ask"
    warnings.warn(message, CamtrainWarning, stacklevel=2)
    # W&B refuses every call while the variable is wrong.
    os.environ[_VARIABLE] = mode
    return mode
