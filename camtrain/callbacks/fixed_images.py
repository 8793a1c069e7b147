"""The same few images of a data set in every epoch, for any sampler and any number of processes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch.utils.data import DataLoader, IterableDataset

from camtrain.batch import Batch, evenly_spaced, spread_parts
from camtrain.gradients.seeded import seeded
from camtrain.running_loader import running_loader


def fixed_images(trainer: Trainer, pl_module: LightningModule, stage: str, count: int) -> Batch | None:
    """Images evenly spaced over the data set of a stage, as one batch on the device.

    Args:
        trainer: The trainer that runs the stage.
        pl_module: The module that it runs.
        stage: `val`, `test` or `predict`.
        count: The number of images; a smaller data set gives fewer.

    Returns:
        The images, or `None` if the data set cannot be read by index.
    """
    return next(fixed_batches(trainer, pl_module, stage, count, count), None)


def fixed_batches(
    trainer: Trainer, pl_module: LightningModule, stage: str, count: int, batch_size: int, *, shared: bool = False
) -> Iterator[Batch]:
    """Batches of images evenly spaced over the data set of a stage, on the device.

    Each batch has images from all over the data set (see `spread_parts`). They go through the loader's `collate_fn`
    and the hooks of the module and the data module around the transfer, as in the stage itself. The random generators
    are left as found. If there are several loaders, the first one is used; if its sampler takes some images alone
    (`SubsetRandomSampler`), only these.

    Args:
        trainer: The trainer that runs the stage.
        pl_module: The module that it runs.
        stage: `val`, `test` or `predict`.
        count: The number of images; a smaller data set gives fewer.
        batch_size: The number of images in a batch.
        shared: Whether the processes divide the images among themselves; otherwise each process takes all of them.

    Yields:
        The batches; none if the data set cannot be read by index.
    """
    if not is_read_by_index(trainer, stage):
        return
    loader = running_loader(trainer, stage)
    samples: Any = loader.dataset
    indices = fixed_indices(loader, count)
    if shared:
        indices = indices[trainer.global_rank :: trainer.world_size]
    for part in spread_parts(indices, batch_size):
        with _same_randomness(pl_module.device):
            batch = loader.collate_fn([samples[index] for index in part])
            batch = trainer.precision_plugin.convert_input(batch)
            batch = pl_module._on_before_batch_transfer(batch, dataloader_idx=0)
            batch = Batch.of(trainer.strategy.batch_to_device(batch, dataloader_idx=0))
        yield batch


def fixed_indices(loader: Any, count: int) -> list[int]:
    """The indices of images that are evenly spaced over those that a loader reads.

    Args:
        loader: A `DataLoader` over a data set with indices.
        count: The number of images; fewer if there are not as many.
    """
    chosen = getattr(getattr(loader, "sampler", None), "indices", None)
    among = range(len(loader.dataset)) if chosen is None else sorted(int(index) for index in chosen)
    return [among[place] for place in evenly_spaced(len(among), count)]


def is_read_by_index(trainer: Trainer, stage: str) -> bool:
    """Whether the data set of the stage can be read by index and is not empty.

    An iterable data set cannot be read by index, nor can a data set whose loader is not a `DataLoader` or makes no
    batches.
    """
    loader = running_loader(trainer, stage)
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return False
    return loader.batch_sampler is not None and hasattr(loader.dataset, "__len__") and len(loader.dataset) > 0


@contextmanager
def _same_randomness(device: torch.device) -> Iterator[None]:
    """Restore the state of every random generator that a data set may use, also after an error."""
    python = random.getstate()
    try:
        with seeded(None, device):
            yield
    finally:
        random.setstate(python)
