"""What the four numbers of a box mean, and whether a box fits what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels, half-open."""

FormatName = Literal["xyxy", "xywh", "cxcywh"]
"""Two corners; the top left corner and a size; a center and a size."""

COLUMNS: dict[FormatName, tuple[str, str, str, str]] = {
    "xyxy": ("x0", "y0", "x1", "y1"),
    "xywh": ("x", "y", "width", "height"),
    "cxcywh": ("cx", "cy", "width", "height"),
}
_ROUNDING = 0.5  # pixels: fractions, centers and sizes are rounded
_ROUNDED_FRACTION = 1e-3  # what is outside of the image by more than half a pixel is found in pixels


@dataclass(frozen=True)
class BoxFormat:
    """What the four numbers of a box mean.

    Args:
        name: Which numbers they are.
        normalized: Whether they are fractions of the width and the height of the image instead of pixels.

    Raises:
        ValueError: If there is no such format.
    """

    name: FormatName = "xyxy"
    normalized: bool = False

    def __post_init__(self) -> None:
        if self.name not in get_args(FormatName):
            raise ValueError(f"`boxes_format`: expected {', '.join(get_args(FormatName))}, got {self.name!r}")

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.columns)}) in {'fractions' if self.normalized else 'pixels'}"

    @property
    def columns(self) -> tuple[str, str, str, str]:
        """The names of the four numbers."""
        return COLUMNS[self.name]

    def box(self, numbers: Sequence[float], size: tuple[int, int]) -> Box:
        """The box on an image.

        Except for xyxy in pixels, a box may leave the image by half a pixel, as rounded numbers do, and is cut.

        Args:
            numbers: Four numbers.
            size: The height and width of the image, in pixels.

        Raises:
            ValueError: If numbers said to be pixels are all from 0 to 1, as fractions are; if one said to be a fraction
                is not; if the box has no area, or is not inside the image.

        Example:
            >>> BoxFormat("cxcywh", normalized=True).box([0.5, 0.5, 0.5, 1.0], (10, 20))
            (5.0, 0.0, 15.0, 10.0)
            >>> BoxFormat().box([0.25, 0.0, 0.75, 1.0], (10, 20))
            Traceback (most recent call last):
            ValueError: the numbers (0.25, 0, 0.75, 1) are all from 0 to 1, as fractions of an image are, and not
            pixels; set `normalized: true` if they are fractions
        """
        self._check_unit(numbers)
        height, width = size
        x0, y0, x1, y1 = self._corners(numbers)
        if self.normalized:
            x0, y0, x1, y1 = x0 * width, y0 * height, x1 * width, y1 * height
        slack = 0.0 if self == BoxFormat() else _ROUNDING
        if min(x0, y0) < -slack or x1 > width + slack or y1 > height + slack:
            meaning = "" if self == BoxFormat() else f"; its numbers ({_listed(numbers)}) are taken for {self}"
            raise ValueError(
                f"the box ({_listed((x0, y0, x1, y1))}) is not inside its image of {width}x{height} pixels "
                f"(width x height){meaning}"
            )
        return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))

    def _check_unit(self, numbers: Sequence[float]) -> None:
        if self.normalized:
            for name, number in zip(self.columns, numbers, strict=True):
                if not -_ROUNDED_FRACTION <= number <= 1 + _ROUNDED_FRACTION:
                    raise ValueError(
                        f"expected a fraction of the image from 0 to 1 for {name}, got {number:.7g}; set "
                        "`normalized: false` if the numbers are pixels"
                    )
        elif all(0 <= number <= 1 for number in numbers):
            raise ValueError(
                f"the numbers ({_listed(numbers)}) are all from 0 to 1, as fractions of an image are, and not pixels; "
                "set `normalized: true` if they are fractions"
            )

    def _corners(self, numbers: Sequence[float]) -> Box:
        a, b, c, d = numbers
        if self.name == "xyxy":
            for low, high, axis in ((a, c, "x"), (b, d, "y")):
                if low >= high:
                    raise ValueError(f"expected {axis}0 < {axis}1, got {axis}0={low:g}, {axis}1={high:g}")
            return a, b, c, d
        for name, extent in (("width", c), ("height", d)):
            if extent <= 0:
                raise ValueError(f"expected a {name} above 0, got {extent:g}")
        return (a, b, a + c, b + d) if self.name == "xywh" else (a - c / 2, b - d / 2, a + c / 2, b + d / 2)


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
