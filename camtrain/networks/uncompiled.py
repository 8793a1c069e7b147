"""Look into a network that was compiled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run what `torch.compile` made of a network, or of a part of it, as the plain network that it was made of.

    A compiled network ignores hooks that are added after its first call. What it has compiled stays for later calls.

    Example:
        >>> with uncompiled():
        ...     torch.nn.Identity()(torch.ones(2))
        tensor([1., 1.])
    """
    # Nothing was compiled without this module, and it takes long to import.
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
