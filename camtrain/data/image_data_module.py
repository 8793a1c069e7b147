"""What every data module shares: transforms, normalization and loaders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from camtrain.batch import Batch, collate
from camtrain.data.transformed_samples import Samples, TransformedSamples

Split = Literal["train", "val", "test"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_SPLITS_OF_STAGE: dict[str | None, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("test",),
    None: ("train", "val", "test"),
}


class ImageDataModule(LightningDataModule, ABC):
    """Loaders of training, validation and test images that yield `camtrain.batch.Batch`.

    A subclass gives `class_names`, available as soon as it is constructed, and `samples(split)`, the raw images of a
    split with their labels and, where known, boxes and masks. It may give default transforms and a default
    normalization, and says with `has_boxes` and `has_masks` what its samples carry.

    `predict` uses the test images. Training batches are shuffled with PyTorch's global generator, and a last batch
    that is not full is dropped, since BatchNorm cannot train on a single image.

    Args:
        batch_size: Images per batch, in training and evaluation.
        num_workers: Processes that load and transform images; 0 does it in the training process, which is best for
            small images held in memory and where the processor trains the network too.
        seed: Seed of whatever the data module draws once: its splits and, for made images, the images. The order of
            training batches and random transforms follow PyTorch's own seed.
        train_transform: `torchvision.transforms.v2` modules for training images, in place of the data module's own.
            They see image, boxes and mask together, and run before the conversion to float and the normalization.
            An empty list means none; null means the data module's own. A transform of one's own derives from
            `torchvision.transforms.v2.Transform`.
        eval_transform: The same for validation and test images.
        mean: Mean per RGB channel, in [0, 1], that is subtracted from images; null means the data module's own.
        std: Standard deviation per RGB channel, in [0, 1], that images are divided by; null means the data module's
            own.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        A data module of one's own.

        >>> from torchvision import tv_tensors
        >>> class Squares(ImageDataModule):
        ...     class_names = ["dark", "bright"]
        ...     def samples(self, split):
        ...         image = torch.zeros(3, 8, 8, dtype=torch.uint8)
        ...         return [{"image": tv_tensors.Image(image + 255 * label), "label": label} for label in (0, 1)]
        >>> data = Squares(batch_size=2, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> batch = next(iter(data.val_dataloader()))
        >>> batch.images.amax((1, 2, 3)), batch.labels, data.num_classes
        (tensor([-1.,  1.]), tensor([0, 1]), 2)
    """

    default_mean: tuple[float, float, float] = IMAGENET_MEAN
    default_std: tuple[float, float, float] = IMAGENET_STD

    def __init__(
        self,
        batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
        train_transform: list[v2.Transform] | None = None,
        eval_transform: list[v2.Transform] | None = None,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"`batch_size`: expected at least 1, got {batch_size}")
        if num_workers < 0:
            raise ValueError(f"`num_workers`: expected 0 or more, got {num_workers}")
        if seed < 0:
            raise ValueError(f"`seed`: expected 0 or more, got {seed}")
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.mean = self.default_mean if mean is None else mean
        self.std = self.default_std if std is None else std
        if len(self.mean) != 3:
            raise ValueError(f"`mean`: expected three numbers, got {self.mean}")
        if len(self.std) != 3 or not all(value > 0 for value in self.std):
            raise ValueError(f"`std`: expected three positive numbers, got {self.std}")
        self._train_transform = train_transform
        self._eval_transform = eval_transform
        self._data_sets: dict[Split, TransformedSamples] = {}

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their indices."""

    @abstractmethod
    def samples(self, split: Split) -> Samples:
        """The raw samples of a split: images uint8 (3, H, W), boxes and masks untransformed."""

    @property
    def has_boxes(self) -> bool:
        """Whether images come with boxes."""
        return False

    @property
    def has_masks(self) -> bool:
        """Whether images come with masks."""
        return False

    def default_train_transform(self) -> list[v2.Transform]:
        """Transforms of training images where the user gives none: by default those for evaluation."""
        return self.default_eval_transform()

    def default_eval_transform(self) -> list[v2.Transform]:
        """Transforms of validation and test images where the user gives none; they draw nothing at random."""
        return []

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    def setup(self, stage: str | None = None) -> None:
        """Make the data sets of a stage ahead of their first use.

        Args:
            stage: `fit`, `validate`, `test` or `predict`, as Lightning says; `None` for all.
        """
        for split in _SPLITS_OF_STAGE[stage]:
            self.data_set(split)

    def data_set(self, split: Split) -> TransformedSamples:
        """The transformed samples of a split; made once.

        Raises:
            ValueError: if there are none.
        """
        if split not in self._data_sets:
            samples = self.samples(split)
            if len(samples) == 0:
                raise ValueError(f"there are no {split} images of the classes {', '.join(self.class_names)}")
            self._data_sets[split] = TransformedSamples(samples, self.transform_of(split), self.mean, self.std)
        return self._data_sets[split]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training images, shuffled, in full batches.

        Raises:
            ValueError: if there are fewer training images than one batch has.
        """
        size = len(self.data_set("train"))
        if size < self.batch_size:
            raise ValueError(
                f"`batch_size`: training uses full batches only, so expected at most the {size} training images, "
                f"got {self.batch_size}"
            )
        return self._loader("train", training=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation images, in order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test images, in order."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test images, in order."""
        return self._loader("test")

    def denormalize(self, images: Tensor) -> Tensor:
        """Pictures of normalized images: `image · std + mean`, clamped to [0, 1].

        Args:
            images: (N, 3, H, W) or (3, H, W), as in a batch.

        Returns:
            RGB in [0, 1], of the same shape.
        """
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device)[:, None, None]
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device)[:, None, None]
        return (images * std + mean).clamp(0, 1)

    def transform_of(self, split: Split) -> list[v2.Transform]:
        """The transforms of a split: the user's, or the default ones."""
        if split == "train":
            return self.default_train_transform() if self._train_transform is None else self._train_transform
        return self.default_eval_transform() if self._eval_transform is None else self._eval_transform

    def _loader(self, split: Split, training: bool = False) -> DataLoader[Batch]:
        return DataLoader(
            self.data_set(split),  # type: ignore[arg-type]  # typed by its items, not by what `collate` makes of them
            batch_size=self.batch_size,
            shuffle=training,
            drop_last=training,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=_can_pin_memory(),
            collate_fn=collate,
        )


def _can_pin_memory() -> bool:
    # DataLoader warns if it is asked to pin memory without an accelerator, or with Apple's, whose memory is shared.
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator is not None and accelerator.type != "mps"
