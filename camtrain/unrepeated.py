"""The images of a batch without those that a distributed sampler repeats."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DistributedSampler

from camtrain.batch import Batch


def unrepeated(batch: Batch, loader: Any, batch_idx: int) -> Batch:
    """Leave out the images of a batch that were added so that all processes have equally many.

    A `DistributedSampler` deals the images out in turn, and begins again at the first when they do not divide evenly.
    Counted twice, they would change the scores of an evaluation.

    Args:
        batch: A batch of the loader.
        loader: The loader of this process.
        batch_idx: The number of the batch in this process.

    Returns:
        The batch, perhaps without its last images; empty if all of them were added. Unchanged if the loader has another
        sampler or makes its batches in its own way.

    Example:
        >>> import torch
        >>> from torch.utils.data import DataLoader
        >>> sampler = DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False)  # 1, 3, and 0 again
        >>> loader = DataLoader(range(5), batch_size=2, sampler=sampler)
        >>> len(unrepeated(Batch(torch.zeros(2, 3, 8, 8)), loader, 0))
        2
        >>> len(unrepeated(Batch(torch.zeros(1, 3, 8, 8)), loader, 1))
        0
    """
    sampler, size = getattr(loader, "sampler", None), getattr(loader, "batch_size", None)
    if not isinstance(sampler, DistributedSampler) or sampler.drop_last or size is None:
        return batch
    total = len(sampler.dataset)  # type: ignore[arg-type]  # a data set without a length has no such sampler
    places = (sampler.rank + sampler.num_replicas * (batch_idx * size + place) for place in range(len(batch)))
    kept = [place for place, position in enumerate(places) if position < total]
    return batch if len(kept) == len(batch) else batch.subset(kept)
