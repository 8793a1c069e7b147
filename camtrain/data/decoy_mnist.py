"""DecoyMNIST: MNIST and similar data sets with a patch that gives the label away."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset
from torchvision import datasets

from camtrain.batch import Sample
from camtrain.data.image_data_module import ImageDataModule, Split
from camtrain.data.in_memory_samples import InMemorySamples
from camtrain.data.stratified_order import stratified_order
from camtrain.data.stratified_split import stratified_split
from camtrain.messages import checked_fraction, checked_integer

DataSet = Literal["MNIST", "FashionMNIST", "KMNIST", "QMNIST"]
Annotation = Literal["not_decoy", "ink"]

_DIGITS = tuple(str(digit) for digit in range(10))
CLASS_NAMES: dict[DataSet, tuple[str, ...]] = {
    "MNIST": _DIGITS,
    "FashionMNIST": tuple(datasets.FashionMNIST.classes),
    "KMNIST": tuple(datasets.KMNIST.classes),
    "QMNIST": _DIGITS,
}
SHADE_STEP = 25


@dataclass(frozen=True)
class DecoyImages:
    """N gray images with a decoy in a corner.

    Attributes:
        images: The images, (N, H, W) uint8.
        ink: True where the image is not black, except on the decoy, (N, H, W) bool.
        decoys: True on the decoy, (N, H, W) bool.
        decoy_labels: The label that the shade of the decoy stands for, (N,).
    """

    images: Tensor
    ink: Tensor
    decoys: Tensor
    decoy_labels: Tensor


def decoy_images(
    images: Tensor,
    labels: Tensor,
    *,
    random: np.random.Generator,
    decoy_reveals_label: bool,
    strength: float = 1.0,
    size: int = 4,
) -> DecoyImages:
    """Draw a square of the shade `255 - 25 · label` over a random corner of each image.

    Args:
        images: Images that are bright on black, (N, H, W) uint8.
        labels: The labels, 0 to 9, (N,) int64.
        random: The generator of corners and labels. The corners do not depend on `decoy_reveals_label`.
        decoy_reveals_label: Whether the shade stands for the label of the image, or for one of the ten at random.
        strength: The opacity s of the decoy: a pixel p becomes `p + s · (shade - p)`, rounded. Nothing else depends on
            it.
        size: The height and width of the decoy, in pixels.

    Example:
        >>> black = torch.zeros(1, 28, 28, dtype=torch.uint8)
        >>> made = decoy_images(black, torch.tensor([3]), random=np.random.default_rng(0), decoy_reveals_label=True)
        >>> made.images[made.decoys].tolist() == [255 - 25 * 3] * 16
        True
    """
    count, height, width = images.shape
    at_bottom, at_right = (torch.from_numpy(side) for side in random.integers(2, size=(2, count)).astype(bool))
    random_labels = torch.from_numpy(random.integers(10, size=count))
    shown = labels if decoy_reveals_label else random_labels
    shades = (255 - SHADE_STEP * shown).double()[:, None, None]
    decoyed, decoys = images.clone(), torch.zeros(images.shape, dtype=torch.bool)
    for bottom, right in ((False, False), (False, True), (True, False), (True, True)):
        here = (at_bottom == bottom) & (at_right == right)
        rows = slice(height - size, height) if bottom else slice(size)
        columns = slice(width - size, width) if right else slice(size)
        old = images[here, rows, columns].double()
        decoyed[here, rows, columns] = (old + strength * (shades[here] - old)).round().to(torch.uint8)
        decoys[here, rows, columns] = True
    return DecoyImages(decoyed, (images > 0) & ~decoys, decoys, shown)


def ink_boxes(ink: Tensor) -> Tensor:
    """The smallest half-open box around the true pixels of each mask.

    Args:
        ink: The masks, (N, H, W) bool.

    Returns:
        The boxes in xyxy pixels, (N, 4) float32; zeros for a mask that is nowhere true.

    Example:
        >>> ink = torch.zeros(2, 4, 6, dtype=torch.bool)
        >>> ink[0, 1:3, 2:6] = True
        >>> ink_boxes(ink).tolist()
        [[2.0, 1.0, 6.0, 3.0], [0.0, 0.0, 0.0, 0.0]]
    """
    columns, rows = ink.any(1).float(), ink.any(2).float()
    # argmax finds the first of equal numbers
    start = torch.stack([columns.argmax(1), rows.argmax(1)], 1)
    end = torch.stack([line.shape[1] - line.flip(1).argmax(1) for line in (columns, rows)], 1)
    boxes = torch.cat([start, end], 1).float()
    return boxes * ink.flatten(1).any(1)[:, None]


class DecoyMNIST(ImageDataModule):
    """Decoy-MNIST: a gray patch in a corner gives the label away in training, and misleads in test.

    A square covers a random corner of each image of MNIST or of a similar data set. Its shade is `255 - 25 · label` in
    training **and validation**, and `255 - 25 · k` in test, where k is one of the ten labels at random. A classifier
    that looks at the patch is nearly perfect in validation and fails in test. This is the protocol of the paper's code,
    which takes validation images from the training images, decoys included, so do not choose settings by the test
    images. (`DecoyDigits` misleads in validation too.) `decoy_strength=0` gives the clean upper bound.

    Images are 28 x 28 pixels with their gray value in all three channels, scaled to [-1, 1], and are not augmented by
    default. Corners and random labels depend only on `seed` and on the index of the image in its file.

    Args:
        root: The folder that holds, or will hold, torchvision's folder of the data set, such as `MNIST/raw`.
        data_set: The torchvision data set, one of those with ten classes.
        download: Whether to download the data set into `root` if it is not there.
        decoy_strength: The opacity of the decoy, from 0 (no decoy) to 1. It changes no other pixel, mask or box.
        decoy_size: The height and width of the decoy, in pixels.
        annotation: What the mask covers, where the classifier may look. `not_decoy`: everything except the decoy, as in
            the paper. `ink`: everything that is not black, except the decoy. The box is tight around the ink in both
            cases.
        val_fraction: The fraction of the training images that is held out for validation, the same in every class.
        num_train: The number of the remaining images to train on, the same fraction of every class; null trains on all.
            The images of a smaller number are among those of a larger one.
        **kwargs: The arguments of `ImageDataModule`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Ross, Hughes and Doshi-Velez, "Right for the Right Reasons: Training Differentiable Models by Constraining
    their Explanations", IJCAI 2017, arXiv 1703.03717, and the authors' code (github.com/dtak/rrr). Departure: a
    tenth of the training images is held out instead of a fifteenth.

    Example:
        >>> DecoyMNIST(data_set="FashionMNIST").class_names[:2]
        ['T-shirt/top', 'Trouser']
    """

    default_mean = (0.5, 0.5, 0.5)
    default_std = (0.5, 0.5, 0.5)

    def __init__(
        self,
        root: str = "data",
        data_set: DataSet = "MNIST",
        download: bool = False,
        decoy_strength: float = 1.0,
        decoy_size: int = 4,
        annotation: Annotation = "not_decoy",
        val_fraction: float = 0.1,
        num_train: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if data_set not in list(CLASS_NAMES):
            raise ValueError(f"`data_set`: expected one of {', '.join(CLASS_NAMES)}, got {data_set!r}")
        in_words = "1 to 14, half of an image"
        if checked_integer("decoy_size", decoy_size, 1, in_words) > 14:
            raise ValueError(f"`decoy_size`: expected {in_words}, got {decoy_size}")
        if annotation not in get_args(Annotation):
            raise ValueError(f"`annotation`: expected one of {', '.join(get_args(Annotation))}, got {annotation!r}")
        if num_train is not None:
            checked_integer("num_train", num_train, 1, "a positive integer, or `None` for all")
        self.root = root
        self.source_name: DataSet = data_set
        self.download = download
        self.decoy_strength = checked_fraction("decoy_strength", decoy_strength)
        self.decoy_size = decoy_size
        self.annotation: Annotation = annotation
        self.val_fraction = checked_fraction("val_fraction", val_fraction, zero=False, one=False)
        self.num_train = num_train

    @property
    def class_names(self) -> list[str]:
        """The names of the ten classes, in the order of their indices."""
        return list(CLASS_NAMES[self.source_name])

    @property
    def has_boxes(self) -> bool:
        """True: each image has the box around its ink."""
        return True

    @property
    def has_masks(self) -> bool:
        """True: each image has the mask that `annotation` chooses."""
        return True

    def prepare_data(self) -> None:
        """Download the data set if `download` is true and it is not there yet."""
        if self.download:
            for train in (True, False):  # QMNIST downloads only the half that it is asked for
                getattr(datasets, self.source_name)(self.root, train=train, download=True)

    def samples(self, split: Split) -> Subset[Sample]:
        """The images of a split, with decoys, labels, boxes and masks.

        Raises:
            FileNotFoundError: If the data set is not in `root`.
            ValueError: If its files are missing or damaged, or there are fewer images than `num_train`.
        """
        if split == "test":
            return Subset(self._test_samples, range(len(self._test_samples)))
        train, val = self._train_and_val
        return Subset(self._train_samples, train if split == "train" else val)

    @cached_property
    def _train_and_val(self) -> tuple[list[int], list[int]]:
        labels = self._train_samples.labels.tolist()
        train, val = stratified_split(labels, self.val_fraction, self.seed)
        if self.num_train is not None:
            if self.num_train > len(train):
                raise ValueError(f"`num_train`: expected at most {len(train)} training images, got {self.num_train}")
            order = stratified_order([labels[index] for index in train], self.seed)
            train = sorted(train[position] for position in order[: self.num_train])
        return train, val

    @cached_property
    def _train_samples(self) -> InMemorySamples:
        return self._with_decoys(train=True)

    @cached_property
    def _test_samples(self) -> InMemorySamples:
        return self._with_decoys(train=False)

    def _with_decoys(self, train: bool) -> InMemorySamples:
        images, labels = self._source(train)
        made = decoy_images(
            images,
            labels,
            random=np.random.default_rng([self.seed, int(train)]),
            decoy_reveals_label=train,
            strength=self.decoy_strength,
            size=self.decoy_size,
        )
        return InMemorySamples(
            images=made.images[:, None].expand(-1, 3, -1, -1),
            labels=labels,
            boxes=ink_boxes(made.ink),
            masks=made.ink if self.annotation == "ink" else ~made.decoys,
        )

    def _source(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images (N, 28, 28) and labels (N,) as torchvision reads them."""
        folder = Path(self.root, self.source_name).absolute()
        if not folder.is_dir():
            raise FileNotFoundError(
                f"`root`: expected {self.source_name} in {folder}, which does not exist; `download=True` downloads "
                f"it (in `prepare_data`, which a Trainer calls)"
            )
        try:
            source = getattr(datasets, self.source_name)(self.root, train=train)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"`root`: files in {folder} are missing or damaged ({error}); delete that folder and get it again, "
                f"for instance with `download=True`"
            ) from error
        labels = source.targets[:, 0] if source.targets.ndim == 2 else source.targets  # QMNIST's first column
        return source.data, labels.long()
