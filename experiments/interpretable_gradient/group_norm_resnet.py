"""A network without statistics of the batch."""

from __future__ import annotations

from torch import nn

from camtrain.networks import CIFARResNet

_CHANNELS_OF_A_GROUP = 8


class GroupNormResNet(CIFARResNet):
    """camtrain's ResNet for small images with GroupNorm in the place of BatchNorm, in groups of 8 channels.

    Args:
        depth: The number of layers.
        width: The number of channels of the first stage.
        num_classes: The number of outputs.
        stem_stride: The stride of the first convolution.
    """

    def __init__(self, depth: int, width: int, num_classes: int, stem_stride: int) -> None:
        super().__init__(depth=depth, width=width, num_classes=num_classes, stem_stride=stem_stride)
        for parent in list(self.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, nn.BatchNorm2d):
                    channels = layer.num_features
                    setattr(parent, name, nn.GroupNorm(max(1, channels // _CHANNELS_OF_A_GROUP), channels))
