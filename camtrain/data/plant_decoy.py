"""PlantDecoy: a transform that adds a shortcut to any data set, and a mask of where it is not."""

from __future__ import annotations

import colorsys
import hashlib
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from camtrain.batch import Sample
from camtrain.messages import checked_fraction, checked_integer, checked_number

Kind = Literal["patch", "watermark", "border"]
Place = Literal["random_corner", "anywhere", "top_left", "top_right", "bottom_left", "bottom_right"]
CORNERS: tuple[Place, ...] = ("top_left", "top_right", "bottom_left", "bottom_right")


def class_color(label: int, num_classes: int) -> tuple[int, int, int]:
    """The RGB color of a class; the classes have evenly spaced hues at full saturation and brightness.

    Example:
        >>> class_color(0, 3), class_color(1, 3), class_color(1, 4)
        ((255, 0, 0), (0, 255, 0), (128, 255, 0))
    """
    red, green, blue = (round(255 * value) for value in colorsys.hsv_to_rgb(label / num_classes, 1.0, 1.0))
    return red, green, blue


def class_levels(label: int, num_classes: int, channels: int) -> Tensor:
    """The color of a class in images of any number of channels, (channels,) from 0 to 255.

    Of three channels and more it is `class_color`, repeated over the channels. One or two channels have too few colors:
    all of them have the gray level of the class, and the levels are evenly spaced from black to white.

    Example:
        >>> class_levels(1, 3, channels=4).tolist(), class_levels(1, 3, channels=1).tolist()
        ([0, 255, 0, 0], [128])
    """
    if channels < 3:
        return torch.full((channels,), round(255 * label / max(1, num_classes - 1)))
    return torch.tensor(class_color(label, num_classes)).repeat(-(-channels // 3))[:channels]


def class_bars(label: int, num_classes: int, width: int) -> Tensor:
    """The barcode of a class, (width,) bool: the bits of `label + 1`, highest first, as bars of nearly equal widths.

    Raises:
        ValueError: If `width` is less than the number of bits, `num_classes.bit_length()`.

    Example:
        >>> class_bars(4, num_classes=5, width=6).int().tolist()
        [1, 1, 0, 0, 1, 1]
    """
    bits = num_classes.bit_length()
    if width < bits:
        raise ValueError(
            f"`size`: a watermark that tells {num_classes} classes apart is at least {bits} pixels wide, got {width}"
        )
    code = torch.tensor([bool((label + 1) >> bit & 1) for bit in reversed(range(bits))])
    return code[torch.arange(width) * bits // width]


class PlantDecoy(v2.Transform):  # type: ignore[misc]  # torchvision is not typed
    """Plants a decoy that stands for the label, or for a random class, and adds a mask of everything except the decoy.

    With `label: true` in `extra_train_transform` and `label: random` in `extra_eval_transform` of any data module, a
    classifier that looks at the decoy fails in evaluation. The decoy is one of

    - `patch`: a square in the color of the class;
    - `watermark`: a square of white bars over the image, a barcode of the class, so that shape and not color tells the
      class;
    - `border`: a frame around the image in the color of the class.

    Colors are evenly spaced hues (`class_color`), so the colors of a hundred classes still differ visibly. At opacity s
    a pixel p becomes `p + s · (color - p)`, rounded. `class_levels` says what colors are in images of other numbers of
    channels than three. Of images that are no bytes, 255 is 1.

    The mask is true where the classifier may look. If a sample has a mask, the decoy is removed from it; if the mask is
    absent or nowhere true, the new mask is everything except the decoy. The whole square of a watermark is the decoy,
    bars and gaps. Opacity does not change the mask, and boxes are unchanged.

    The random place and class are drawn from a generator that is seeded by `seed` and the pixels of the image.
    Therefore an image has the same decoy in each epoch, run and worker, unless random transforms before this one change
    its pixels. PyTorch's own generators are not used.

    Args:
        num_classes: The number of classes.
        kind: The kind of decoy.
        size: The height and width of the patch or watermark, or the thickness of the border, as a fraction of the
            shorter side of the image; rounded to whole pixels, at least one.
        strength: The opacity, from 0 (nothing is drawn, but the mask is the same) to 1.
        label: Whether the decoy stands for the label of the sample, or for a random class, which may be the true one.
        place: Where the patch or watermark is: in a random corner, in a certain corner, or anywhere in the image. A
            border takes only `random_corner`, the default.
        seed: The seed of the random places and classes.

    Raises:
        ValueError: If an argument is out of range, or, on a call, if a label is out of range, a watermark has too few
            pixels, or the decoy covers the whole image.
        TypeError: On a call, if the input is not a sample with an image (uint8 or floating point) and a label.

    Source: the patch is that of Ross, Hughes and Doshi-Velez, "Right for the Right Reasons", IJCAI 2017, in color. The
    watermark is modeled on the one by which networks recognized the horses of PASCAL VOC, Lapuschkin et al., "Unmasking
    Clever Hans Predictors", 2019.

    Example:
        >>> plant = PlantDecoy(num_classes=3, size=0.5, place="top_left")
        >>> planted = plant({"image": tv_tensors.Image(torch.zeros(3, 2, 2, dtype=torch.uint8)), "label": 1})
        >>> planted["image"][:, 0, 0].tolist(), planted["mask"].int().tolist()
        ([0, 255, 0], [[0, 1], [1, 1]])
    """

    adds_mask = True

    def __init__(
        self,
        num_classes: int,
        kind: Kind = "patch",
        size: float = 0.15,
        strength: float = 1.0,
        label: Literal["true", "random"] = "true",
        place: Place = "random_corner",
        seed: int = 0,
    ) -> None:
        super().__init__()
        checked_integer("num_classes", num_classes, at_least=2)
        if kind not in get_args(Kind):
            raise ValueError(f"`kind`: expected one of {', '.join(get_args(Kind))}, got {kind!r}")
        largest = 0.5 if kind == "border" else 1.0
        in_words = f"more than 0 and less than {largest:g} for a {kind}"
        checked_number("size", size, in_words, above=0, below=largest)
        checked_fraction("strength", strength)
        if label not in ("true", "random"):
            raise ValueError(f"`label`: expected true or random, got {label!r}")
        if place not in get_args(Place):
            raise ValueError(f"`place`: expected one of {', '.join(get_args(Place))}, got {place!r}")
        if kind == "border" and place != "random_corner":
            raise ValueError(f"`place`: a border is all around; expected the default, random_corner, got {place}")
        checked_integer("seed", seed, at_least=0)
        self.num_classes = num_classes
        self.kind = kind
        self.size = size
        self.strength = strength
        self.label = label
        self.place = place
        self.seed = seed

    def forward(self, sample: Any) -> Sample:
        """A copy of the sample with the decoy in its image, and a mask."""
        pixels, label = self._checked(sample)
        random = self._generator(pixels)
        # The place is drawn first, so that a random label changes only the color or the shape.
        rectangle = self._rectangle(int(pixels.shape[-2]), int(pixels.shape[-1]), random)
        decoy = torch.zeros(pixels.shape[-2:], dtype=torch.bool)
        decoy[rectangle] = True
        if self.kind == "border":
            decoy = ~decoy
        shown = int(random.integers(self.num_classes)) if self.label == "random" else label
        if decoy.all():
            raise ValueError(f"`size`: {self.size} leaves nothing of an image of {decoy.shape[0]}x{decoy.shape[1]}")
        painted, color = decoy, class_levels(shown, self.num_classes, len(pixels))
        if self.kind == "watermark":
            painted, color = torch.zeros_like(decoy), torch.full((len(pixels),), 255)
            columns = rectangle[1]
            painted[rectangle] = class_bars(shown, self.num_classes, columns.stop - columns.start)
        image = pixels.clone()
        old = image[:, painted].double()
        paint = color.double()[:, None] / (255 if image.is_floating_point() else 1)
        mixed = old + self.strength * (paint - old)
        image[:, painted] = mixed.to(image.dtype) if image.is_floating_point() else mixed.round().to(torch.uint8)
        mask = ~decoy
        if "mask" in sample and sample["mask"].any():
            mask &= sample["mask"].as_subclass(Tensor)
        return cast(Sample, {**sample, "image": tv_tensors.Image(image), "mask": tv_tensors.Mask(mask)})

    def _checked(self, sample: Any) -> tuple[Tensor, int]:
        """The image of a sample as a plain tensor, and its label, after checks."""
        if not isinstance(sample, dict) or not isinstance(sample.get("image"), Tensor) or "label" not in sample:
            raise TypeError(
                f"PlantDecoy: expected a sample, a dict with `image` and `label`, got {type(sample).__name__}; in a "
                f"data module it belongs in `extra_train_transform` and `extra_eval_transform`"
            )
        pixels = sample["image"].as_subclass(Tensor)
        is_numbers = pixels.dtype == torch.uint8 or pixels.is_floating_point()
        if not is_numbers or pixels.ndim != 3 or len(pixels) == 0:
            raise TypeError(
                f"`image`: expected (C, H, W), uint8 or floating point, got {tuple(pixels.shape)} {pixels.dtype}"
            )
        label = int(sample["label"])
        if not 0 <= label < self.num_classes:
            raise ValueError(f"`label`: expected 0 to {self.num_classes - 1} (`num_classes` - 1), got {label}")
        return pixels, label

    def _generator(self, pixels: Tensor) -> np.random.Generator:
        digest = hashlib.blake2b(pixels.contiguous().numpy().tobytes(), digest_size=8).digest()
        return np.random.default_rng([self.seed, int.from_bytes(digest, "little")])

    def _rectangle(self, height: int, width: int, random: np.random.Generator) -> tuple[slice, slice]:
        """Rows and columns of the patch or watermark, or of what the border leaves free."""
        side = max(1, round(self.size * min(height, width)))
        if self.kind == "border":
            return slice(side, height - side), slice(side, width - side)
        place = CORNERS[int(random.integers(4))] if self.place == "random_corner" else self.place
        if place == "anywhere":
            top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
        else:
            top = 0 if place.startswith("top") else height - side
            left = 0 if place.endswith("left") else width - side
        return slice(top, top + side), slice(left, left + side)
