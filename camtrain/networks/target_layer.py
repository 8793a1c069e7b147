"""The layer that a class activation map is computed at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from camtrain.batch import check_images
from camtrain.messages import nearest_names
from camtrain.networks.attention_head import AttentionHead, attention_heads
from camtrain.networks.map_layout import MapLayout, map_layout
from camtrain.networks.output_values import output_values
from camtrain.networks.uncompiled import COMPILED, uncompiled


def target_layer_of(network: nn.Module, name: str, argument: str = "target_layer") -> nn.Module:
    """The module of a network with this dotted name, as in `network.named_modules()`.

    Args:
        network: The network.
        name: The dotted name. The `_orig_mod` that `torch.compile` puts into the names of modules may be left out.
        argument: The name of the argument that holds it, for the message.

    Raises:
        TypeError: If the name is no text.
        ValueError: If there is no such module; the nearest names are suggested.

    Example:
        >>> from torchvision.models import resnet18
        >>> target_layer_of(resnet18(), "layer4.1").__class__.__name__
        'BasicBlock'
    """
    modules: dict[str, nn.Module] = dict(network.named_modules())
    if not isinstance(name, str):
        raise TypeError(f"`{argument}`: expected the dotted name of a module, got {name!r}")
    before_compiling = {known.replace(COMPILED, ""): module for known, module in modules.items()}
    if name in before_compiling:
        modules = before_compiling
    if not name or name not in modules:
        raise ValueError(f"`{argument}`: no module is called {name!r}; {nearest_names(name, filter(None, modules))}")
    return modules[name]


def last_spatial_layer(network: nn.Module, images: Tensor) -> str:
    """Name of the last module whose output has more than one place in the image and determines the logits.

    Places are pixels or tokens (see `map_layout`). If a block ends with such a layer, the function returns the block:
    `layer4` of a ResNet, `features` of VGG or MobileNet. It skips pooling layers, modules that run more than once in a
    pass (a reused ReLU has several outputs), and the modules inside an attention module or an `AttentionHead`.

    In a convolutional network the layer is the last output with no skip connection around it. In a ResNet-50 on images
    of 32 pixels that is `layer3`: `layer4` ends with one pixel, and the layers inside its first block have a skip
    connection around them. If all outputs have one, the layer is the last of them.

    In a network that works on tokens, a second pass looks for gradients. Only the class token of a vision transformer
    reaches the head, so the other tokens in the output of its last block have no influence. There the layer is the
    normalization at the beginning of the last block.

    Args:
        network: The network. It is run on the first image, or on the first two if it normalizes by the batch in
            evaluation mode, too; call this function inside `left_as_found` and in evaluation mode.
        images: (N, C, H, W), N ≥ 1.

    Raises:
        ValueError: If there is no image, no layer that runs once puts out more than one pixel or token, tokens that fit
            no map of the image follow the last such layer, the logits depend on none of these layers, or the network
            does not put out (N, K) logits.

    Cost:
        Two forward passes of one image, and one more for each output with a skip connection around it. In a network
        that works on tokens, two forward passes and a few backward passes.
    """
    image = images[: _enough_images(network)]
    outputs = _outputs(network, image)
    found = [output for output in outputs if output.cells > 1]
    if not found:
        raise ValueError(
            f"`target_layer`: no layer of {type(network).__name__} that runs once puts out (N, C, h, w) with more than "
            f"one pixel, or tokens, for images of {images.shape[-2]}×{images.shape[-1]}; name the layer to explain"
        )
    after = outputs[outputs.index(found[-1]) + 1 :]
    if strange := [output for output in after if output.is_tokens]:
        raise ValueError(
            f"`target_layer`: after {found[-1].name!r}, {type(network).__name__} works on tokens (N, L, C) that fit no "
            f"map of images of {images.shape[-2]}×{images.shape[-1]}: {strange[-1].name!r} puts out "
            f"{strange[-1].shape}. Name the layer to explain"
        )
    return (
        _last_with_gradient(network, image, found)
        if found[-1].is_tokens
        else _last_without_bypass(network, image, found)
    )


def _enough_images(network: nn.Module) -> int:
    """How many images a pass needs: a layer without running statistics cannot normalize one pixel of one image."""
    layers = (module for module in network.modules() if isinstance(module, _BatchNorm))
    return 2 if any(layer.running_mean is None for layer in layers) else 1


@dataclass(frozen=True)
class _Output:
    """The output of a module for one image.

    Attributes:
        name: The name of the module.
        shape: The shape of the output; () if it is not a tensor.
        layout: The layout of the output's map; `None` if it contains no map.
        cells: h·w, the number of places in the image; 0 if there is no map.
        channels: C, the number of channels; 0 if there is no map.
    """

    name: str
    shape: tuple[int, ...]
    layout: MapLayout | None = None
    cells: int = 0
    channels: int = 0

    @property
    def is_tokens(self) -> bool:
        return len(self.shape) == 3 and self.shape[1] > 1


def _outputs(network: nn.Module, image: Tensor) -> list[_Output]:
    """The outputs of the modules that run once, in the order in which they end: a block after its children."""
    check_images(image, at_least_one=True)
    inside_attention = _inside_attention(network)
    outputs: list[_Output] = []

    def note(name: str, module: nn.Module, _inputs: object, output: object) -> None:
        pooling = isinstance(module, (nn.AdaptiveAvgPool2d, nn.AvgPool2d))
        if name and not pooling and name not in inside_attention:
            outputs.append(_described(name, module, output, image, network))

    with _hooked(network.named_modules(), note), torch.no_grad():
        network(image)
    runs = Counter(output.name for output in outputs)
    return [output for output in outputs if runs[output.name] == 1]


def _described(name: str, module: nn.Module, output: object, image: Tensor, network: nn.Module) -> _Output:
    if not isinstance(output, Tensor):
        return _Output(name, ())
    shape = tuple(output.shape)
    try:
        layout = map_layout(output, module, image, network)
    except ValueError:
        return _Output(name, shape)
    maps = layout.maps(output)
    return _Output(name, shape, layout, maps.shape[-2] * maps.shape[-1], maps.shape[1])


def _inside_attention(network: nn.Module) -> set[str]:
    """Names of the modules inside attention modules, whose outputs (queries, keys, weights) only look like maps.

    A module with a convolution counts as a part of a convolutional network, whatever its name, and a module called an
    attention *block* or *layer* contains more than attention.
    """
    attentions = [name for name, module in network.named_modules() if name and _is_attention(module)]
    return {name for name, _ in network.named_modules() if name.startswith(tuple(f"{outer}." for outer in attentions))}


def _is_attention(module: nn.Module) -> bool:
    if isinstance(module, AttentionHead):
        return True
    name = type(module).__name__.lower()
    if not ("attention" in name or "attn" in name) or "block" in name or "layer" in name:
        return False
    return not any(isinstance(child, nn.Conv2d) for child in module.modules())


def _last_without_bypass(network: nn.Module, image: Tensor, found: list[_Output]) -> str:
    return next(
        (output.name for output in reversed(found) if not _is_bypassed(network, image, output.name)), found[-1].name
    )


def _is_bypassed(network: nn.Module, image: Tensor, name: str) -> bool:
    """Whether the logits depend on the image other than through the output of this module.

    An attention is a weight and not a way around: what a head computes from other layers does not count.
    """
    handles = [network.get_submodule(name).register_forward_hook(lambda _module, _inputs, output: output.detach())]
    handles += [
        head.register_forward_hook(lambda _head, _inputs, output: output._replace(attention=output.attention.detach()))
        for head in attention_heads(network).values()
    ]
    try:
        with uncompiled(), torch.inference_mode(False), torch.enable_grad():
            leaf = image.clone().requires_grad_()
            logits = output_values(network(leaf))
            if not logits.requires_grad:
                return False
            (gradient,) = torch.autograd.grad(logits.sum(), leaf, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    return gradient is not None


def _last_with_gradient(network: nn.Module, image: Tensor, found: list[_Output]) -> str:
    dependent = _with_gradient(network, image, found)
    # An output as wide as the last one is a state of the tokens; a wider one is between two layers of a block.
    as_wide = [output for output in dependent if output.channels == found[-1].channels]
    if not dependent:
        names = ", ".join(repr(output.name) for output in found[:-6:-1])
        rest = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise ValueError(
            f"`target_layer`: the logits of {type(network).__name__} have no gradient at the pixels or tokens of any "
            f"layer, from the last: {names}{rest}; name the layer to explain"
        )
    return (as_wide or dependent)[-1].name


def _with_gradient(network: nn.Module, image: Tensor, found: list[_Output]) -> list[_Output]:
    """The outputs at whose pixels or tokens the logits have a gradient other than zero.

    The weights of a head may all be zero before it is trained, as in torchvision's vision transformers. Then the
    gradient of the head's input is used instead.
    """
    tensors: dict[str, Tensor] = {}
    into_heads: list[Tensor] = []

    def note(name: str, _module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if name in names and isinstance(output, Tensor):
            tensors[name] = output
            into_heads.clear()
        if inputs and isinstance(inputs[0], Tensor) and inputs[0].dim() == 2:
            into_heads.append(inputs[0])

    names = {output.name for output in found}
    # Gradients must be available here even if the caller disabled them, as Lightning's validation does.
    with torch.inference_mode(False), torch.enable_grad():
        leaf = image.clone().requires_grad_()
        with _hooked(network.named_modules(), note):
            logits = output_values(network(leaf))
        tracked = {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}
        for end in (logits, *reversed(into_heads)):
            gradients = _gradients(end, tracked)
            dependent = [output for output in found if _reaches(gradients, output)]
            if dependent or not gradients:
                return dependent
    return []


def _gradients(end: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    if not end.requires_grad or not tensors:
        return {}
    # Different weights, because the sum of a layer norm's output has no gradient.
    weights = torch.arange(1, end.numel() + 1, device=end.device).cos().to(end.dtype).view_as(end)
    gradients = torch.autograd.grad(end, list(tensors.values()), weights, retain_graph=True, allow_unused=True)
    return {name: gradient for name, gradient in zip(tensors, gradients, strict=True) if gradient is not None}


def _reaches(gradients: dict[str, Tensor], output: _Output) -> bool:
    gradient = gradients.get(output.name)
    return gradient is not None and output.layout is not None and bool(output.layout.maps(gradient).any())


@contextmanager
def _hooked(
    modules: Iterable[tuple[str, nn.Module]], note: Callable[[str, nn.Module, tuple[object, ...], object], None]
) -> Iterator[None]:
    """Call `note` with name, module, inputs and output at the end of each module's forward."""
    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: note(name, module, inputs, output))
        for name, module in modules
    ]
    try:
        with uncompiled():
            yield
    finally:
        for handle in handles:
            handle.remove()
