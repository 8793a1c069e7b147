"""The base class of networks with a trained attention head."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from camtrain.checked_logits import described_output
from camtrain.networks.attention_head import AttentionHead
from camtrain.networks.build_network import Stem, build_network
from camtrain.networks.input_channels import input_channels
from camtrain.networks.map_layout import map_layout
from camtrain.networks.target_layer import target_layer_of

FindLayer: TypeAlias = Callable[[nn.Module, Tensor], str]
"""From a network and images to the name of the layer that is attended if none is named."""


class AttendedNetwork(nn.Module):
    """A classifier in which the features of one layer are multiplied by 1 + the attention of a head.

        F' = F · (1 + attention(F))

    The backbone is not changed, and its parameters keep their names. During this network's forward, and only then, a
    hook replaces the output F of the layer by F'. The hook runs after all other hooks, so whatever else is hooked to
    the layer, a CAM for instance, captures the features F.

    A subclass creates the head and passes it to `attend`.

    Args:
        backbone: A name that `build_network` knows, or any module from (N, C, H, W) to (N, K) logits.
        num_classes: K.
        layer: The dotted name of the module of the backbone whose output is attended. It must run once and put out
            (N, C, h, w), (N, h, w, C) or tokens (see `map_layout`). `None` takes the layer that `find_layer` finds.
        stem: The stem of a backbone given by name.
        weights: The weights of a backbone given by name.
        image_size: The height and width of an image of zeros that a copy of the backbone is run on once, to find the
            layer and its number of channels. `None` takes 32 for the small stem, else 224.
        find_layer: Finds the layer if none is named.

    Attributes:
        backbone: The classifier.
        layer: The name of the attended layer.
        channels: C, the number of channels of the attended layer.
        attention_head: The head, which runs once in each forward pass.

    Raises:
        ValueError: If `build_network` raises one, a stem or weights are given for a module, there is no module called
            `layer`, the layer does not put out a map exactly once, or the backbone has another number of classes.
    """

    attention_head: AttentionHead

    def __init__(
        self,
        backbone: nn.Module | str,
        num_classes: int,
        layer: str | None,
        stem: Stem,
        weights: str | None,
        image_size: int | None,
        find_layer: FindLayer,
    ) -> None:
        super().__init__()
        self.backbone = made_backbone(backbone, num_classes, stem, weights)
        with probed(self.backbone, num_classes, image_size or probe_size(stem)) as (network, image):
            self.layer = find_layer(network, image) if layer is None else layer
            self.channels = _channels(network, self.layer, image)

    def attend(self, head: AttentionHead) -> None:
        """Set the head, and move it to the device and the precision of the backbone."""
        like = like_network(self.backbone)
        self.attention_head = head.to(device=like.device, dtype=like.dtype)

    def forward(self, images: Tensor) -> Tensor:
        """From (N, C, H, W) to (N, K) logits of the backbone.

        Raises:
            ValueError: If the layer does not run exactly once.
        """
        runs = 0

        def attended(layer: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            nonlocal runs
            runs += 1
            if runs > 1:
                return output
            layout = map_layout(output, layer, images, self.backbone)
            features = layout.maps(output)
            attention = self.attention_head(features, images).attention
            return layout.output(features * (1 + attention), output)

        handle = self.backbone.get_submodule(self.layer).register_forward_hook(attended)
        try:
            logits: Tensor = self.backbone(images)
        finally:
            handle.remove()
        check_once(self.layer, runs)
        return logits


def made_backbone(backbone: nn.Module | str, num_classes: int, stem: Stem, weights: str | None) -> nn.Module:
    """The backbone of a name, or the given one.

    Raises:
        ValueError: If `build_network` raises one, or a stem or weights are given for a module.
    """
    if isinstance(backbone, str):
        return build_network(backbone, num_classes, stem=stem, weights=weights)
    if stem != "imagenet" or weights is not None:
        raise ValueError(
            "`stem`, `weights`: expected 'imagenet' and None beside a backbone that is built already, got "
            f"{stem!r} and {weights!r}"
        )
    return backbone


def probe_size(stem: Stem) -> int:
    """The height and width of the image that a backbone with this stem is run on to find its layers."""
    return 32 if stem == "small" else 224


def check_once(layer: str, runs: int, argument: str = "layer") -> None:
    """Check that a layer ran once in a forward pass of the backbone; `argument` is what errors name.

    Raises:
        ValueError: If it ran another number of times.
    """
    if runs != 1:
        hidden = "" if runs else "; a compiled backbone hides it: compile the network around it instead"
        raise ValueError(_not_once(layer, runs, argument) + hidden)


def _not_once(layer: str, runs: int, argument: str = "layer") -> str:
    return f"`{argument}`: expected a layer that runs once in a forward pass, {layer!r} ran {runs} times"


def like_network(network: nn.Module) -> Tensor:
    """A tensor on the device and in the precision of a network."""
    floating = (each for each in (*network.parameters(), *network.buffers()) if each.is_floating_point())
    return next(floating, torch.zeros(()))


@contextmanager
def probed(
    backbone: nn.Module, num_classes: int, size: int, argument: str = "layer"
) -> Iterator[tuple[nn.Module, Tensor]]:
    """Passes of a copy of the backbone, without a graph, to find out about its layers.

    Args:
        backbone: From (N, C, H, W) to (N, K) logits.
        num_classes: K.
        size: The height and width of the image.
        argument: What errors name that leave the context and name `target_layer`.

    Yields:
        A copy of the backbone in evaluation mode, and an image of zeros, (1, C, size, size), that it can be run on.

    Raises:
        ValueError: If the backbone cannot run on such an image, or does not put out (1, K) logits.
    """
    network = copy.deepcopy(backbone).eval()
    like = like_network(network)
    image = torch.zeros(1, input_channels(backbone), size, size, device=like.device, dtype=like.dtype)
    with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []), torch.no_grad():
        try:
            logits = network(image)
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"`image_size`: {type(backbone).__name__} cannot run on images of {size}×{size} pixels and "
                f"{image.shape[1]} channels; give another size: {error}"
            ) from error
        if not isinstance(logits, Tensor) or tuple(logits.shape) != (1, num_classes):
            raise ValueError(
                f"`backbone`: expected (1, {num_classes}) logits of one image, got {described_output(logits)}"
            )
        try:
            yield network, image
        except ValueError as error:
            raise ValueError(str(error).replace("`target_layer`", f"`{argument}`")) from error


def _channels(network: nn.Module, layer: str, image: Tensor) -> int:
    outputs: list[object] = []
    module = target_layer_of(network, layer)
    module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    network(image)
    if len(outputs) != 1:
        raise ValueError(_not_once(layer, len(outputs)))
    (output,) = outputs
    if not isinstance(output, Tensor):
        raise ValueError(
            f"`layer`: expected a layer that puts out a tensor, {layer!r} puts out a {type(output).__name__}"
        )
    return map_layout(output, module, image, network).maps(output).shape[1]
