"""The same few images of a data set in every epoch, whatever the sampler and the number of processes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, IterableDataset

from camtrain.batch import Batch


def evenly_spaced(total: int, count: int) -> list[int]:
    """At most `count` different indices below `total`, each in the middle of its share.

    Example:
        >>> evenly_spaced(10, 3), evenly_spaced(2, 3)
        ([1, 5, 8], [0, 1])
    """
    count = min(total, count)
    return [(2 * k + 1) * total // (2 * count) for k in range(count)]


def fixed_images(trainer: Trainer, pl_module: LightningModule, stage: str, count: int) -> Batch | None:
    """Images evenly spaced over the stage's data set, read by index, on the device.

    They go through the loader's `collate_fn` and Lightning's transfer hooks, as in the stage itself. The random
    generators are left as found. Of several loaders, the first.

    Args:
        trainer: running the stage.
        pl_module: the module that it runs.
        stage: "val", "test" or "predict".
        count: how many images; fewer if the data set is smaller.

    Returns:
        The images as a batch, or `None` where they cannot be read by index (an iterable data set, a loader that is no
        `DataLoader`, no automatic batches) or there are none.
    """
    loader = _first_loader(trainer, stage)
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None
    samples: Any = loader.dataset
    if loader.batch_sampler is None or not hasattr(samples, "__len__") or len(samples) == 0:
        return None
    with _same_randomness(pl_module.device):
        batch = loader.collate_fn([samples[index] for index in evenly_spaced(len(samples), count)])
        batch = trainer.precision_plugin.convert_input(batch)
        return Batch.of(trainer.strategy.batch_to_device(batch, dataloader_idx=0))


def first_images(batch: Batch, count: int) -> Batch:
    """A copy of the first images of a batch, with what is known about them.

    Example:
        >>> len(first_images(Batch(torch.zeros(4, 3, 8, 8)), 2))
        2
    """
    return Batch(
        batch.images[:count].clone(),
        None if batch.labels is None else batch.labels[:count].clone(),
        None if batch.boxes is None else [boxes.clone() for boxes in batch.boxes[:count]],
        None if batch.masks is None else batch.masks[:count].clone(),
    )


def _first_loader(trainer: Trainer, stage: str) -> Any:
    if stage == "val" and trainer.state.fn == TrainerFn.VALIDATING:
        # `trainer.val_dataloaders` would be those of an earlier `fit`, which may be others.
        combined = trainer.validate_loop._combined_loader
        loaders = None if combined is None else combined.iterables
    else:
        by_stage = {"val": "val_dataloaders", "test": "test_dataloaders", "predict": "predict_dataloaders"}
        loaders = getattr(trainer, by_stage[stage])
    return next(iter(tree_leaves(loaders)), None)


@contextmanager
def _same_randomness(device: torch.device) -> Iterator[None]:
    """Give every random generator that a data set may draw from its state back, also after an error."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - a user's data set may draw from it
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
