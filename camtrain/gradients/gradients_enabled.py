"""Gradients inside an evaluation loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def gradients_enabled() -> Iterator[None]:
    """Enable autograd, also inside `torch.no_grad()` and `torch.inference_mode()`.

    Lightning validates, tests and predicts under inference mode, which `torch.enable_grad()` alone cannot undo. Tensors
    that were made under inference mode stay inference tensors: clone them inside this context before autograd uses
    them.

    Example:
        >>> with torch.inference_mode():
        ...     images = torch.ones(1)
        ...     with gradients_enabled():
        ...         leaf = images.clone().requires_grad_()
        ...         torch.autograd.grad((leaf * leaf).sum(), leaf)[0]
        tensor([2.])
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield
