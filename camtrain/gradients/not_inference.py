"""Tensors made under inference mode, for use in a graph."""

from __future__ import annotations

from torch import Tensor


def not_inference(tensor: Tensor) -> Tensor:
    """The tensor itself, or a clone of a tensor made under `torch.inference_mode()`; the clone can enter a graph.

    Call this function where inference mode is off (see `gradients_enabled`).

    Example:
        >>> import torch
        >>> with torch.inference_mode():
        ...     made = torch.ones(1)
        >>> not_inference(made).is_inference()
        False
    """
    return tensor.clone() if tensor.is_inference() else tensor
