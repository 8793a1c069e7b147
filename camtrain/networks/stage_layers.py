"""The layers at which the stages of a convolutional network end."""

from __future__ import annotations

from torch import Tensor, nn

from camtrain.networks.attended_layer import _last_alone
from camtrain.networks.map_layout import PixelLayout
from camtrain.networks.target_layer import _outputs


def stage_layers(network: nn.Module, images: Tensor) -> list[str]:
    """Names of the last layers of each resolution, from the largest maps to the smallest.

    Only outputs with rows and columns, more than one pixel, and no skip connection around them count. Among the layers
    with an output of one size the function takes the outermost one, and the last of several: `relu` (of the stem),
    `layer1`, `layer2`, `layer3` and `layer4` of a ResNet, `features.1`, `features.3`, `features.6`, `features.13` and
    `features` of MobileNet-V2.

    Args:
        network: The network, in evaluation mode. It is run on the first image.
        images: (N, C, H, W), N ≥ 1.

    Raises:
        ValueError: If there is no such layer, as in a network that works on tokens.

    Cost:
        A forward pass, a forward and backward pass for each resolution, and one more for each output with a skip
        connection around it.

    Example:
        >>> import torch
        >>> from camtrain.networks import CIFARResNet
        >>> stage_layers(CIFARResNet(depth=8).eval(), torch.zeros(1, 3, 32, 32))
        ['layer1', 'layer2', 'layer3']
    """
    image = images[:1]
    outputs = _outputs(network, image)
    found = [output for output in outputs if output.cells > 1 and isinstance(output.layout, PixelLayout)]
    names = []
    for cells in sorted({output.cells for output in found}, reverse=True):
        as_large = [output for output in found if output.cells == cells]
        # A stable sort: the last is the outermost.
        by_depth = sorted(as_large, key=lambda output: -output.name.count("."))
        if (last := _last_alone(network, image, by_depth)) is not None:
            names.append(last.name)
    if not names:
        raise ValueError(
            f"`layers`: no layer of {type(network).__name__} with no skip connection around it puts out (N, C, h, w) "
            f"with more than one pixel for images of {images.shape[-2]}×{images.shape[-1]}"
        )
    return names
