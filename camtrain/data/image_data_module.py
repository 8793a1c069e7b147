"""The base of all data modules: transforms, normalization and loaders."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from camtrain.batch import Batch, collate
from camtrain.data.annotated_samples import AnnotatedSamples, annotated_indices
from camtrain.data.balanced_sampler import balanced_sampler
from camtrain.data.data_summary import SplitCounts, split_counts, summary_table
from camtrain.data.decoded_samples import DecodedSamples, fixed_beginning
from camtrain.data.dilated_boxes import DilatedBoxes
from camtrain.data.sample_labels import sample_labels, strata
from camtrain.data.transformed_samples import Samples, TransformedSamples
from camtrain.data.whole_batches import WholeBatches
from camtrain.messages import checked_fraction, checked_integer, checked_number, positive_integer
from camtrain.networks.preprocessing import IMAGENET_MEAN, IMAGENET_STD, check_mean, check_scale, check_std

Split = Literal["train", "val", "test"]

_SPLITS_OF_STAGE: dict[str | None, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("test",),
    None: ("train", "val", "test"),
}


class ImageDataModule(LightningDataModule, ABC):
    """Loaders of training, validation and test images that yield `camtrain.batch.Batch`.

    A subclass defines `class_names`, which must be known once it is constructed, and `samples(split)`, the raw images
    of a split with their labels and, if known, boxes and masks. It may set default transforms and a default
    normalization. `has_boxes` and `has_masks` say what its samples have; `batches_have_masks(split)` also includes the
    masks that a transform adds. If samples have a `group`, `group_names` names the groups.

    Images have any number of channels, that of `mean` and `std`. `shown_channels` says which of them pictures show.

    `predict` uses the test images. Training batches are shuffled by PyTorch's global generator. The last batch is
    dropped unless it is full, since BatchNorm cannot train on a single image.

    Args:
        batch_size: The number of images per batch, in training and evaluation.
        num_workers: The number of processes that load and transform images. 0 uses the training process, which is best
            for small images in memory and for training on the CPU.
        seed: The seed of what the data module draws once: its splits and, if it makes images, the images. The order of
            training batches and random transforms depend on PyTorch's own seed.
        train_transform: The `torchvision.transforms.v2` transforms of training images, instead of the data module's
            own. They transform image, boxes and mask together, and run before the conversion to float and the
            normalization. An empty list means none; null means the data module's own. Your own transform derives from
            `torchvision.transforms.v2.Transform`.
        eval_transform: The same for validation and test images.
        mean: The mean of each channel, in [0, 1], which is subtracted from images; null is the data module's own.
        std: The standard deviation of each channel, in [0, 1], by which images are divided; null is the data module's
            own.
        extra_train_transform: Transforms of training images that run after `train_transform` or the data module's own,
            such as `camtrain.data.PlantDecoy`. They belong to the data and not to the preprocessing: your own photos
            do not go through them when they are explained.
        extra_eval_transform: The same for validation and test images, after `eval_transform`.
        annotated_fraction: The fraction of the training images whose boxes and masks are used, from 0 to 1. It is the
            same in every class; `seed` chooses the images, and those of a smaller fraction are among those of a larger
            one. After all transforms, the other images get no boxes and a mask that is nowhere true. Images without
            annotation count too. Validation and test images keep their annotation.
        box_dilation: The fraction of its width or height by which each side of a training image's box is moved outward,
            up to the border of the stored image; 0.25 makes a box half as wide again. Masks, and the boxes of
            validation and test images, are unchanged.
        balanced_classes: Whether the images of an epoch are drawn so that each class is equally frequent, as often as
            there are images, with repetition: an image of a rare class occurs several times, and not all of a frequent
            class occur.
        in_memory: Whether images are read once, before the first batch, and kept in memory, where each channel of a
            pixel takes a byte, or four of a floating-point image. It is for small images. `Resize`, `CenterCrop` and
            the like at the beginning of the transforms run once. If only random crops and flips follow, these and the
            normalization are applied to whole batches, each image with a draw of its own, and in training on the
            device that trains. With any other transform, each image of a batch is transformed by itself. Which images
            a batch has, and the distribution of crops and flips, do not change.

    Raises:
        ValueError: If an argument is out of range, or, when a data set is made, if `annotated_fraction` or
            `box_dilation` is set and the data set has no annotation to which it applies.

    Example:
        Your own data module:

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

    default_mean: tuple[float, ...] = IMAGENET_MEAN
    default_std: tuple[float, ...] = IMAGENET_STD
    shown_channels: Sequence[int] | None = None
    """The channels that pictures show; see `camtrain.pictures.shown_colors`."""
    added_settings: ClassVar[dict[str, Any]] = {"in_memory": False}

    def __init__(
        self,
        batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
        train_transform: list[v2.Transform] | None = None,
        eval_transform: list[v2.Transform] | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        extra_train_transform: list[v2.Transform] | None = None,
        extra_eval_transform: list[v2.Transform] | None = None,
        annotated_fraction: float = 1.0,
        box_dilation: float = 0.0,
        balanced_classes: bool = False,
        in_memory: bool = False,
    ) -> None:
        super().__init__()
        self.batch_size = positive_integer("batch_size", batch_size)
        self.num_workers = checked_integer("num_workers", num_workers, at_least=0)
        self.seed = checked_integer("seed", seed, at_least=0)
        self.mean = self.default_mean if mean is None else mean
        self.std = self.default_std if std is None else std
        check_mean(self.mean)
        check_std(self.std, self.mean)
        if getattr(self, "pixel_format", None) is None:  # whose range may be narrower than that of the pixels
            check_scale(self.mean, self.std)
        self._train_transform = train_transform
        self._eval_transform = eval_transform
        self._extra_train_transform = extra_train_transform or []
        self._extra_eval_transform = extra_eval_transform or []
        self.annotated_fraction = checked_fraction("annotated_fraction", annotated_fraction)
        self.box_dilation = checked_number("box_dilation", box_dilation, at_least=0)
        self.balanced_classes = balanced_classes
        self.in_memory = in_memory
        if in_memory and num_workers:
            raise ValueError(
                "`num_workers`: expected 0 with `in_memory`, which makes batches in the training process, got "
                f"{num_workers}"
            )
        self._data_sets: dict[Split, Samples] = {}

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their indices."""

    @abstractmethod
    def samples(self, split: Split) -> Samples:
        """The raw samples of a split before any transform: images (C, H, W), boxes and masks.

        Images are uint8, or floating-point numbers in [0, 1].
        """

    @property
    def has_boxes(self) -> bool:
        """Whether the samples have boxes."""
        return False

    @property
    def has_masks(self) -> bool:
        """Whether the samples have masks before any transform."""
        return False

    @property
    def group_names(self) -> list[str] | None:
        """The names of the groups of images whose accuracy is logged for itself, by their index; `None` if none."""
        return None

    def batches_have_masks(self, split: Split) -> bool:
        """Whether the batches of a split have masks, from the samples or from a transform with `adds_mask = True`."""
        return self.has_masks or _adds_mask([*self.transform_of(split), *self._extra_transform_of(split)])

    def default_train_transform(self) -> list[v2.Transform]:
        """The transforms of training images unless the user sets them: by default those for evaluation."""
        return self.default_eval_transform()

    def default_eval_transform(self) -> list[v2.Transform]:
        """The transforms of validation and test images unless the user sets them; they are not random."""
        return []

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def num_channels(self) -> int:
        """C, the number of channels of the images."""
        return len(self.mean)

    def class_frequencies(self) -> Tensor:
        """The fraction of the training images that show each class, (K,), as they are drawn.

        Balanced weights of a classification loss are computed from it.

        Example:
            >>> from camtrain.data import DecoyDigits
            >>> round(float(DecoyDigits().class_frequencies().sum()), 6)
            1.0
        """
        labels = sample_labels(self.data_set("train"), of_all_classes=True)
        shown = [index for label in labels for index in (label if isinstance(label, tuple) else (label,))]
        counts = torch.bincount(torch.tensor(shown, dtype=torch.long), minlength=self.num_classes).double()
        if self.balanced_classes:
            return (counts > 0) / (counts > 0).sum()
        return counts / len(labels)

    def summary(self, splits: Sequence[Split] = ("train", "val", "test")) -> str:
        """A table of how many images, classes, boxes and masks splits have, as far as known without reading an image.

        Boxes and masks are counted before transforms, which may crop them away or add masks.

        Args:
            splits: The splits to count.

        Raises:
            ValueError: If a split is empty, or its annotation cannot be understood.
        """
        counts: dict[str, SplitCounts] = {split: split_counts(self.data_set(split)) for split in splits}
        return summary_table(counts, self.class_names, self.group_names)

    def setup(self, stage: str | None = None) -> None:
        """Make the data sets of a stage before their first use.

        Args:
            stage: `fit`, `validate`, `test` or `predict`, as Lightning passes it; `None` makes all.
        """
        for split in _SPLITS_OF_STAGE[stage]:
            self.data_set(split)

    def data_set(self, split: Split) -> Samples:
        """The transformed samples of a split; they are made once.

        Raises:
            ValueError: If the split is empty, or if `annotated_fraction` or `box_dilation` is set and the data set has
                no annotation to which it applies.
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
            ValueError: If there are fewer training images than `batch_size` in each process.
        """
        processes = int(getattr(self.trainer, "world_size", 1))
        size = len(self.data_set("train"))
        of_process = math.ceil(size / processes)
        if of_process < self.batch_size:
            share = f", {of_process} for each of {processes} processes" if processes > 1 else ""
            raise ValueError(
                f"`batch_size`: training uses full batches only, so expected at most the {size} training "
                f"images{share}, got {self.batch_size}"
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
        """Undo the normalization: `image · std + mean`, clamped to [0, 1].

        Args:
            images: Normalized images, (N, C, H, W) or (C, H, W).

        Returns:
            All channels in [0, 1], in the same shape; `camtrain.pictures.shown_colors` makes a picture of them.
        """
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device)[:, None, None]
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device)[:, None, None]
        return (images * std + mean).clamp(0, 1)

    def transform_of(self, split: Split) -> list[v2.Transform]:
        """The transforms of the images of a split, either the user's or the default ones, without the extra ones."""
        if split == "train":
            return self.default_train_transform() if self._train_transform is None else self._train_transform
        return self.default_eval_transform() if self._eval_transform is None else self._eval_transform

    def _extra_transform_of(self, split: Split) -> list[v2.Transform]:
        return self._extra_train_transform if split == "train" else self._extra_eval_transform

    def _check_annotation(self) -> None:
        if self.annotated_fraction < 1 and not (self.has_boxes or self.batches_have_masks("train")):
            raise ValueError(
                f"`annotated_fraction`: expected 1 for {type(self).__name__}, whose training images have neither boxes "
                f"nor masks, got {self.annotated_fraction}"
            )
        if self.box_dilation > 0 and not self.has_boxes:
            raise ValueError(
                f"`box_dilation`: expected 0 for {type(self).__name__}, whose images have no boxes, "
                f"got {self.box_dilation}"
            )

    def _annotated(self, split: Split, samples: Samples) -> Samples:
        """The samples of a split after all transforms, with boxes dilated and annotations hidden as set."""
        training = split == "train"
        raw = DilatedBoxes(samples, self.box_dilation) if training and self.box_dilation > 0 else samples
        transform = [*self.transform_of(split), *self._extra_transform_of(split)]
        if self.in_memory:
            fixed = fixed_beginning(transform)
            raw, transform = DecodedSamples(raw, transform[:fixed]), transform[fixed:]
        transformed: Samples = TransformedSamples(raw, transform, self.mean, self.std)
        chosen: list[int] | None = None
        if training and self.annotated_fraction < 1:
            # Last, so that it also hides the masks that transforms add.
            chosen = annotated_indices(strata(sample_labels(samples)), self.annotated_fraction, self.seed)
            transformed = AnnotatedSamples(transformed, chosen)
        if isinstance(raw, DecodedSamples):
            return WholeBatches(transformed, raw, transform, self.mean, self.std, chosen)
        return transformed

    def _loader(self, split: Split, training: bool = False) -> DataLoader[Batch]:
        balanced = training and self.balanced_classes
        samples = self.data_set(split)
        if training and isinstance(samples, WholeBatches) and self.trainer is not None:
            samples = samples.on(self.trainer.strategy.root_device)
        return DataLoader(
            samples,  # type: ignore[arg-type]  # typed by its items, not by what `collate` makes of them
            batch_size=self.batch_size,
            shuffle=training and not balanced,
            sampler=balanced_sampler(sample_labels(samples, of_all_classes=True)) if balanced else None,
            drop_last=training,
            num_workers=self.num_workers,
            # In training each epoch seeds its workers by a generator that checkpoints keep. Workers that went on would
            # have generators of their own, which a resumed training does not know.
            persistent_workers=self.num_workers > 0 and not training,
            # Batches in memory are on their device already, or made at once.
            pin_memory=_can_pin_memory() and not (training and self.in_memory),
            collate_fn=collate,
        )


def _adds_mask(transforms: Iterable[Any]) -> bool:
    # Compose and similar classes hold other transforms.
    return any(
        getattr(transform, "adds_mask", False) or _adds_mask(getattr(transform, "transforms", ()))
        for transform in transforms
    )


def _can_pin_memory() -> bool:
    # DataLoader warns about pinned memory without an accelerator, and with Apple's, whose memory is shared.
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator is not None and accelerator.type != "mps"
