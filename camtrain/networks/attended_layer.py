"""Which layer's features are attended where none is named."""

from __future__ import annotations

from torch import Tensor, nn

from camtrain.networks.target_layer import _is_bypassed, _Output, _outputs


def layer_before_last_stage(network: nn.Module, images: Tensor) -> str:
    """Name of the layer in front of the last change of resolution, where a classifier's last stage begins.

    Of the outputs that nothing goes around and that have more pixels than the network's last map, those as large as the
    last of them are looked at. The one nested least deep is taken, and of several the last: `layer3` of a ResNet,
    `features.13` of MobileNet-V2, `features.denseblock3` of a DenseNet, `features.5` of a Swin transformer. Where all
    maps are of one size, it is the last one that nothing goes around.

    Args:
        network: run on the first image, as it is; in evaluation mode.
        images: (N, 3, H, W), N ≥ 1. In what is found their size counts where a layer ends with one pixel.

    Raises:
        ValueError: if every map is gone around, or none has more than one pixel, or the network works on tokens, whose
            number does not change from block to block.

    Cost:
        Two passes, and one more forward and back for each output that is gone around.

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
            by_depth = sorted(as_large, key=lambda output: -output.name.count("."))  # stable: the last is the outermost
            return (_last_alone(network, image, by_depth) or last).name
        if (last := _last_alone(network, image, found)) is not None:
            return last.name
    raise ValueError(
        f"`layer`: no layer of {type(network).__name__} puts out more than one pixel of images of "
        f"{images.shape[-2]}×{images.shape[-1]} and is in front of a last stage; name the layer that is attended"
    )


def _last_alone(network: nn.Module, image: Tensor, outputs: list[_Output]) -> _Output | None:
    """The last of these that all of the image goes through."""
    return next((output for output in reversed(outputs) if not _is_bypassed(network, image, output.name)), None)
