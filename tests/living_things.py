"""What code leaves behind: counted without the collector, which would free what waits in a cycle."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor


@contextmanager
def uncollected() -> Iterator[None]:
    """A context without garbage collection, in which only what it makes itself is counted.

    What was there before, some million things, would take seconds to look through. It stays out of sight afterwards, so
    that the next context need not look through it either. A thing that each call replaces has to be made once in the
    context, before the first count.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def living_tensors() -> int:
    """The number of tensors that were made in the context and are still there."""
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


def living_things() -> int:
    """The number of things of any kind that were made in the context and are still there."""
    return len(gc.get_objects())
