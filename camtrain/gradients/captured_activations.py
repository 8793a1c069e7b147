"""The outputs of layers, captured so that gradients with respect to them can be taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn


class Layout(Protocol):
    """How a layer's output contains its maps; `camtrain.networks.map_layout` finds the layout of a layer."""

    def maps(self, output: Tensor) -> Tensor:
        """The maps in the output of a layer, (N, C, h, w), a view."""

    def output(self, maps: Tensor, output: Tensor) -> Tensor:
        """The output of a layer with its maps replaced by these."""


LayoutOf: TypeAlias = Callable[[Tensor, nn.Module], Layout]
"""From the output of a layer, and the layer, to the layout; raises a ValueError if there is none."""


class ChannelsFirst:
    """The layout of a convolution, whose output is its maps."""

    def maps(self, output: Tensor) -> Tensor:
        """The output itself, (N, C, h, w)."""
        return output

    def output(self, maps: Tensor, output: Tensor) -> Tensor:
        """The maps themselves, (N, C, h, w)."""
        return maps


def channels_first(output: Tensor, layer: nn.Module) -> Layout:
    """The layout of a layer whose output must be (N, C, h, w).

    Raises:
        ValueError: If the output has another number of axes.
    """
    if output.dim() != 4:
        raise ValueError(f"`target_layer`: expected a layer that puts out (N, C, h, w), got {tuple(output.shape)}")
    return ChannelsFirst()


class CapturedActivations:
    """The activations that a forward pass inside `captured_activations` leaves here."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self._passes: list[list[Tensor]] = [[] for _ in layers]

    @property
    def of_layers(self) -> list[Tensor]:
        """The activations of each layer, (N, C, h, w), in the order of the given layers.

        Raises:
            ValueError: If a layer did not run, or ran more than once.
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
        """The activations of the only layer, (N, C, h, w).

        Raises:
            ValueError: If there are several layers, or the layer did not run, or ran more than once.
        """
        if len(self._passes) != 1:
            raise ValueError(f"`target_layer`: expected one layer, got {len(self._passes)}")
        return self.of_layers[0]

    def add(self, number: int, activations: Tensor) -> None:
        """Add the activations of the layer with this number."""
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
        layers: One module, or several.
        differentiable: Whether to keep the part of the network before the layers in the graph. Otherwise the graph
            begins at the output of the layer that runs first; the part before it runs without a graph, which saves time
            and memory.
        gradients: Whether gradients are needed. `False` runs the pass without a graph.
        layout_of: Finds the maps in the output of a layer, such as tokens. The rest of the network is computed from
            the captured maps, in the layer's own layout, so that the score depends on them.

    Yields:
        The object that holds the activations after the pass.

    Raises:
        ValueError: Inside the pass, if the output of a layer contains no maps; at once, if `differentiable` is set
            without `gradients`.
    """
    if differentiable and not gradients:
        raise ValueError("`differentiable`: expected False where no gradients are captured, got True")
    layers = [layers] if isinstance(layers, nn.Module) else list(layers)
    captured = CapturedActivations(layers)
    begun = differentiable or not gradients  # Whether the graph has begun, or must not begin.

    def capture(number: int, layer: nn.Module, output: object) -> Tensor | None:
        nonlocal begun
        if not isinstance(output, Tensor):
            raise ValueError(
                f"`target_layer`: expected a layer that puts out one tensor (N, C, h, w), got {type(output).__name__}"
            )
        layout = layout_of(output, layer)
        if not gradients:
            # A clone, because the next layer may work in place (ReLU) and would change the captured activations.
            captured.add(number, layout.maps(output.detach()).clone())
            return None
        if not begun:
            begun = True
            output = output.detach()
            torch.set_grad_enabled(True)
        # The captured tensor needs a gradient even where the network itself turns gradients off.
        with torch.enable_grad():
            maps = layout.maps(output)
            # After frozen layers there is no graph yet, so one begins here.
            maps = maps if maps.requires_grad else maps.detach().requires_grad_()
            captured.add(number, maps)
            return layout.output(maps, output).clone()

    handles = [
        layer.register_forward_hook(lambda layer, _inputs, output, number=number: capture(number, layer, output))
        for number, layer in enumerate(layers)
    ]
    try:
        # Autocast caches the weights that it casts. In older versions of torch (such as 2.8), weights cached in a pass
        # without a graph cut the graph of the next pass.
        torch.clear_autocast_cache()
        with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
            yield captured
    finally:
        for handle in handles:
            handle.remove()
        torch.clear_autocast_cache()
