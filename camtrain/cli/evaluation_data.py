"""The images of an evaluation: those of a data module, prepared as the network expects them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from camtrain.batch import Batch, evenly_spaced
from camtrain.pictures import denormalized


class EvaluationImages:
    """Images of a data module, some of them or all, always the same and always in the same batches.

    Args:
        data: it gives `test_dataloader` or `val_dataloader`; its data set is read by index, through the loader's own
            `collate_fn`.
        split: which of the two.
        limit: how many, evenly spaced over the data set, as the callbacks choose them; `None` takes all.
        batch_size: images in a batch.

    Attributes:
        batches: indices in the data set, a list for each batch.

    Raises:
        ValueError: if there is no such loader, or its data set can not be read by index or is empty.
    """

    def __init__(
        self, data: LightningDataModule, split: Literal["test", "val"], limit: int | None, batch_size: int
    ) -> None:
        self._data = data
        data.prepare_data()
        data.setup("test" if split == "test" else "validate")
        try:
            loader: Any = data.test_dataloader() if split == "test" else data.val_dataloader()
        except MisconfigurationException as error:  # what Lightning's own data module says in place of a loader
            raise ValueError(f"`--split`: {type(data).__name__} has no {split} images: {error}") from error
        samples: Any = getattr(loader, "dataset", None)
        if not isinstance(loader, DataLoader) or isinstance(samples, IterableDataset):
            raise ValueError(
                f"`--split`: expected one DataLoader over a data set with indices from {type(data).__name__}."
                f"{split}_dataloader, got {type(loader).__name__}"
            )
        self._samples = samples
        self._collate: Any = loader.collate_fn
        total = len(samples)
        if total == 0:
            raise ValueError(f"`--split`: there are no {split} images")
        indices = evenly_spaced(total, total if limit is None else limit)
        self.batches = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]

    def __len__(self) -> int:
        return sum(map(len, self.batches))

    def batch(self, indices: Sequence[int]) -> Batch:
        """Some of the images."""
        return Batch.of(self._collate([self._samples[index] for index in indices]))

    def pictures(self, indices: Sequence[int]) -> Tensor:
        """What some of the images look like, (N, 3, H, W) in [0, 1]."""
        return denormalized(self.batch(indices).images, self._data)
