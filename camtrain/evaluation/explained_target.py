"""A number in the place of a class, for an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass, replace
from typing import Any

from torch import Tensor, nn

from camtrain.fingerprint import fingerprint
from camtrain.gradients import as_target
from camtrain.messages import listed_names
from camtrain.networks import AdaptedNetwork
from camtrain.networks.loaded_network import LoadedNetwork


class ExplainedTarget(AdaptedNetwork):
    """A network whose single logit is the number that is explained; an evaluation explains its class 1, "yes".

    Args:
        network: The network.
        target: From its output to one number for each image.

    Attributes:
        description: The target in words, which tells it from other ones.
    """

    def __init__(self, network: nn.Module, target: Callable[[Any], Tensor]) -> None:
        super().__init__(network, scores=as_target(target))
        self.description = fingerprint(target)

    def forward(self, images: Tensor) -> Tensor:
        """From images to the number as a single logit, (N, 1).

        Raises:
            ValueError: If the target returns anything but one number for each image.
        """
        logits = super().forward(images)
        if logits.shape[1] != 1:
            raise ValueError(
                f"`target`: expected one number for each image, ({len(images)},), got {tuple(logits.shape)}"
            )
        return logits


def _has_open_class(found: Any) -> bool:
    """Whether a target, or one inside it, takes the class that the network predicts."""
    if not is_dataclass(found):
        return False
    classes = [getattr(found, name) for name in ("class_idx", "against") if hasattr(found, name)]
    return any(each is None or _has_open_class(each) for each in classes)


def explained_by(
    target: Callable[[Any], Tensor], network: LoadedNetwork | nn.Module, target_layer: str | None
) -> tuple[LoadedNetwork, str | None]:
    """A network with a target in the place of its classes, and the names of its target layers.

    Raises:
        TypeError: If the target cannot be called.
        ValueError: If it leaves a class to the prediction.
    """
    try:
        as_target(target)
    except TypeError as error:
        raise TypeError(str(error).replace("`class_idx`", "`target`")) from error
    if _has_open_class(target):
        raise ValueError(
            f"`target`: expected one with a class, since a predicted class would be another one on each changed image, "
            f"got {target}"
        )
    loaded = LoadedNetwork.of(network)
    explained = ExplainedTarget(loaded.network, target).train(loaded.network.training)
    layers = None
    if target_layer is not None:
        layers = ",".join(f"network.{name}" for name in listed_names("target_layer", target_layer))
    found = replace(loaded, network=explained, num_classes=2, class_names=("no", "yes"), several_labels=False)
    return found, layers
