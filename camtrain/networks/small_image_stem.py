"""A stem for images of 32 to 64 pixels."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models import DenseNet, MobileNetV2, ResNet


def with_small_image_stem(network: nn.Module) -> nn.Module:
    """Change an untrained torchvision network so that small images keep their resolution.

    These are the usual CIFAR variants. ResNet and DenseNet start with a 3×3 convolution of stride 1 and no pooling;
    MobileNet-V2 has stride 1 instead of 2 in its first convolution and in its second stage. Images of 32×32 pixels
    reach the head at 4×4.

    Args:
        network: A torchvision ResNet (ResNeXt and Wide ResNet included), DenseNet or MobileNet-V2. It is changed in
            place.

    Returns:
        The same network.

    Raises:
        ValueError: If the network is of another kind.

    Example:
        >>> from torchvision.models import resnet18
        >>> network = with_small_image_stem(resnet18())
        >>> network.conv1, network.maxpool
        (Conv2d(3, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False), Identity())
    """
    match network:
        case ResNet():
            network.conv1 = _three_by_three_like(network.conv1)
            network.maxpool = nn.Identity()
        case DenseNet():
            features: Any = network.features
            features.conv0 = _three_by_three_like(features.conv0)
            features.pool0 = nn.Identity()
        case MobileNetV2():
            stages: Any = network.features
            stages[0][0].stride = (1, 1)
            stages[2].conv[1][0].stride = (1, 1)
        case _:
            raise ValueError(
                "`stem`: 'small' is available for torchvision's ResNet, DenseNet and MobileNetV2, "
                f"got {type(network).__name__}; use stem='imagenet', or a network of your own"
            )
    return network  # type: ignore[no-any-return]  # torchvision is untyped


def _three_by_three_like(convolution: nn.Conv2d) -> nn.Conv2d:
    small = nn.Conv2d(convolution.in_channels, convolution.out_channels, 3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(small.weight, mode="fan_out", nonlinearity="relu")
    return small
