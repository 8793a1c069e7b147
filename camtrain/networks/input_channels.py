"""How many channels the images of a network have."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from camtrain.networks.attention_head import AttentionHead

_USUAL = 3


def input_channels(network: nn.Module) -> int:
    """The number of channels of the images that a network takes, as its convolutions say.

    It is 3 if any convolution takes 3 channels, or none is known, and otherwise that of the first convolution. A
    network may take images in another way, so that this is where to begin and no reason to refuse anything.

    Example:
        >>> input_channels(nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 16, 3))), input_channels(nn.Linear(5, 2))
        (4, 3)
    """
    taken = _taken(network)
    return _USUAL if not taken or _USUAL in taken else taken[0]


def _taken(network: nn.Module) -> list[int]:
    """The number of channels that each convolution takes; those of lazy ones are not known."""
    heads = [module for module in network.modules() if isinstance(module, AttentionHead)]
    of_heads = {id(module) for head in heads for module in head.modules()}  # they take features and scores of classes
    taken = [
        module.in_channels
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and id(module) not in of_heads
    ]
    return [channels for channels in taken if channels > 0]


def channels_remark(network: nn.Module, images: Tensor) -> str:
    """Why a network may have failed on images (N, C, H, W): a clause, empty if they have the channels that it takes.

    It is empty, too, of a network without convolutions.

    Example:
        >>> channels_remark(nn.Conv2d(3, 8, 3), torch.zeros(1, 4, 8, 8))
        'it seems to take images of 3 channels, and these have 4; networks of camtrain, torchvision and timm are made
        for others by the setting `in_channels` of camtrain.networks.build_network'
    """
    taken, given = input_channels(network), images.shape[-3] if images.dim() == 4 else 0
    if taken == given or given == 0 or not _taken(network):
        return ""
    return (
        f"it seems to take images of {taken} channels, and these have {given}; networks of camtrain, torchvision and "
        "timm are made for others by the setting `in_channels` of camtrain.networks.build_network"
    )


def with_input_channels(network: nn.Module, channels: int, *, pretrained: bool = False) -> nn.Module:
    """Change the first convolution of a network for images of 3 channels so that it takes others.

    New weights are drawn from a normal distribution with the standard deviation of the former ones. Pretrained ones are
    kept as timm does: of one channel they are the sum over the colors; of several, those of red, green and blue are
    repeated and multiplied by 3/C.

    Args:
        network: The network. It is changed in place.
        channels: C.
        pretrained: Whether the weights are kept.

    Returns:
        The same network.

    Raises:
        ValueError: If no convolution takes 3 channels.

    Example:
        >>> with_input_channels(nn.Sequential(nn.Conv2d(3, 8, 3)), 13)
        Sequential(
          (0): Conv2d(13, 8, kernel_size=(3, 3), stride=(1, 1))
        )
    """
    if channels == _USUAL:
        return network
    found = (name for name, each in network.named_modules() if isinstance(each, nn.Conv2d) and each.in_channels == 3)
    name = next(found, None)
    if name is None:
        raise ValueError(
            f"`in_channels`: expected 3 for {type(network).__name__}, which has no convolution of 3 channels, got "
            f"{channels}"
        )
    former = network.get_submodule(name)
    assert isinstance(former, nn.Conv2d)
    changed = copy.deepcopy(former)
    changed.in_channels = channels
    changed.weight = nn.Parameter(_weights(former.weight.detach(), channels, pretrained))
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, changed)
    return network


def _weights(former: Tensor, channels: int, pretrained: bool) -> Tensor:
    if not pretrained:
        return torch.randn(len(former), channels, *former.shape[2:]) * former.std()
    if channels == 1:
        return former.sum(dim=1, keepdim=True)
    repeated = former.repeat(1, -(-channels // _USUAL), 1, 1)[:, :channels]
    return repeated * (_USUAL / channels)
