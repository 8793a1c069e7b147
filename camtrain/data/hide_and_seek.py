"""Hide-and-Seek: training images of which random patches are hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from camtrain.messages import checked_fraction, checked_integer, checked_numbers


class HideAndSeek(v2.Transform):  # type: ignore[misc]  # torchvision is not typed
    """Hides each patch of a grid with a probability, so that the network has to look at more than one part.

    The size of the patches is drawn for each image. Boxes and masks are unchanged: the object is where it was.
    Validation and test images are not hidden, so the transform belongs in `extra_train_transform` of a data module.

    Args:
        patch_sizes: The heights and widths of patches in pixels, of which one is drawn for each image; 0 hides nothing.
            The default is that of the authors' code, for images of 224 pixels.
        probability: The probability that a patch is hidden.
        fill: The color of hidden patches, from 0 to 255, a number for each channel of the images or one for all; of
            images that are no bytes, 255 is 1. The default is ImageNet's mean color in RGB, which is 0 after the
            normalization.

    Raises:
        ValueError: If an argument is out of range, or on a call, if there is no image, or one of another number of
            channels.

    Source:
        Singh and Lee, Hide-and-Seek, ICCV 2017, arXiv 1704.04232.

    Example:
        >>> hide = HideAndSeek(patch_sizes=[2], probability=1.0, fill=(1, 2, 3))
        >>> sample = {"image": tv_tensors.Image(torch.zeros(3, 4, 4, dtype=torch.uint8)), "label": 0}
        >>> hide(sample)["image"][:, 0, 0].tolist()
        [1, 2, 3]
    """

    def __init__(
        self,
        patch_sizes: Sequence[int] = (0, 16, 32, 44, 56),
        probability: float = 0.5,
        fill: tuple[float, ...] = (124, 116, 104),
    ) -> None:
        super().__init__()
        if isinstance(patch_sizes, (int, str)) or not patch_sizes:
            raise ValueError(f"`patch_sizes`: expected a list of sizes, got {patch_sizes!r}")
        self.patch_sizes = [checked_integer("patch_sizes", size, 0, "sizes of at least 0") for size in patch_sizes]
        self.probability = checked_fraction("probability", probability)
        expected = "numbers from 0 to 255, one for each channel"
        self.fill = checked_numbers("fill", fill, expected, at_least=0, below=256)
        if not self.fill:
            raise ValueError(f"`fill`: expected {expected}, got none")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The hidden pixels of an image, (H, W) bool."""
        image = next((part for part in flat_inputs if isinstance(part, tv_tensors.Image)), None)
        if image is None:
            raise ValueError("HideAndSeek: expected a sample with an image, a `torchvision.tv_tensors.Image`")
        if len(self.fill) not in (1, image.shape[-3]):
            raise ValueError(
                f"`fill`: expected one number for each of the {image.shape[-3]} channels of the image, got {self.fill}"
            )
        height, width = image.shape[-2:]
        size = self.patch_sizes[int(torch.randint(len(self.patch_sizes), ()))]
        if size == 0:
            return {"hidden": torch.zeros(height, width, dtype=torch.bool)}
        grid = torch.rand(-(-height // size), -(-width // size)) < self.probability
        pixels = grid.repeat_interleave(size, dim=0).repeat_interleave(size, dim=1)
        return {"hidden": pixels[:height, :width]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """One part of a sample; all but the image are returned as they are."""
        if not isinstance(inpt, tv_tensors.Image):
            return inpt
        plain = inpt.as_subclass(Tensor)
        color = torch.tensor(self.fill, device=plain.device).view(-1, 1, 1)
        color = color / 255 if plain.is_floating_point() else color.round()
        hidden: Tensor = torch.where(params["hidden"].to(plain.device), color.to(plain.dtype), plain)
        return tv_tensors.wrap(hidden, like=inpt)
