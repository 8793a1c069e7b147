"""ResNets for small images."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from camtrain.messages import checked_integer, positive_integer


class CIFARResNet(nn.Module):
    """ResNet of 6n + 2 layers in three stages, for images of 32 to 64 pixels.

    A 3×3 stem, three stages of n basic blocks with `width`, 2·`width` and 4·`width` channels, the second and third of
    stride 2, global average pooling and one linear layer. Departure from the paper: the shortcuts that change the
    number of channels are 1×1 convolutions (option B) instead of zero padding (option A).

    Args:
        depth: The number of weighted layers, 6n + 2: 8, 14, 20, 32, 44, 56.
        num_classes: K, the number of logits.
        width: The number of channels of the first stage.
        stem_stride: The stride of the first convolution; 2 makes the network four times cheaper, for images of 64
            pixels.
        in_channels: The number of channels of the images.

    Raises:
        ValueError: If `depth` is not 6n + 2 with n ≥ 1, or another argument is not positive.

    Source:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.

    Example:
        >>> import torch
        >>> CIFARResNet(depth=8, num_classes=10)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """

    added_settings: ClassVar[dict[str, Any]] = {"in_channels": 3}
    """What is no part of the configuration of a study where it is the default, which it was before there was this."""

    def __init__(
        self, depth: int = 20, num_classes: int = 10, width: int = 16, stem_stride: int = 1, in_channels: int = 3
    ) -> None:
        super().__init__()
        expected = "6n + 2 (8, 14, 20, ...)"
        if checked_integer("depth", depth, at_least=8, expected=expected) % 6 != 2:
            raise ValueError(f"`depth`: expected {expected}, got {depth}")
        sizes = {"num_classes": num_classes, "width": width, "stem_stride": stem_stride, "in_channels": in_channels}
        for name, value in sizes.items():
            positive_integer(name, value)
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, width, 3, stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(width, width, blocks, stride=1)
        self.layer2 = _stage(width, 2 * width, blocks, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """From (N, in_channels, H, W) to (N, num_classes) logits."""
        features = self.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: Tensor = self.fc(self.avgpool(features).flatten(1))
        return logits


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = BasicBlock(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs) for _ in range(blocks - 1)))
