"""The state of the random generators, so that a pass can be repeated with the same dropout masks and dropped paths."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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
        """The current state of the CPU's generator and, on an accelerator, of the device's generator."""
        module = _module_of(device)
        return cls(torch.get_rng_state(), None if module is None else module.get_rng_state(device), device)

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
            _module_of(self.device).set_rng_state(self.accelerator, self.device)


@contextmanager
def left_randomness(device: torch.device) -> Iterator[None]:
    """Draw random numbers inside; afterwards the generators have the state that they had on entry."""
    with Randomness.now(device).replayed():
        yield


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators that `Randomness` keeps; `torch.manual_seed` seeds those of every device.

    Example:
        >>> seed_generators(3, torch.device("cpu"))
        >>> torch.equal(torch.rand(2), torch.rand(2, generator=torch.Generator().manual_seed(3)))
        True
    """
    torch.default_generator.manual_seed(seed)
    module = _module_of(device)
    if device.type == "mps":  # there is one, and no context of a device
        module.manual_seed(seed)
    elif module is not None:
        with module.device(device):
            module.manual_seed(seed)


def _module_of(device: torch.device) -> Any:
    """The functions of an accelerator, such as `torch.cuda`; `None` for a device without a generator of its own."""
    module = getattr(torch, device.type, None)
    return module if hasattr(module, "get_rng_state") else None
