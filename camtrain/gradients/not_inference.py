"""Tensors made under inference mode, outside of it."""

from __future__ import annotations

from torch import Tensor


def not_inference(tensor: Tensor) -> Tensor:
    """The tensor itself, or, of one made under `torch.inference_mode()`, a clone, which can enter a graph.

    Call it where inference mode is off (see `gradients_enabled`).

    Example:
        >>> import torch
        >>> with torch.inference_mode():
        ...     made = torch.ones(1)
        >>> not_inference(made).is_inference()
        False
    """
    return tensor.clone() if tensor.is_inference() else tensor
