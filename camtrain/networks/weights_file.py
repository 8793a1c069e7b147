"""A network with the weights of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from camtrain.files import local_path
from camtrain.networks.checked_weights import broken_weight, misfit
from camtrain.networks.classifier_checkpoint import network_weights
from camtrain.networks.last_linear import last_linear
from camtrain.networks.readable_checkpoint import UnreadableError, torch_content

SAFETENSORS = ".safetensors"
_SUFFIXES = (SAFETENSORS, ".pt", ".pth", ".bin", ".ckpt", ".th")
_INSIDE = ("state_dict", "model", "model_state_dict")  # where training scripts put the weights
_OF_PARALLEL = "module."  # of a network that was wrapped to train in several processes
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # heads of GoogLeNet and Inception, which are not built


def is_weights_file(weights: str) -> bool:
    """Whether weights are those of a file, by its extension, and not the name of published ones.

    Example:
        >>> is_weights_file("models/efficientnet.safetensors"), is_weights_file("ResNet18_Weights.IMAGENET1K_V1")
        (True, False)
    """
    return Path(weights).suffix in _SUFFIXES


def with_weights_of_file(
    make: Callable[[int | None], nn.Module], num_classes: int | None, weights: str | Path
) -> nn.Module:
    """A network with the weights of a file. If the file has another number of classes, the head keeps its own.

    Args:
        make: From the number of classes to the network; `None` is the network's default.
        num_classes: The number of classes; `None` is that of the file.
        weights: A file of safetensors, or one of `torch.save` that holds a state dict, alone or under `state_dict`,
            `model` or `model_state_dict`. No code in it is run.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or a weight other than those of the head is missing, superfluous, of another
            shape, NaN or infinite.
    """
    path = local_path(weights, "weights")
    found = saved_weights(path)
    network = make(num_classes)
    saved = named_as_in(network.state_dict(), found)
    head = last_linear(network)
    of_head = saved.get(f"{head}.weight")
    if num_classes is None and of_head is not None:
        network = make(of_head.shape[0])
    own = network.state_dict()
    for name in (f"{head}.weight", f"{head}.bias"):
        if name in saved and name in own and saved[name].shape[1:] == own[name].shape[1:]:
            # The sizes are compared, since a head that has the right size is wanted.
            saved[name] = saved[name] if saved[name].shape == own[name].shape else own[name]
    if difference := misfit(network, saved):
        raise ValueError(
            f"`weights`: those of {path} are of another network than {type(network).__name__}: {difference}"
        )
    if broken := broken_weight(network, saved):
        raise ValueError(f"`weights`: {path} is of a network that has diverged: {broken}")
    network.load_state_dict(saved)
    return network


def saved_weights(path: Path) -> dict[str, Tensor]:
    """The weights and buffers in a file, by their names there.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"`weights`: no such file: {path}")
    try:
        content = load_file(path) if path.suffix == SAFETENSORS else torch_content(path)
    except (SafetensorError, UnreadableError, OSError) as error:
        raise ValueError(f"`weights`: {path}: {error}") from error
    found = _state_dict(content)
    if not found:
        raise ValueError(f"`weights`: {path} holds no state dict, neither alone nor under {', '.join(_INSIDE)}")
    return found


def named_as_in(own: Mapping[str, Any], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a file by the names that a network has for them.

    The network may have been saved as a part of something: of camtrain's classifier, or of what trains it in several
    processes. A network may also have layers that are called so itself, so that this is undone only if the names do not
    fit as they are. Auxiliary heads that the network does not have are left out.

    Args:
        own: The state dict of the network.
        found: What `saved_weights` finds.

    Returns:
        The weights by the names of the network; if no names fit, by the shortest ones.

    Example:
        >>> named_as_in(nn.Linear(1, 1, bias=False).state_dict(), {"module.weight": Tensor([[2]])})
        {'weight': tensor([[2.]])}
    """
    inside = network_weights(found) or found
    forms = [
        {name: value for name, value in form.items() if name in own or not name.startswith(_AUXILIARY)}
        for form in (found, _of_one_process(found), inside, _of_one_process(inside))
    ]
    return next((form for form in forms if form.keys() == own.keys()), forms[-1])


def _of_one_process(found: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if not all(name.startswith(_OF_PARALLEL) for name in found):
        return found
    return {name.removeprefix(_OF_PARALLEL): value for name, value in found.items()}


def _state_dict(content: Any) -> dict[str, Tensor]:
    """The state dict in a file's content; empty if there is none."""
    if not isinstance(content, Mapping):
        return {}
    inside = [content[name] for name in _INSIDE if isinstance(content.get(name), Mapping)]
    for each in [*inside, content]:
        if each and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in each.items()):
            return dict(each)
    return {}
