"""The network that a module trains, and whether it has a layer with a map."""

from __future__ import annotations

from pytorch_lightning import LightningModule
from torch import Tensor, nn

from camtrain.gradients import evaluation_mode, left_as_found
from camtrain.networks import last_spatial_layer


def network_of(pl_module: LightningModule) -> nn.Module:
    """The attribute `network` of a module, from images to logits.

    Raises:
        TypeError: If the module has no such attribute.
    """
    network = getattr(pl_module, "network", None)
    if not isinstance(network, nn.Module):
        raise TypeError(f"`pl_module`: expected an attribute `network`, got {type(pl_module).__name__} without one")
    return network


def why_no_layer(network: nn.Module, images: Tensor, target_layer: str | None) -> str:
    """Why the network has no layer with a map, as in a network of linear layers.

    Empty if there is such a layer, or if `target_layer` names one.
    """
    if target_layer is not None:
        return ""
    try:
        with evaluation_mode(network), left_as_found(network, images.device):
            last_spatial_layer(network, images)
    except ValueError as error:
        return str(error)
    return ""
