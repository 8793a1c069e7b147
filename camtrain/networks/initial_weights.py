"""Weights to begin a training with, from a checkpoint of another one."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten

from torch import Tensor, nn

from camtrain.files import local_path
from camtrain.networks.checked_weights import broken_weight
from camtrain.networks.checkpoint_file import checkpoint_in
from camtrain.networks.classifier_checkpoint import classifier_content, network_weights
from camtrain.networks.weights_file import is_weights_file, named_as_in, saved_weights

_REASON = 300  # characters of torch's message, which names every weight that does not fit


def load_initial_weights(network: nn.Module, source: str | Path) -> Path:
    """Put the weights and buffers of a trained network into a network of the same architecture.

    If they fit the attribute `backbone` of the network instead, as that of `AttentionBranch` or `CAStream`, they are
    put there, and the rest of the network keeps its weights.

    Args:
        network: The network that takes the weights.
        source: A checkpoint of `camtrain fit`, the folder of a run, whose best checkpoint is taken (see
            `checkpoint_in`), or a file of weights, `.safetensors`, `.pth` or `.pt`.

    Returns:
        The path of the checkpoint or of the file.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it cannot be read, holds no network, or a weight is missing, superfluous, of another shape, NaN
            or infinite.
    """
    try:
        path, found = _found(local_path(source, "initial_weights"))
    except (FileNotFoundError, ValueError) as error:
        message = str(error).replace("`checkpoint`", "`initial_weights`").replace("`weights`", "`initial_weights`")
        raise type(error)(message) from error
    backbone = getattr(network, "backbone", None)
    modules = [network, backbone] if isinstance(backbone, nn.Module) else [network]
    named = [(module, named_as_in(module.state_dict(), found)) for module in modules]
    fitting = (each for each in named if each[0].state_dict().keys() == each[1].keys())
    target, weights = next(fitting, named[0])
    try:
        target.load_state_dict(weights)
    except (RuntimeError, AttributeError, TypeError) as error:
        reason = shorten(str(error), _REASON, placeholder=" …")
        raise ValueError(f"`initial_weights`: those of {path} are of another network: {reason}") from error
    if broken := broken_weight(target, weights):
        raise ValueError(f"`initial_weights`: {path} is of a network that has diverged: {broken}; pass an earlier one")
    return path


def _found(source: Path) -> tuple[Path, dict[str, Tensor]]:
    """The file of weights, and what it holds."""
    if is_weights_file(source.name) and source.suffix != ".ckpt":
        return source, saved_weights(source)
    path = checkpoint_in(source)
    return path, network_weights(classifier_content(path)["state_dict"])
