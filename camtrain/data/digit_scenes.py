"""Handwritten digits on photographs, with clutter and a decoy: the pictures of `DecoyDigits`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from camtrain.messages import checked_fraction, checked_integer, checked_numbers, positive_integer

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# Photographs are darkened and strokes are bright: their lumas, out of 255, differ by at least 62 at every pixel.
# With unchanged photographs and strokes of any color, a small network learns almost nothing from 1797 digits.
PHOTOGRAPH_BRIGHTNESS = 0.5
MIN_STROKE_LUMA = 190
MAX_TRIES = 20  # tries to find room beside the digit for a piece of clutter, which is then left out
PHOTOGRAPH_SCALES = (1, 2, 3, 4)  # a background is a photograph reduced by one of these factors


@dataclass(frozen=True)
class SceneSettings:
    """The sizes of what a scene shows.

    Attributes:
        image_size: The height and width of the scene, in pixels.
        digit_size: The smallest and largest height of a digit, in pixels.
        clutter: The number of pieces of other digits' strokes; fewer if the digit leaves no room.
        decoy_strength: The opacity of the decoy, from 0 (nothing is drawn) to 1.
        decoy_size: The height and width of the decoy, in pixels.

    Raises:
        ValueError: If a setting is out of range, or the image is too small for a digit and a decoy side by side.
    """

    image_size: int = 64
    digit_size: tuple[int, int] = (24, 36)
    clutter: int = 4
    decoy_strength: float = 1.0
    decoy_size: int = 8

    def __post_init__(self) -> None:
        expected = "a smallest and a largest height of 8 or more"
        checked_numbers("digit_size", self.digit_size, expected, 2, at_least=8)
        smallest, largest = self.digit_size
        if smallest > largest or not all(isinstance(height, int) for height in (smallest, largest)):
            raise ValueError(f"`digit_size`: expected {expected}, got {self.digit_size}")
        checked_integer("clutter", self.clutter, 0, "0 or more pieces")
        checked_fraction("decoy_strength", self.decoy_strength)
        positive_integer("decoy_size", self.decoy_size)
        positive_integer("image_size", self.image_size)
        needed = _padded_height(largest) + self.decoy_size
        if self.image_size < needed:
            raise ValueError(
                f"`image_size`: a digit {largest} pixels high and a decoy of {self.decoy_size} need at least {needed}, "
                f"got {self.image_size}"
            )
        available = min(size for photograph in _photographs() for size in photograph.size)
        if self.image_size > available:
            raise ValueError(
                f"`image_size`: expected at most the photographs' {available} pixels, got {self.image_size}"
            )


@dataclass(frozen=True)
class DigitScenes:
    """N scenes of S x S pixels.

    Attributes:
        images: The scenes, (N, S, S, 3) uint8 RGB.
        labels: The digits, 0 to 9, (N,).
        masks: True where the digit covers at least half of a pixel, (N, S, S) bool.
        boxes: The tight boxes around the masks, (N, 4) half-open xyxy pixels.
        digits: The indices of the digits among scikit-learn's handwritten digits, (N,).
        decoy_boxes: The boxes of the decoys, (N, 4) half-open xyxy pixels.
        decoy_labels: The label that the shade of the decoy stands for, (N,).
    """

    images: NDArray[np.uint8]
    labels: IntArray
    masks: NDArray[np.bool_]
    boxes: FloatArray
    digits: IntArray
    decoy_boxes: FloatArray
    decoy_labels: IntArray


def digit_scenes(
    digits: Sequence[int],
    *,
    seed: int,
    decoy_reveals_label: bool,
    samples_per_digit: int = 1,
    settings: SceneSettings | None = None,
) -> DigitScenes:
    """Scenes of the given handwritten digits, each with its own random generator.

    A scene is a crop of a darkened photograph with the digit in a random bright color, pieces of the strokes of any of
    the given digits beside it, and the decoy: a square of the gray `255 - 25 · label` in a random corner that the digit
    leaves free. `decoy_strength` and `decoy_reveals_label` change only the pixels of the decoy; everything else depends
    on `digits` and `seed`.

    Args:
        digits: Indices into scikit-learn's 1797 handwritten digits.
        seed: The seed, which determines the scenes of a digit together with its index.
        decoy_reveals_label: Whether the shade of the decoy stands for the label of the scene or for a random label.
        samples_per_digit: The number of scenes of each handwritten digit.
        settings: The sizes of what a scene shows; `None` is `SceneSettings()`.

    Returns:
        `len(digits) · samples_per_digit` scenes; those of one digit follow each other.

    Cost:
        Less than a millisecond per scene.

    Example:
        >>> scenes = digit_scenes([0, 1], seed=0, decoy_reveals_label=True)
        >>> scenes.images.shape, scenes.labels.tolist()
        ((2, 64, 64, 3), [0, 1])
    """
    settings = settings or SceneSettings()
    shown = np.repeat(np.asarray(digits, dtype=np.int64), samples_per_digit)
    labels = _handwriting()[1][shown]
    scenes = []
    for row, (digit, label) in enumerate(zip(shown.tolist(), labels.tolist(), strict=True)):
        random = np.random.default_rng([seed, digit, row % samples_per_digit])
        scenes.append(_scene(random, digit, digits, label if decoy_reveals_label else None, settings))
    images, masks, boxes, decoy_boxes, decoy_labels = zip(*scenes, strict=True)
    return DigitScenes(
        images=np.stack(images),
        labels=labels,
        masks=np.stack(masks),
        boxes=np.array(boxes, dtype=np.float32),
        digits=shown,
        decoy_boxes=np.array(decoy_boxes, dtype=np.float32),
        decoy_labels=np.array(decoy_labels, dtype=np.int64),
    )


class _Place(NamedTuple):
    """A half-open rectangle of pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def pixels(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.right, self.bottom

    def overlaps(self, other: _Place) -> bool:
        return (
            self.top < other.bottom and other.top < self.bottom and self.left < other.right and other.left < self.right
        )


class _Scene(NamedTuple):
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int]
    decoy_box: tuple[int, int, int, int]
    decoy_label: int


