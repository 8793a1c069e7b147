"""The benchmark of weakly supervised localization: CUB, ILSVRC and OpenImages, with its splits and transforms."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from torchvision.transforms import v2

from camtrain.data.image_data_module import ImageDataModule, Split
from camtrain.data.squash import Squash
from camtrain.data.stratified_order import stratified_order
from camtrain.data.wsol_metadata import CLASS_LABELS, PROXY_IDS, WSOLImage, wsol_images
from camtrain.data.wsol_samples import WSOLSamples
from camtrain.files import local_path
from camtrain.messages import DataError, positive_integer

Benchmark = Literal["CUB", "ILSVRC", "OpenImages"]


class WSOLData(ImageDataModule):
    """The benchmark of Choe et al. for weakly supervised object localization, on CUB, ILSVRC (ImageNet) or OpenImages.

    The images are at `root/<benchmark>/<path>`, and the metadata of the authors' repository at
    `metadata_root/<benchmark>/<train|val|test>`: `image_ids.txt`, `class_labels.txt`, `image_sizes.txt` and
    `localization.txt`. CUB and ILSVRC come with boxes. OpenImages comes with masks, and with ignored pixels, which
    belong to objects of the class that nobody outlined; `pixel_average_precision` leaves them out.

    The splits are those of the benchmark:

    - train is its `train-weaksup`, of which training uses the labels alone, unless a regularizer uses boxes;
    - val is its `train-fullsup`, images that were annotated to choose settings by: λ, the learning rate, the threshold
      of boxes (`box_threshold` of `camtrain evaluate`), or the method of the maps;
    - test is scored once, with the network as it is at the end of the training (`last.ckpt`).

    Training images are scaled to 256×256, cropped to 224×224 at random, and flipped. Validation and test images are
    squashed to 224×224 without a crop, and their boxes with them (see `Squash`). `image_size` scales both numbers.

    Published figures are `max_box_accuracy_v2` on CUB and ILSVRC, and `pixel_average_precision` on OpenImages, of the
    map of the label (`class_of: label`); `top_1_localization`, `top_5_localization` and `gt_known_localization` are the
    older ones. For CAM with a ResNet-50, the authors report 63.0 on CUB, 63.7 on ILSVRC and 58.5 on OpenImages. The
    boxes of a map differ from the authors' in details that `MaxBoxAccuracy` lists. On 250 made-up maps, the accuracy
    differed from that of the authors' rule by 0.1 points.

    Args:
        benchmark: The set of images.
        root: The folder that holds `CUB`, `ILSVRC` or `OpenImages` with the images.
        metadata_root: The folder of the metadata, `metadata` in the authors' repository.
        masks_root: The folder that holds `OpenImages` with the masks; null is `root`.
        image_size: The height and width of the images in a batch, in pixels.
        val_images_per_class: The number of validation images per class, chosen by `seed`; null uses all. The benchmark
            has 10 on ILSVRC, 5 on CUB and 25 on OpenImages, of which its own tables use 10, 5 and 5.
        proxy: Whether training uses the smaller list `image_ids_proxy.txt`, which is meant for the search of settings.
        **kwargs: The arguments of `ImageDataModule`.

    Raises:
        FileNotFoundError: If the metadata or the first image of a split are not there.
        ValueError: If an argument is out of range, or the metadata cannot be understood.

    Source:
        Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020, arXiv 2001.07437;
        github.com/clovaai/wsolevaluation, whose README says how to get the images.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        root: str = "dataset",
        metadata_root: str = "metadata",
        masks_root: str | None = None,
        image_size: int = 224,
        val_images_per_class: int | None = None,
        proxy: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if benchmark not in get_args(Benchmark):
            raise ValueError(f"`benchmark`: expected one of {', '.join(get_args(Benchmark))}, got {benchmark!r}")
        self.image_size = positive_integer("image_size", image_size)
        if val_images_per_class is not None:
            val_images_per_class = positive_integer("val_images_per_class", val_images_per_class)
        self.benchmark = benchmark
        self.folder = local_path(root, "root").absolute() / benchmark
        self.metadata_folder = local_path(metadata_root, "metadata_root").absolute() / benchmark
        of_masks = None if masks_root is None else local_path(masks_root, "masks_root")
        self.masks_folder = self.folder if of_masks is None else of_masks.absolute() / benchmark
        self.val_images_per_class = val_images_per_class
        self.proxy = proxy
        for argument, folder in (("metadata_root", self.metadata_folder), ("masks_root", self.masks_folder)):
            if not folder.is_dir() and (argument == "metadata_root" or masks_root is not None):
                raise FileNotFoundError(f"`{argument}`: expected the folder {folder}, which does not exist")
        if proxy and not (self.metadata_folder / "train" / PROXY_IDS).is_file():
            raise FileNotFoundError(f"`proxy`: expected {self.metadata_folder / 'train' / PROXY_IDS}, found none")
        self._known: dict[Split, list[WSOLImage]] = {}
        self._class_names = self._names_of_classes()

    @property
    def class_names(self) -> list[str]:
        """The folders of the training images, if each class has one of its own; otherwise the class indices."""
        return self._class_names

    @property
    def has_boxes(self) -> bool:
        """Whether the images are annotated with boxes, as in CUB and ILSVRC."""
        return not self.has_masks

    @property
    def has_masks(self) -> bool:
        """Whether the images are annotated with masks, as in OpenImages."""
        return self.benchmark == "OpenImages"

    def default_train_transform(self) -> list[v2.Transform]:
        """Scaled to 8/7 of `image_size`, which is 256 for 224, cropped at random, and flipped."""
        scaled = round(self.image_size * 8 / 7)
        return [v2.Resize((scaled, scaled)), v2.RandomCrop(self.image_size), v2.RandomHorizontalFlip()]

    def default_eval_transform(self) -> list[v2.Transform]:
        """Squashed to `image_size`, without a crop."""
        return [Squash(self.image_size)]

    def samples(self, split: Split) -> WSOLSamples:
        """The images of a split with their annotation.

        Raises:
            FileNotFoundError: If the metadata or the first image are not there.
            ValueError: If the metadata cannot be understood; on access, if a file cannot be read.
        """
        images = self._images(split)
        if split == "val" and self.val_images_per_class is not None:
            images = self._few_per_class(images, self.val_images_per_class)
        wrong = next((each for each in images if each.label >= self.num_classes), None)
        if wrong is not None:
            raise DataError(
                f"{self.metadata_folder / split / CLASS_LABELS}: expected classes from 0 to {self.num_classes - 1}, "
                f"got {wrong.label} for {wrong.image_id!r}"
            )
        if images and not (self.folder / images[0].image_id).is_file():
            raise FileNotFoundError(
                f"`root`: expected the {split} images of {self.benchmark} in {self.folder}, but there is no "
                f"{images[0].image_id}"
            )
        return WSOLSamples(images, self.folder, self.masks_folder, has_masks=self.has_masks)

    def _images(self, split: Split) -> list[WSOLImage]:
        if split not in self._known:
            proxy = self.proxy and split == "train"
            self._known[split] = wsol_images(self.metadata_folder / split, masks=self.has_masks, proxy=proxy)
        return self._known[split]

    def _few_per_class(self, images: list[WSOLImage], count: int) -> list[WSOLImage]:
        kept: list[int] = []
        taken = dict.fromkeys((each.label for each in images), 0)
        for index in stratified_order([each.label for each in images], self.seed):
            label = images[index].label
            if taken[label] < count:
                taken[label] += 1
                kept.append(index)
        few = sorted(label for label, number in taken.items() if number < count)
        if few:
            raise ValueError(
                f"`val_images_per_class`: expected at most the {taken[few[0]]} images of class {few[0]}, got {count}"
            )
        return [images[index] for index in sorted(kept)]

    def _names_of_classes(self) -> list[str]:
        # Without the list of training images, a network can still be scored.
        splits: tuple[Split, ...] = ("train", "val", "test")
        there = [each for each in splits if (self.metadata_folder / each).is_dir()]
        split = there[0] if there else splits[0]
        images = self._images(split)
        if not images:
            raise DataError(f"`metadata_root`: there are no images in {self.metadata_folder / split}")
        folders: dict[int, set[str]] = {label: set() for label in range(1 + max(each.label for each in images))}
        for each in images:
            folders[each.label].add(PurePosixPath(each.image_id).parent.name)
        names = [next(iter(found)) for found in folders.values() if len(found) == 1]
        all_differ = len(set(names)) == len(folders) and "" not in names
        return names if all_differ else [str(label) for label in folders]
