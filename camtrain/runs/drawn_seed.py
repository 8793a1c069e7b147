"""The seed of a run that asks for a new one."""

from __future__ import annotations

import os
import secrets

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from camtrain.runs.first_process import is_first_process


def drawn_seed(num_nodes: int = 1) -> int:
    """A seed from the operating system; in a process that Lightning has started for one more device, that of the first.

    Args:
        num_nodes: The number of machines.

    Returns:
        A number in [0, 2^32).

    Raises:
        ValueError: If other programs start the processes: they would draw different seeds, and could not tell each
            other.
    """
    if num_nodes > 1 or _is_one_of_several():
        raise ValueError(
            "--seed_everything: expected a number for processes that are started one by one (several machines, "
            "torchrun, SLURM), got true, with which each would have a seed of its own; pass a number"
        )
    if not is_first_process() and (of_first := os.environ.get("PL_GLOBAL_SEED")):
        return int(of_first)
    return secrets.randbits(32)


def _is_one_of_several() -> bool:
    started = (TorchElasticEnvironment.detect(), "WORLD_SIZE"), (SLURMEnvironment.detect(), "SLURM_NTASKS")
    return any(is_there and int(os.environ.get(name, "1")) > 1 for is_there, name in started)
