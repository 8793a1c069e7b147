"""Saves the random generators, so that a resumed training continues as if it had not been stopped."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback
from torch import Tensor


class TrainingRandomness(Callback):
    """Saves the state of the random generators in checkpoints, and restores it when training is resumed.

    Lightning restores weights, optimizers and progress, but not the generators. Without this callback, a resumed
    training sees its images in another order and with other augmentations than a training that was not stopped. The
    states are those of Python, NumPy, torch and all CUDA devices; with several processes, those of the first one.

    A training that is resumed from the end of an epoch continues exactly. If it is resumed from the middle of an epoch,
    Lightning repeats the images of that epoch from the beginning.
    """

    def state_dict(self) -> dict[str, Any]:
        """The states as plain numbers and tensors, which `weights_only=True` loads."""
        version, numbers, gauss = random.getstate()
        kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002  transforms may use it
        return {
            "python": [version, torch.tensor(numbers), gauss],
            "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the states; Lightning calls this before it makes the loaders."""
        version, numbers, gauss = state_dict["python"]
        random.setstate((version, tuple(numbers.tolist()), gauss))
        kind, keys, position, has_gauss, cached = state_dict["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
        torch.set_rng_state(state_dict["torch"].cpu())
        states: list[Tensor] = state_dict["cuda"]
        # With another number of GPUs, the random numbers differ anyway.
        if torch.cuda.is_available() and len(states) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in states])
