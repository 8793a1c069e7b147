"""What every data module shares: transforms, normalization and loaders."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Literal

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from camtrain.batch import Batch, collate
from camtrain.data.annotated_samples import AnnotatedSamples, annotated_indices
from camtrain.data.dilated_boxes import DilatedBoxes
from camtrain.data.sample_labels import sample_labels
from camtrain.data.transformed_samples import Samples, TransformedSamples

Split = Literal["train", "val", "test"]

from camtrain.networks.preprocessing import IMAGENET_MEAN, IMAGENET_STD

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
    normalization, and says with `has_boxes` and `has_masks` what its samples carry; `batches_have_masks(split)` also
    counts the masks that a transform adds.

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
        extra_train_transform: Transforms of training images that run after those of `train_transform`, whether these
            are the data module's own or the user's; `camtrain.data.PlantDecoy` belongs here. They are part of the
            data, not of the preprocessing: photos of one's own that are explained do not go through them.
        extra_eval_transform: The same for validation and test images, after `eval_transform`.
        annotated_fraction: Of which share of the training images boxes and masks are used, from 0 to 1; the same share
            of every class, chosen by `seed`, the images of a smaller share among those of a larger one. The others get
            no boxes and a mask that is nowhere true, after all transforms. Images without annotation of their own
            count as well. Validation and test images keep theirs.
        box_dilation: By which fraction of its width and height each side of a training image's box is moved outward,
            up to the border of the image as it is stored; 0.25 makes a box half as wide again. Masks stay as they are,
            and so do the boxes of validation and test images.

    Raises:
        ValueError: if an argument is out of its range; when a data set is made, if `annotated_fraction` or
            `box_dilation` is given and there is nothing for it to act on.

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
        extra_train_transform: list[v2.Transform] | None = None,
        extra_eval_transform: list[v2.Transform] | None = None,
        annotated_fraction: float = 1.0,
        box_dilation: float = 0.0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"`batch_size`: expected at least 1, got {batch_size}")
        if num_workers < 0:
            raise ValueError(f"`num_workers`: expected 0 or more, got {num_workers}")
        if seed < 0:
            raise ValueError(f"`seed`: expected 0 or more, got {seed}")
        if not 0 <= annotated_fraction <= 1:
            raise ValueError(f"`annotated_fraction`: expected 0 to 1, got {annotated_fraction}")
        if not 0 <= box_dilation < math.inf:
            raise ValueError(f"`box_dilation`: expected 0 or more, got {box_dilation}")
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
        self._extra_train_transform = extra_train_transform or []
        self._extra_eval_transform = extra_eval_transform or []
        self.annotated_fraction = annotated_fraction
        self.box_dilation = box_dilation
        self._data_sets: dict[Split, Samples] = {}

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their indices."""

    @abstractmethod
    def samples(self, split: Split) -> Samples:
        """The raw samples of a split: images uint8 (3, H, W), boxes and masks untransformed."""

    @property
    def has_boxes(self) -> bool:
        """Whether the samples come with boxes."""
        return False

    @property
    def has_masks(self) -> bool:
        """Whether the samples come with masks, before any transform."""
        return False

    def batches_have_masks(self, split: Split) -> bool:
        """Whether batches of a split have masks: the samples' own, or those of a transform with `adds_mask = True`."""
        return self.has_masks or _adds_mask([*self.transform_of(split), *self._extra_transform_of(split)])

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

    def data_set(self, split: Split) -> Samples:
        """The transformed samples of a split; made once.

        Raises:
            ValueError: if there are none, or if `annotated_fraction` or `box_dilation` has nothing to act on.
        """
        if split not in self._data_sets:
            self._check_annotation()
            samples = self.samples(split)
            if len(samples) == 0:
                raise ValueError(f"there are no {split} images of the classes {', '.join(self.class_names)}")
            self._data_sets[split] = self._annotated(split, samples)
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
        """The transforms that prepare the images of a split, the user's or the default ones; not the extra ones."""
        if split == "train":
            return self.default_train_transform() if self._train_transform is None else self._train_transform
        return self.default_eval_transform() if self._eval_transform is None else self._eval_transform

    def _extra_transform_of(self, split: Split) -> list[v2.Transform]:
        return self._extra_train_transform if split == "train" else self._extra_eval_transform

    def _check_annotation(self) -> None:
        if self.annotated_fraction < 1 and not (self.has_boxes or self.batches_have_masks("train")):
            raise ValueError(
                f"`annotated_fraction`: expected 1 for {type(self).__name__} whose training images have neither boxes "
                f"nor masks, got {self.annotated_fraction}"
            )
        if self.box_dilation > 0 and not self.has_boxes:
            raise ValueError(
                f"`box_dilation`: expected 0 for {type(self).__name__} whose images have no boxes, "
                f"got {self.box_dilation}"
            )

    def _annotated(self, split: Split, samples: Samples) -> Samples:
        """Samples of a split after all transforms, with as much of their annotation as is wanted."""
        training = split == "train"
        dilated = DilatedBoxes(samples, self.box_dilation) if training and self.box_dilation > 0 else samples
        transform = [*self.transform_of(split), *self._extra_transform_of(split)]
        transformed = TransformedSamples(dilated, transform, self.mean, self.std)
        if not training or self.annotated_fraction == 1:
            return transformed
        # Last, so that it also hides the masks which transforms add.
        chosen = annotated_indices(sample_labels(samples), self.annotated_fraction, self.seed)
        return AnnotatedSamples(transformed, chosen)

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


def _adds_mask(transforms: Iterable[Any]) -> bool:
    # Compose and its like hold other transforms.
    return any(
        getattr(transform, "adds_mask", False) or _adds_mask(getattr(transform, "transforms", ()))
        for transform in transforms
    )


def _can_pin_memory() -> bool:
    # DataLoader warns if it is asked to pin memory without an accelerator, or with Apple's, whose memory is shared.
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator is not None and accelerator.type != "mps"