def _scene(
    random: Generator, digit: int, donors: Sequence[int], decoy_label: int | None, settings: SceneSettings
) -> _Scene:
    # Everything random is drawn whatever the decoy shows, so that scenes differ only in the pixels of the decoy.
    random_label = int(random.integers(10))
    decoy = _corner(random, settings)
    canvas = _background(random, settings.image_size)
    stroke = _stroke(digit, _height(random, settings))
    place = next(place for place in _places(random, stroke.shape, settings) if not place.overlaps(decoy))
    for _ in range(settings.clutter):
        piece = _piece(random, _stroke(donors[int(random.integers(len(donors)))], _height(random, settings)))
        for beside in islice(_places(random, piece.shape, settings), MAX_TRIES):
            if not beside.overlaps(place):
                _paint(random, canvas, piece, beside)
                break
    _paint(random, canvas, stroke, place)
    shown_label = random_label if decoy_label is None else decoy_label
    canvas[decoy.pixels] += settings.decoy_strength * (255 - 25 * shown_label - canvas[decoy.pixels])
    mask = np.zeros((settings.image_size, settings.image_size), dtype=np.bool_)
    mask[place.pixels] = stroke >= 0.5
    return _Scene(np.rint(canvas).astype(np.uint8), mask, _extent(mask).box, decoy.box, shown_label)


@cache
def _handwriting() -> tuple[FloatArray, IntArray]:
    """The ink of the 1797 digits in [0, 1] with a margin of one pixel, (1797, 10, 10), and their labels."""
    bunch = load_digits()
    ink = (bunch.images / 16).astype(np.float32)
    # The margin lets strokes that touch the edge end smoothly when they are enlarged.
    return np.pad(ink, ((0, 0), (1, 1), (1, 1))), bunch.target.astype(np.int64)


@cache
def _photographs() -> list[Image.Image]:
    return [Image.fromarray(photograph) for photograph in load_sample_images().images]


@cache
def _backgrounds(image_size: int) -> list[FloatArray]:
    """The photographs, reduced by every factor that leaves them large enough."""
    return [
        PHOTOGRAPH_BRIGHTNESS * np.asarray(photograph.reduce(scale), dtype=np.float32)
        for photograph in _photographs()
        for scale in PHOTOGRAPH_SCALES
        if min(photograph.size) // scale >= image_size
    ]


def _background(random: Generator, image_size: int) -> FloatArray:
    """A random crop of a darkened photograph, (S, S, 3), mirrored at random."""
    backgrounds = _backgrounds(image_size)
    photograph = backgrounds[random.integers(len(backgrounds))]
    top, left = (int(random.integers(size - image_size + 1)) for size in photograph.shape[:2])
    crop = photograph[top : top + image_size, left : left + image_size]
    return crop[:, ::-1].copy() if random.integers(2) else crop.copy()


def _corner(random: Generator, settings: SceneSettings) -> _Place:
    far = settings.image_size - settings.decoy_size
    top, left = (int(side) * far for side in random.integers(2, size=2))
    return _Place(top, left, top + settings.decoy_size, left + settings.decoy_size)


def _height(random: Generator, settings: SceneSettings) -> int:
    smallest, largest = settings.digit_size
    return int(random.integers(smallest, largest + 1))


def _padded_height(height: int) -> int:
    return round(height * 10 / 8)


def _stroke(digit: int, height: int) -> FloatArray:
    """The coverage of each pixel, in [0, 1], by a digit that is enlarged to about this height and cropped to its ink.

    Gray values are interpolated bicubically and thresholded at half of the ink, with a ramp around the threshold that
    makes edges one to two pixels soft.
    """
    ink = _handwriting()[0][digit]
    size = _padded_height(height)
    gray = np.asarray(Image.fromarray(ink).resize((size, size), Image.Resampling.BICUBIC))
    coverage: FloatArray = np.clip((gray - 0.5) * (size / 15) + 0.5, 0, 1)
    return coverage[_extent(coverage > 0).pixels]


def _piece(random: Generator, stroke: FloatArray) -> FloatArray:
    """At most a quarter of a stroke: a window of 30 to 50 % of its height and width."""
    height, width = (max(1, round(size * random.uniform(0.3, 0.5))) for size in stroke.shape)
    top, left = (
        int(random.integers(size - part + 1)) for size, part in zip(stroke.shape, (height, width), strict=True)
    )
    return stroke[top : top + height, left : left + width]


def _places(random: Generator, shape: tuple[int, ...], settings: SceneSettings) -> Iterator[_Place]:
    """An endless sequence of random places of this shape."""
    height, width = shape
    while True:
        top = int(random.integers(settings.image_size - height + 1))
        left = int(random.integers(settings.image_size - width + 1))
        yield _Place(top, left, top + height, left + width)


def _paint(random: Generator, canvas: FloatArray, stroke: FloatArray, place: _Place) -> None:
    """Draw a stroke in a random color; a color that is too dark is mixed with white."""
    color = random.integers(0, 256, size=3).astype(np.float32)
    luma = float(color @ LUMA)
    color += (255 - color) * max(0.0, (MIN_STROKE_LUMA - luma) / (255 - luma))
    canvas[place.pixels] += stroke[:, :, None] * (color - canvas[place.pixels])


def _extent(mask: NDArray[np.bool_]) -> _Place:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return _Place(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
