"""The state of the random generators, so that a resumed training goes on as if it had not been stopped."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback
from torch import Tensor


class TrainingRandomness(Callback):
    """Keeps the state of the random generators in checkpoints, and takes it back where training is resumed.

    Lightning restores weights, optimizers and progress, but no generator: without this a resumed training sees its
    images in another order, with other augmentations, from the one that was not stopped. The states are those of
    Python, NumPy, torch and all its GPUs; of several processes, those of the first one.

    A checkpoint at the end of a training epoch is resumed exactly; of one in the middle of an epoch, Lightning repeats
    that epoch's images from their beginning.
    """

    def state_dict(self) -> dict[str, Any]:
        """The states; plain numbers and tensors, which `weights_only=True` loads."""
        version, numbers, gauss = random.getstate()
        kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002  what transforms may use
        return {
            "python": [version, torch.tensor(numbers), gauss],
            "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Called by Lightning before the loaders are made."""
        version, numbers, gauss = state_dict["python"]
        random.setstate((version, tuple(numbers.tolist()), gauss))
        kind, keys, position, has_gauss, cached = state_dict["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
        torch.set_rng_state(state_dict["torch"].cpu())
        states: list[Tensor] = state_dict["cuda"]
        # Another number of GPUs has other random numbers anyway.
        if torch.cuda.is_available() and len(states) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in states])
