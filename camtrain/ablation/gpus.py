"""Which GPUs of this machine the trials of a study see."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from camtrain.study import Trial

_NVIDIA = (None, "auto", "gpu", "cuda")  # of the trainer's accelerators, those that may be GPUs of this kind


def check_gpus(jobs: int, trials: Sequence[Trial]) -> None:
    """Check that there are enough GPUs for trials that ask for a number of them.

    Trials of one GPU each may share it. Without a GPU nothing is checked.

    Args:
        jobs: The number of trials at a time.
        trials: The trials.

    Raises:
        ValueError: If there are too few, or several jobs would take the same ones by their indices.
    """
    count = len(_visible_gpus())
    for trial in trials if count else ():
        devices = _devices(trial)
        highest = devices if isinstance(devices, int) else max(devices) + 1
        if highest > count:
            raise ValueError(f"`trainer.devices`: expected some of {count} GPU(s), got {_asked(trial)!r}")
        if jobs == 1:
            continue
        if not isinstance(devices, int):
            raise ValueError(
                f"`trainer.devices`: expected a number for several jobs, got the indices {_asked(trial)!r}, which are "
                f"the same GPUs for each; pass {len(devices)}"
            )
        if devices > 1 and jobs * devices > count:
            raise ValueError(
                f"`jobs`: expected at most {count // devices}, for `trainer.devices` is {_asked(trial)} and there are "
                f"{count} GPU(s), got {jobs}; choose fewer jobs or fewer devices"
            )


def dealt_gpus(jobs: int, trials: Sequence[Trial]) -> list[list[str]]:
    """The GPUs of each of several jobs, as `CUDA_VISIBLE_DEVICES` names them; as many as any of the trials needs.

    Args:
        jobs: The number of jobs.
        trials: The trials.
    """
    names = _visible_gpus()
    size = max(map(num_gpus, trials), default=1)
    if not names:
        return [[] for _ in range(jobs)]
    return [[names[(job * size + index) % len(names)] for index in range(size)] for job in range(jobs)]


def num_gpus(trial: Trial) -> int:
    """The number of GPUs that a trial takes beside others; 1 if it takes what there is."""
    devices = _devices(trial)
    return devices if isinstance(devices, int) else len(devices)


def _devices(trial: Trial) -> int | list[int]:
    """A number of GPUs, or indices that are not the first ones."""
    if (trial.config.get("trainer") or {}).get("accelerator") not in _NVIDIA:
        return 1
    asked = _asked(trial)
    if isinstance(asked, str):
        words = [word for word in asked.split(",") if word.strip()]
        if not all(word.strip().isdecimal() for word in words):  # auto, -1, or wrong
            return 1
        asked = [int(word) for word in words] if "," in asked else int(asked)
    if isinstance(asked, list) and min(asked, default=-1) >= 0:
        return len(asked) if sorted(asked) == list(range(len(asked))) else asked
    return max(1, asked) if isinstance(asked, int) else 1


def _asked(trial: Trial) -> Any:
    trainer: Mapping[str, Any] = trial.config.get("trainer") or {}
    return trainer.get("devices", "auto")


def _visible_gpus() -> list[str]:
    """The names of the GPUs that this process sees."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]
