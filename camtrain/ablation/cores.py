"""How many threads and processes this machine has room for."""

from __future__ import annotations

import warnings

import torch

from camtrain.messages import CamtrainWarning


def num_cores() -> int:
    """The number of cores that this process may use, by its affinity and by the quota of its container."""
    from joblib import cpu_count  # type: ignore[import-untyped, unused-ignore]  # only where something is run

    return int(cpu_count())


def default_threads(jobs: int) -> int:
    """The number of threads of each of several processes: those of this process, as far as there are cores.

    Args:
        jobs: The number of processes at a time.
    """
    return max(1, min(torch.get_num_threads(), num_cores() // jobs))


def jobs_with_room(jobs: int, threads: int) -> int:
    """The number of processes that have a core for each of their threads; at least 1, at most `jobs`.

    Args:
        jobs: The number of processes that are wanted at a time.
        threads: The number of threads of each.

    Warns:
        CamtrainWarning: If there are too few cores. Threads that wait for each other's core take many times as long.
    """
    cores = num_cores()
    room = min(jobs, max(1, cores // threads))
    if jobs * threads > cores:
        of_each = f"{threads} thread{'s' * (threads > 1)}"
        if room < jobs:
            message = f"`jobs`: {jobs} of {of_each} each are too many for {cores} core(s), so it is {room} at a time"
        else:
            message = f"`threads`: {of_each} are too many for {cores} core(s), and slow each other down"
        fewer = "; a study in another folder may begin with fewer `threads`" if threads > 1 else ""
        warnings.warn(message + fewer, CamtrainWarning, stacklevel=4)
    return room
