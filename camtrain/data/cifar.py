"""CIFAR-10 and CIFAR-100: 60,000 color images of 32x32 pixels."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.utils.data import Subset
from torchvision import datasets
from torchvision.transforms import v2

from camtrain.batch import Sample
from camtrain.data.class_subset import class_subset
from camtrain.data.image_data_module import ImageDataModule, Split
from camtrain.data.in_memory_samples import InMemorySamples
from camtrain.data.stratified_split import stratified_split
from camtrain.files import local_path
from camtrain.messages import checked_fraction


class _CIFAR(ImageDataModule):
    """The base of both CIFAR data sets.

    Args:
        root: The folder that holds, or will hold, torchvision's folder of the data set.
        download: Whether to download the data set into `root` if it is not there.
        val_fraction: The fraction of the 50,000 training images that is held out for validation, the same in every
            class. 0 trains on all of them and validates on the test images, as most papers do.
        classes: The classes to use, numbered in this order; null uses all.
        **kwargs: The arguments of `ImageDataModule`.
    """

    source: ClassVar[type[datasets.CIFAR10]]
    all_class_names: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        root: str = "data",
        download: bool = False,
        val_fraction: float = 0.1,
        classes: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = str(local_path(root, "root"))
        self.download = download
        self.val_fraction = checked_fraction("val_fraction", val_fraction, one=False)
        self._class_names = class_subset(self.all_class_names, classes)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, in the order of their indices."""
        return self._class_names

    def prepare_data(self) -> None:
        """Download the data set if `download` is true and it is not there yet."""
        if self.download:
            self.source(self.root, download=True)

    def default_train_transform(self) -> list[v2.Transform]:
        """The usual augmentation: a random 32x32 crop after padding with 4 black pixels, and a random flip."""
        return [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()]

    def samples(self, split: Split) -> Subset[Sample]:
        """The images of a split that belong to the chosen classes.

        Raises:
            FileNotFoundError: If the data set is not in `root`.
            ValueError: If the files of the data set are damaged.
        """
        on_test_images = split == "test" or (split == "val" and self.val_fraction == 0)
        source = self._test_source if on_test_images else self._train_source
        indices = list(range(len(source.targets)))
        if self.val_fraction > 0 and not on_test_images:
            # Split before choosing classes, so that an image is in the same split for every choice of classes.
            train, val = stratified_split(source.targets, self.val_fraction, self.seed)
            indices = train if split == "train" else val
        class_idx = {self.all_class_names.index(name): index for index, name in enumerate(self.class_names)}
        labels = [class_idx.get(target, -1) for target in source.targets]
        images = torch.from_numpy(source.data).permute(0, 3, 1, 2)
        return Subset(InMemorySamples(images, torch.tensor(labels)), [index for index in indices if labels[index] >= 0])

    @cached_property
    def _train_source(self) -> datasets.CIFAR10:
        return self._source(train=True)

    @cached_property
    def _test_source(self) -> datasets.CIFAR10:
        return self._source(train=False)

    def _source(self, train: bool) -> datasets.CIFAR10:
        folder = Path(self.root, self.source.base_folder).absolute()
        if not folder.is_dir():
            raise FileNotFoundError(
                f"`root`: expected {type(self).__name__} in {folder}, which does not exist; "
                f"`download=True` downloads it (in `prepare_data`, which a Trainer calls)"
            )
        try:
            return self.source(self.root, train=train)
        except RuntimeError as error:
            raise ValueError(
                f"`root`: files in {folder} are missing or damaged ({error}); delete that folder and get it again, "
                f"for instance with `download=True`"
            ) from error


class CIFAR10(_CIFAR):
    """CIFAR-10: 10 classes, 50,000 training and 10,000 test images of 32x32 pixels.

    Images are normalized with the mean and standard deviation of the pixels of the training images.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; read by
    `torchvision.datasets.CIFAR10`.

    Example:
        >>> CIFAR10(classes=["cat", "dog"]).class_names
        ['cat', 'dog']
    """

    source = datasets.CIFAR10
    default_mean = (0.4914, 0.4822, 0.4465)
    default_std = (0.2470, 0.2435, 0.2616)
    all_class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class CIFAR100(_CIFAR):
    """CIFAR-100: 100 classes, 50,000 training and 10,000 test images of 32x32 pixels.

    Images are normalized with the mean and standard deviation of the pixels of the training images.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; read by
    `torchvision.datasets.CIFAR100`.

    Example:
        >>> CIFAR100().num_classes
        100
    """

    source = datasets.CIFAR100
    default_mean = (0.5071, 0.4865, 0.4409)
    default_std = (0.2673, 0.2564, 0.2762)
    all_class_names = tuple(
        """
        apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
        can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
        dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
        lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter
        palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road
        rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower
        sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
        willow_tree wolf woman worm
        """.split()  # noqa: SIM905 (a list literal would take a hundred lines)
    )
