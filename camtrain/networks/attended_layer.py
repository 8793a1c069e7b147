"""The layer that an attention head is attached to if none is named."""

from __future__ import annotations

from torch import Tensor, nn

from camtrain.networks.target_layer import _is_bypassed, _Output, _outputs


def layer_before_last_stage(network: nn.Module, images: Tensor) -> str:
    """Name of the layer before the last change of resolution, where a classifier's last stage begins.

    Only outputs with no skip connection around them count. Of those with more pixels than the network's last map, the
    last one determines the size. Among the layers with an output of this size the function returns the outermost one,
    and the last of several: `layer3` of a ResNet, `features.13` of MobileNet-V2, `features.denseblock3` of a DenseNet,
    `features.5` of a Swin transformer. If all maps have the same size, it returns the last one with no skip connection
    around it.

    Args:
        network: The network, in evaluation mode. It is run on the first image.
        images: (N, C, H, W), N ≥ 1. Their size matters where it makes a layer's output a single pixel.

    Raises:
        ValueError: If every map has a skip connection around it, or none has more than one pixel, or the network works
            on tokens, whose number does not change from block to block.

    Cost:
        Two forward passes, and one more forward and backward pass for each output with a skip connection around it.

    Example:
        >>> import torch
        >>> from camtrain.networks import CIFARResNet
        >>> layer_before_last_stage(CIFARResNet(depth=8).eval(), torch.zeros(1, 3, 32, 32))
        'layer2'
    """
    image = images[:1]
    found = [output for output in _outputs(network, image) if output.cells > 1]
    larger = [output for output in found if output.cells > found[-1].cells]
    if found and not found[-1].is_tokens:
        if (last := _last_alone(network, image, larger)) is not None:
            as_large = [output for output in larger if output.cells == last.cells]
            # A stable sort: the last is the outermost.
            by_depth = sorted(as_large, key=lambda output: -output.name.count("."))
            return (_last_alone(network, image, by_depth) or last).name
        if (last := _last_alone(network, image, found)) is not None:
            return last.name
    raise ValueError(
        f"`layer`: no layer of {type(network).__name__} is before a last stage and puts out more than one pixel for "
        f"images of {images.shape[-2]}×{images.shape[-1]}; name the layer that is attended"
    )


def _last_alone(network: nn.Module, image: Tensor, outputs: list[_Output]) -> _Output | None:
    """The last of these outputs with no skip connection around it."""
    return next((output for output in reversed(outputs) if not _is_bypassed(network, image, output.name)), None)
