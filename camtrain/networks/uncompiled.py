"""Hooks in a network that was compiled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

COMPILED = "_orig_mod."
"""What precedes the name of a module inside of one that `torch.compile` wrapped."""


def is_compiled(network: nn.Module) -> bool:
    """Whether `torch.compile` compiled a network, or a module of it.

    Example:
        >>> is_compiled(torch.nn.Identity())
        False
    """
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and importing it takes long
        return False
    from torch._dynamo import OptimizedModule

    return any(
        isinstance(module, OptimizedModule) or module._compiled_call_impl is not None for module in network.modules()
    )


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
