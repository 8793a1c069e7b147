"""Random numbers of code that draws from the global generators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from camtrain.gradients.randomness import left_randomness, seed_generators


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Seed torch's and NumPy's generators inside; afterwards they have the state that they had on entry.

    Args:
        seed: The seed; `None` goes on from the state on entry.
        device: The device whose generator is seeded beside that of the CPU.

    Example:
        >>> with seeded(3, torch.device("cpu")):
        ...     first = torch.rand(2), np.random.rand()
        >>> with seeded(3, torch.device("cpu")):
        ...     bool((torch.rand(2) == first[0]).all()), np.random.rand() == first[1]
        (True, True)
    """
    state = np.random.get_state()  # noqa: NPY002 - libraries draw from the global generator
    with left_randomness(device):
        if seed is not None:
            seed_generators(seed, device)
            np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
