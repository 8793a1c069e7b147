"""Samples of the benchmark of weakly supervised localization, with several masks and ignored pixels per image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from camtrain.batch import Sample
from camtrain.data.image_file import image_orientation, image_size, object_mask
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.data.upright import upright_pixels
from camtrain.data.wsol_metadata import WSOLImage
from camtrain.messages import DataError


class WSOLSamples(Dataset[Sample]):
    """Samples of a split of the benchmark.

    The mask of an image is the union of the masks of its objects. Pixels of an object are not ignored, even if the
    ignored mask has them. Boxes and masks were drawn on images as they are stored, and are turned with an image whose
    EXIF orientation turns it. Mask files may be of another size than their image, and are not scaled here: `Squash`
    brings both to one size.

    Args:
        images: What the metadata say.
        folder: The folder that holds the images.
        masks_folder: The folder that holds the masks.
        has_masks: Whether the split is annotated with masks; otherwise it is annotated with boxes.

    Attributes:
        image_ids: The paths of the images below their folder, which name the files of score maps.
        samples: The images with their boxes.

    Raises:
        DataError: On access, if a file cannot be read, an image has another size than the metadata say, or its masks
            differ in size; it is a `ValueError`.
    """

    def __init__(
        self, images: Sequence[WSOLImage], folder: Path, masks_folder: Path, *, has_masks: bool = False
    ) -> None:
        self.images = images
        self.masks_folder = masks_folder
        self.has_masks = has_masks
        self.image_ids = [each.image_id for each in images]
        files = [ImageFile(folder / each.image_id, each.label, each.boxes) for each in images]
        self.samples = ImageFileSamples(files, has_boxes=not has_masks, annotation_pixels="stored", is_setting=False)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> list[int]:
        """The class index of each sample."""
        return self.samples.labels

    def __getitem__(self, index: int) -> Sample:
        image, path = self.images[index], self.samples.files[index].path
        if image.boxes and image.size is not None:
            height, width = image_size(path, "stored")
            if image.size != (width, height):
                raise DataError(
                    f"the image {path} is {width}x{height} pixels (width x height), and its boxes belong to "
                    f"{image.size[0]}x{image.size[1]}; use the image as it was published"
                )
        sample = self.samples[index]
        if self.has_masks:
            size = (int(sample["image"].shape[-2]), int(sample["image"].shape[-1]))
            mask, ignored = self._masks(image, path, size)
            sample["mask"], sample["ignored"] = tv_tensors.Mask(mask), tv_tensors.Mask(ignored)
        return sample

    def _masks(self, image: WSOLImage, path: Path, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The pixels of the objects, and the ignored ones among the others."""
        if not image.masks:
            return torch.zeros(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool)
        names = [*image.masks, *([image.ignored] if image.ignored else [])]
        found = [object_mask(self.masks_folder / name) for name in names]
        for name, each in zip(names, found, strict=True):
            if each.shape != found[0].shape:
                sizes = " and ".join(f"{one.shape[1]}x{one.shape[0]}" for one in (found[0], each))
                raise DataError(
                    f"the masks {self.masks_folder / names[0]} and {self.masks_folder / name} of one image differ in "
                    f"size: {sizes} pixels (width x height)"
                )
        turn = image_orientation(path)
        mask = upright_pixels(torch.stack(found[: len(image.masks)]).any(dim=0), turn)
        return mask, upright_pixels(found[-1], turn) & ~mask if image.ignored else torch.zeros_like(mask)
