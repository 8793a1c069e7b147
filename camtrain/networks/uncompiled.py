"""Hooks in a network that was compiled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run a network that `torch.compile` compiled, wholly or in part, without its compiled code.

    A compiled network ignores hooks that are added after its first call. The compiled code is kept for later calls.

    Example:
        >>> with uncompiled():
        ...     torch.nn.Identity()(torch.ones(2))
        tensor([1., 1.])
    """
    # If this module is not loaded, nothing was compiled, and importing it takes long.
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
