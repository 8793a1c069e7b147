"""The `.grad` of parameters, kept while a library calls `backward`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def kept_gradients(network: nn.Module) -> Iterator[None]:
    """Let code inside clear and fill `.grad` of the parameters; afterwards each has the tensor that it had."""
    before = [(parameter, parameter.grad) for parameter in network.parameters()]
    for parameter, _ in before:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in before:
            parameter.grad = gradient
