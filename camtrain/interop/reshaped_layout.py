"""The layout of a layer whose output a function of the user turns into maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Reshape = Callable[[Tensor], Tensor]


class ReshapedLayout:
    """A layout from a `reshape_transform`, as pytorch-grad-cam takes it: from the output of a layer to (N, C, h, w).

    There is no way back from maps to an output. The rest of the network is computed from the output itself, and its
    gradient is reshaped as the output was.

    Args:
        reshape: From (N, ...) to (N, C, h, w).
    """

    def __init__(self, reshape: Reshape) -> None:
        self.reshape = reshape

    def maps(self, output: Tensor) -> Tensor:
        """The maps in the output of a layer.

        Raises:
            ValueError: If the function returns another shape.
        """
        maps = self.reshape(output)
        if maps.dim() != 4 or len(maps) != len(output):
            raise ValueError(f"`reshape_transform`: expected (N, C, h, w), got {tuple(maps.shape)}")
        return maps

    def output(self, maps: Tensor, output: Tensor) -> Tensor:
        """The output of the layer; its gradient, reshaped, is that of the maps.

        Raises:
            ValueError: If the maps are not those of the output.
        """
        if not maps.requires_grad:
            raise ValueError(
                "`reshape_transform`: a method that changes the maps of a layer cannot be used with it, since there is "
                "no way back; leave it out: how tokens make a map is found without it"
            )
        return _Unchanged.apply(maps, output, self.reshape)  # type: ignore[no-any-return]


class _Unchanged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, output: Tensor, reshape: Reshape) -> Tensor:
        ctx.reshape = reshape
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.reshape(gradients[0]), None, None
