"""Networks without statistics of the batch."""

from __future__ import annotations

from torch import nn

_CHANNELS_OF_A_GROUP = 8


def with_group_norm(network: nn.Module) -> nn.Module:
    """Put GroupNorm in the place of every BatchNorm, in groups of 8 channels.

    Args:
        network: The network, which is changed.

    Returns:
        The same network.
    """
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.BatchNorm2d):
                channels = layer.num_features
                setattr(parent, name, nn.GroupNorm(max(1, channels // _CHANNELS_OF_A_GROUP), channels))
    return network
