"""Which layer a class activation map is taken at."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

from camtrain.networks.nearest_names import nearest_names


def target_layer_of(network: nn.Module, name: str) -> nn.Module:
    """The module of that dotted name, as `network.named_modules()` has it.

    Raises:
        ValueError: if there is none, with the nearest names.

    Example:
        >>> from torchvision.models import resnet18
        >>> target_layer_of(resnet18(), "layer4.1").__class__.__name__
        'BasicBlock'
    """
    modules: dict[str, nn.Module] = dict(network.named_modules())
    if not name or name not in modules:
        raise ValueError(f"`target_layer`: no module is called {name!r}; {nearest_names(name, filter(None, modules))}")
    return modules[name]


def last_spatial_layer(network: nn.Module, images: Tensor) -> str:
    """Name of the module whose output is the last with more than one pixel, pooling layers aside.

    Where a block ends with such a layer, it is the block: `layer4` of a ResNet, `features` of VGG or MobileNet. A
    module that runs more than once in a pass (a reused ReLU) is passed over, for its output is not one thing.

    Args:
        network: run once on the first image, as it is; call it inside `left_as_found` and in evaluation mode.
        images: (N, 3, H, W), N ≥ 1.

    Raises:
        ValueError: if no layer that runs once puts out (N, C, h, w) with more than one pixel, or tokens (N, L, C)
            follow the last such layer, as in a vision transformer.
    """
    outputs: list[tuple[str, tuple[int, ...]]] = []

    def note(name: str, output: object) -> None:
        outputs.append((name, tuple(output.shape) if isinstance(output, Tensor) else ()))

    # A hook on a block fires after those of its children, so that the last to note is the outermost.
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: note(name, output))
        for name, module in network.named_modules()
        if name and not isinstance(module, (nn.AdaptiveAvgPool2d, nn.AvgPool2d))
    ]
    try:
        with torch.no_grad():
            network(images[:1])
    finally:
        for handle in handles:
            handle.remove()
    return _last_spatial(outputs, network, images)


def _last_spatial(outputs: list[tuple[str, tuple[int, ...]]], network: nn.Module, images: Tensor) -> str:
    runs = Counter(name for name, _ in outputs)
    last, tokens = "", ""
    for name, shape in outputs:
        if len(shape) == 4 and shape[-2] * shape[-1] > 1 and runs[name] == 1:
            last, tokens = name, ""
        elif len(shape) == 3 and shape[1] > 1:
            tokens = f"{name!r} puts out {shape}"
    if last and tokens:
        raise ValueError(
            f"`target_layer`: after its last layer with pixels, {last!r}, {type(network).__name__} works on tokens "
            f"(N, L, C): {tokens}. A map of tokens is not found by itself; name the layer to explain"
        )
    if not last:
        raise ValueError(
            f"`target_layer`: no layer of {type(network).__name__} that runs once puts out (N, C, h, w) with more than "
            f"one pixel for images of {images.shape[-2]}×{images.shape[-1]}; name the layer to explain"
        )
    return last
