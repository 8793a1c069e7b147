"""The base of data modules of photographs: their size, and how they are cropped."""

from __future__ import annotations

from typing import Any

from torchvision.transforms import v2

from camtrain.data.image_data_module import ImageDataModule
from camtrain.messages import checked_fraction, positive_integer


class PhotographData(ImageDataModule):
    """Photographs of any size, cropped to squares.

    A training crop keeps at least half of the area of the image. The shorter side of validation and test images is
    scaled to `image_size`, and their center is cropped.

    Args:
        image_size: The height and width of the images in a batch, in pixels.
        val_fraction: The fraction of the training images that is held out for validation where a data set has no
            validation images, the same in every class.
        **kwargs: The arguments of `ImageDataModule`.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, image_size: int = 224, val_fraction: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.image_size = positive_integer("image_size", image_size)
        self.val_fraction = checked_fraction("val_fraction", val_fraction, zero=False, one=False)

    def default_train_transform(self) -> list[v2.Transform]:
        """A random crop of at least half of the area of the image, and a random flip."""
        return [v2.RandomResizedCrop(self.image_size, scale=(0.5, 1.0)), v2.RandomHorizontalFlip()]

    def default_eval_transform(self) -> list[v2.Transform]:
        """The largest central square, scaled to `image_size`."""
        return [v2.Resize(self.image_size), v2.CenterCrop(self.image_size)]
