"""Weights to begin a training with, from a checkpoint of another one."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten

from torch import Tensor, nn

from camtrain.networks.checkpoint_file import checkpoint_content, checkpoint_in

_PREFIX = "network."
_REASON = 300  # characters of torch's message, which names every weight that does not fit


def load_initial_weights(network: nn.Module, source: str | Path) -> Path:
    """Put the weights and buffers of a trained network into a network of the same architecture.

    If they fit the attribute `backbone` of the network instead, as that of `AttentionBranch` or `CAStream`, they are
    put there, and the rest of the network keeps its weights.

    Args:
        network: The network that takes the weights.
        source: A checkpoint of `camtrain fit`, or the folder of a run, whose best checkpoint is taken (see
            `checkpoint_in`).

    Returns:
        The path of the checkpoint.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it cannot be read, holds no network, or a weight is missing, superfluous or of another shape.
    """
    try:
        path = checkpoint_in(Path(source))
        content = checkpoint_content(path)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(str(error).replace("`checkpoint`", "`initial_weights`")) from error
    saved: dict[str, Tensor] = content.get("state_dict", {})
    weights = {key.removeprefix(_PREFIX): value for key, value in saved.items() if key.startswith(_PREFIX)}
    if not weights:
        raise ValueError(f"`initial_weights`: {path} is not a checkpoint of camtrain's Classifier")
    target, backbone = network, getattr(network, "backbone", None)
    if isinstance(backbone, nn.Module) and weights.keys() == backbone.state_dict().keys():
        target = backbone
    try:
        target.load_state_dict(weights)
    except RuntimeError as error:
        reason = shorten(str(error), _REASON, placeholder=" …")
        raise ValueError(f"`initial_weights`: those of {path} are of another network: {reason}") from error
    return path
