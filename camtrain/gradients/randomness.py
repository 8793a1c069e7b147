"""The state of the random generators, so that a pass can be repeated with the same dropout masks and dropped paths."""

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
        """The current state of the CPU's generator and, on a CUDA device, of the device's generator."""
        accelerator = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.get_rng_state(), accelerator, device)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Start the generators from this state; afterwards they have the state that they had on entry."""
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
    """Draw random numbers inside; afterwards the generators have the state that they had on entry."""
    with Randomness.now(device).replayed():
        yield
