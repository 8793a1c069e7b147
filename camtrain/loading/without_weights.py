"""The description of a network without the weights that its training began with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camtrain.networks.weights_file import is_weights_file

_OF_NETWORKS = "camtrain.networks."
# How a configuration can name `build_network`.
BUILDERS = ("camtrain.networks.build_network", "camtrain.networks.build_network.build_network")


def without_weights(described: Any, num_classes: int) -> Any:
    """A description of a network, and of those inside it, in which no network begins with weights of its own.

    Those of a checkpoint come in their place: published ones need not be downloaded, nor a file be there.

    A vision transformer inside another network keeps the name of published weights: its embedding is as large as the
    images that these are of.

    Args:
        described: A name, or `class_path` and `init_args`, as a configuration has it.
        num_classes: K, the number of classes of the whole network, which a network inside another has too.

    Example:
        >>> inner = {"name": "resnet18", "weights": "/home/ann/resnet.pth"}
        >>> without_weights({"class_path": "camtrain.networks.build_network", "init_args": inner}, 5)["init_args"]
        {'name': 'resnet18', 'weights': None, 'num_classes': 5}
    """
    return _without(described, num_classes, is_inside=False)


def _without(described: Any, num_classes: int, *, is_inside: bool) -> Any:
    own = described.get("init_args") if isinstance(described, Mapping) else None
    if not isinstance(own, Mapping):
        return described
    count = own.get("num_classes") or num_classes
    arguments = {name: _without(value, count, is_inside=True) for name, value in own.items()}
    weights, name = own.get("weights"), own.get("backbone", own.get("name"))
    gives_size = str(name).startswith("vit_") and not is_weights_file(str(weights))
    is_own = str(described.get("class_path")).startswith(_OF_NETWORKS)
    if is_own and weights and not (gives_size and (is_inside or "backbone" in own)):
        arguments["weights"] = None
        if described["class_path"] in BUILDERS:
            arguments["num_classes"] = count  # which may have been left to the weights
    return {**described, "init_args": arguments}
