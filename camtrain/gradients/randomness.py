"""Repeat a random pass: the same dropout masks, the same dropped paths."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Randomness:
    """The state of torch's random generators at one moment.

    Example:
        >>> before = Randomness.now(torch.device("cpu"))
        >>> first = torch.rand(2)
        >>> with before.replayed():
        ...     again = torch.rand(2)
        >>> torch.equal(first, again)
        True
    """

    cpu: torch.Tensor
    accelerator: torch.Tensor | None
    device: torch.device

    @classmethod
    def now(cls, device: torch.device) -> Randomness:
        """The state of the CPU's generator and, where it is another device, of `device`'s."""
        accelerator = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.get_rng_state(), accelerator, device)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Start from this state; afterwards the generators are as they were on entry."""
        entry = Randomness.now(self.device)
        self._set()
        try:
            yield
        finally:
            entry._set()

    def _set(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.accelerator is not None:
            torch.cuda.set_rng_state(self.accelerator, self.device)


@contextmanager
def left_randomness(device: torch.device) -> Iterator[None]:
    """Draw as one likes; afterwards the generators are as they were on entry."""
    with Randomness.now(device).replayed():
        yield
