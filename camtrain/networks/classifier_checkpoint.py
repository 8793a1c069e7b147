"""What a checkpoint of a classifier must hold, and what another file holds instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from camtrain.networks.checkpoint_file import checkpoint_content

PREFIX = "network."
"""How the weights of the network begin in a checkpoint of a `Classifier`, which has other ones."""

_REMEDY = "pass a checkpoint of `camtrain fit`"


def classifier_content(path: Path, remedy: str = _REMEDY) -> dict[str, Any]:
    """The content of a checkpoint that holds the weights of a classifier under `state_dict`.

    Args:
        path: The checkpoint.
        remedy: What to do if it is something else.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, is damaged, or holds something else.
    """
    content = checkpoint_content(path)
    state = content.get("state_dict")
    if not isinstance(state, Mapping) or not network_weights(state):
        raise ValueError(
            f"`checkpoint`: {path} is not a checkpoint of camtrain's Classifier: it holds {_what(content)}; {remedy}"
        )
    return content


def network_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights and buffers of the network among those of a classifier, by their names in the network.

    Example:
        >>> network_weights({"network.fc.bias": Tensor([0, 1]), "objective.records.seen": Tensor([2])})
        {'fc.bias': tensor([0., 1.])}
    """
    return {
        key.removeprefix(PREFIX): value
        for key, value in state.items()
        if isinstance(key, str) and key.startswith(PREFIX)
    }


def _what(content: Mapping[str, Any]) -> str:
    if not content:
        return "nothing"
    if all(isinstance(value, Tensor) for value in content.values()) or network_weights(content):
        return "a bare state dict"
    if "state_dict" in content:
        return "no weights under `network`"
    if {"optimizer_states", "param_groups"} & content.keys():
        return "the state of an optimizer, and no weights"
    names = [str(key) for key in content]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
