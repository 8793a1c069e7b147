"""The description of a network without the weights that its training began with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OF_NETWORKS = "camtrain.networks."
# How a configuration can name `build_network`.
BUILDERS = ("camtrain.networks.build_network", "camtrain.networks.build_network.build_network")


def without_weights(described: Any, num_classes: int) -> Any:
    """A description of a network, and of those inside it, in which no network begins with weights of its own.

    Those of a checkpoint come in their place: published ones need not be downloaded, nor a file be there.

    A network inside another keeps them where they say how large it is: if it is one by name without a number of
    classes, or a vision transformer, whose embedding is as large as the images that its weights are of.

    Args:
        described: A name, or `class_path` and `init_args`, as a configuration has it.
        num_classes: K, the number of classes of the whole network.

    Example:
        >>> inner = {"name": "resnet18", "weights": "/home/ann/resnet.pth"}
        >>> without_weights({"class_path": "camtrain.networks.build_network", "init_args": inner}, 5)["init_args"]
        {'name': 'resnet18', 'weights': None, 'num_classes': 5}
    """
    if not isinstance(described, Mapping):
        return described
    changed = _inside(described)
    own = changed.get("init_args")
    if described.get("class_path") in BUILDERS and isinstance(own, Mapping) and own.get("weights"):
        count = own.get("num_classes") or num_classes
        changed["init_args"] = {**own, "weights": None, "num_classes": count}
    return changed


def _inside(described: Mapping[str, Any]) -> dict[str, Any]:
    """The same with what its arguments describe, and without its own weights where its arguments say its size."""
    changed = dict(described)
    own = described.get("init_args")
    if not isinstance(own, Mapping):
        return changed
    arguments = {name: _inside(value) if isinstance(value, Mapping) else value for name, value in own.items()}
    name = arguments.get("backbone", arguments.get("name"))
    is_own = str(described.get("class_path")).startswith(_OF_NETWORKS)
    says_its_size = bool(arguments.get("num_classes")) and not str(name).startswith("vit_")
    if is_own and says_its_size and arguments.get("weights"):
        arguments["weights"] = None
    return changed | {"init_args": arguments}
