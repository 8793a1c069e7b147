"""What layers put out, and the handles that gradients with respect to it are taken with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn


class Layout(Protocol):
    """Where the maps of a layer lie in what it puts out; `camtrain.networks.map_layout` finds one."""

    def maps(self, output: Tensor) -> Tensor:
        """(N, C, h, w), a view of what the layer puts out."""

    def output(self, maps: Tensor, output: Tensor) -> Tensor:
        """What the layer puts out, with these maps in the place of its own."""


LayoutOf: TypeAlias = Callable[[Tensor, nn.Module], Layout]
"""From what a layer puts out, and the layer, to the layout; raises a ValueError where there is none."""


class ChannelsFirst:
    """The layout of a convolution: what it puts out are maps."""

    def maps(self, output: Tensor) -> Tensor:
        """(N, C, h, w), the output itself."""
        return output

    def output(self, maps: Tensor, output: Tensor) -> Tensor:
        """(N, C, h, w), the maps themselves."""
        return maps


def channels_first(output: Tensor, layer: nn.Module) -> Layout:
    """The layout of a layer that is to put out (N, C, h, w).

    Raises:
        ValueError: if it does not.
    """
    if output.dim() != 4:
        raise ValueError(f"`target_layer`: expected a layer that puts out (N, C, h, w), got {tuple(output.shape)}")
    return ChannelsFirst()


class CapturedActivations:
    """Filled by the forward pass inside `captured_activations`."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self._passes: list[list[Tensor]] = [[] for _ in layers]

    @property
    def of_layers(self) -> list[Tensor]:
        """(N, C, h, w) of each layer, what it put out, in the order in which the layers were given.

        Raises:
            ValueError: if a layer was not run, or run more than once.
        """
        for passes in self._passes:
            if len(passes) != 1:
                raise ValueError(
                    f"`target_layer`: expected a layer that runs once in a forward pass, it ran {len(passes)} times"
                    + ("; choose the block around it" if passes else "")
                )
        return [activations for (activations,) in self._passes]

    @property
    def activations(self) -> Tensor:
        """(N, C, h, w), what the only layer put out.

        Raises:
            ValueError: if there are several layers, or the layer was not run, or run more than once.
        """
        if len(self._passes) != 1:
            raise ValueError(f"`target_layer`: expected one layer, got {len(self._passes)}")
        return self.of_layers[0]

    def add(self, number: int, activations: Tensor) -> None:
        """Keep what the layer of that number put out."""
        self._passes[number].append(activations)


@contextmanager
def captured_activations(
    layers: nn.Module | Sequence[nn.Module],
    *,
    differentiable: bool = False,
    gradients: bool = True,
    layout_of: LayoutOf = channels_first,
) -> Iterator[CapturedActivations]:
    """Capture the output of layers in the forward pass that runs inside this context.

    Args:
        layers: one module, or several.
        differentiable: keep what lies before the layers in the graph. Otherwise the graph begins at the captured tensor
            of the layer that runs first: what lies before it is run without a graph, and takes neither the time nor the
            memory of one.
        gradients: False captures for methods that need no gradient at all; the pass is run without a graph.
        layout_of: how to find maps in what a layer puts out, such as tokens. They flow on in the layer's own layout,
            so that the score depends on them.

    Yields:
        Where the activations are found after the pass.

    Raises:
        ValueError: inside the pass, if a layer puts out something that is no map; and if `differentiable` is set
            without `gradients`.
    """
    if differentiable and not gradients:
        raise ValueError("`differentiable`: expected False where no gradients are captured, got True")
    layers = [layers] if isinstance(layers, nn.Module) else list(layers)
    captured = CapturedActivations(layers)
    begun = differentiable or not gradients  # whether the graph has begun, or is not to begin

    def capture(number: int, layer: nn.Module, output: object) -> Tensor | None:
        nonlocal begun
        if not isinstance(output, Tensor):
            raise ValueError(
                f"`target_layer`: expected a layer that puts out one tensor (N, C, h, w), got {type(output).__name__}"
            )
        layout = layout_of(output, layer)
        if not gradients:
            # A clone, because the next layer may work in place (ReLU) and must not change what was captured.
            captured.add(number, layout.maps(output.detach()).clone())
            return None
        if not begun:
            begun = True
            output = output.detach()
            torch.set_grad_enabled(True)
        # Where the network itself turned gradients off, the captured tensor still needs one.
        with torch.enable_grad():
            maps = layout.maps(output)
            # Behind frozen layers there is no graph to keep; the gradient still needs one that begins here.
            maps = maps if maps.requires_grad else maps.detach().requires_grad_()
            captured.add(number, maps)
            return layout.output(maps, output).clone()

    handles = [
        layer.register_forward_hook(lambda layer, _inputs, output, number=number: capture(number, layer, output))
        for number, layer in enumerate(layers)
    ]
    try:
        # Autocast keeps the weights that it cast. In older versions of torch (2.8 does) those of a pass without a graph
        # cut the graph of the next one.
        torch.clear_autocast_cache()
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
            yield captured
    finally:
        for handle in handles:
            handle.remove()
        torch.clear_autocast_cache()
