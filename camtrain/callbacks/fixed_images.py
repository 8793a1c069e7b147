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

from camtrain.batch import Batch, evenly_spaced


def fixed_images(trainer: Trainer, pl_module: LightningModule, stage: str, count: int) -> Batch | None:
    """Images evenly spaced over the stage's data set, read by index, on the device, as one batch.

    Args:
        trainer: running the stage.
        pl_module: the module that it runs.
        stage: "val", "test" or "predict".
        count: how many images; fewer if the data set is smaller.

    Returns:
        The images, or `None` where they cannot be read by index.
    """
    return next(fixed_batches(trainer, pl_module, stage, count, count), None)


def fixed_batches(
    trainer: Trainer, pl_module: LightningModule, stage: str, count: int, batch_size: int, *, shared: bool = False
) -> Iterator[Batch]:
    """Images evenly spaced over the stage's data set, read by index, on the device.

    They go through the loader's `collate_fn` and Lightning's transfer hooks, as in the stage itself. The random
    generators are left as found. Of several loaders, the first.

    Args:
        trainer: running the stage.
        pl_module: the module that it runs.
        stage: "val", "test" or "predict".
        count: how many images; fewer if the data set is smaller.
        batch_size: images in a batch.
        shared: whether each process takes its share of the images, and not all of them.

    Yields:
        The batches; none where the images cannot be read by index.
    """
    if not is_read_by_index(trainer, stage):
        return
    loader = _first_loader(trainer, stage)
    samples: Any = loader.dataset
    indices = evenly_spaced(len(samples), count)
    if shared:
        indices = indices[trainer.global_rank :: trainer.world_size]
    for start in range(0, len(indices), batch_size):
        with _same_randomness(pl_module.device):
            batch = loader.collate_fn([samples[index] for index in indices[start : start + batch_size]])
            batch = trainer.precision_plugin.convert_input(batch)
            batch = Batch.of(trainer.strategy.batch_to_device(batch, dataloader_idx=0))
        yield batch


def is_read_by_index(trainer: Trainer, stage: str) -> bool:
    """Whether the stage's data set can be read by index, and holds anything.

    An iterable data set can not, nor can one behind a loader that is no `DataLoader` or makes no batches.
    """
    loader = _first_loader(trainer, stage)
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return False
    return loader.batch_sampler is not None and hasattr(loader.dataset, "__len__") and len(loader.dataset) > 0


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
