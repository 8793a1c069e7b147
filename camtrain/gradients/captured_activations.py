"""What a layer puts out, and the handle that its gradient is taken with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class CapturedActivations:
    """Filled by the forward pass inside `captured_activations`."""

    def __init__(self) -> None:
        self.passes: list[Tensor] = []

    @property
    def activations(self) -> Tensor:
        """(N, C, h, w), what the layer put out.

        Raises:
            ValueError: if the layer was not run, or run more than once, or does not put out such a tensor.
        """
        if len(self.passes) != 1:
            raise ValueError(
                f"`target_layer`: expected a layer that runs once in a forward pass, it ran {len(self.passes)} times"
                + ("; choose the block around it" if self.passes else "")
            )
        return self.passes[0]


@contextmanager
def captured_activations(layer: nn.Module, *, differentiable: bool) -> Iterator[CapturedActivations]:
    """Capture the output of `layer` in the forward passes that run inside this context.

    Args:
        layer: a module that puts out (N, C, h, w).
        differentiable: keep what lies before the layer in the graph. Otherwise the graph begins at the captured tensor,
            so that a gradient with respect to it never runs through the layers before.

    Yields:
        Where the activations are found after the pass.
    """
    captured = CapturedActivations()

    def capture(_module: nn.Module, _inputs: tuple[object, ...], output: object) -> Tensor:
        if not isinstance(output, Tensor) or output.dim() != 4:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"`target_layer`: expected a layer that puts out (N, C, h, w), got {got}")
        with torch.enable_grad():
            # Behind frozen layers there is no graph to keep; the gradient still needs one that begins here.
            activations = output if differentiable and output.requires_grad else output.detach().requires_grad_()
            captured.passes.append(activations)
            # A clone, because the next layer may work in place (ReLU) and must not change what was captured.
            return activations.clone()

    handle = layer.register_forward_hook(capture)
    try:
        yield captured
    finally:
        handle.remove()
