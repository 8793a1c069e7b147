"""One image and what explains it, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from camtrain.pictures.gradient_picture import gradient_picture
from camtrain.pictures.map_picture import map_picture

_NOTE_WIDTH, _NOTE_LINES = 25, 9  # characters and lines that fit on the smallest tile


@dataclass(frozen=True)
class Tile:
    """One picture of a panel.

    Attributes:
        kind: what it shows, the title of its column.
        pixels: (3, H, W) in [0, 1].
        title: what it shows of this image.
        color: of the title.
        boxed: whether the ground-truth boxes belong on it.
        note: written across it.
    """

    kind: str
    pixels: Tensor
    title: str = ""
    color: str = "black"
    boxed: bool = False
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """The tiles of one image, all of its size.

    Attributes:
        tiles: from left to right.
        boxes: (M, 4) ground-truth boxes, xyxy pixels of the image.
        label: class index, or `None`.
        caption: one line that names classes and probabilities.
    """

    tiles: list[Tile]
    boxes: Tensor = field(default_factory=lambda: torch.zeros(0, 4))
    label: int | None = None
    caption: str = ""


def class_name(class_names: Sequence[str] | None, index: int) -> str:
    """Name of a class, or its number where it has none.

    Example:
        >>> class_name(["cat", "dog"], 1), class_name(None, 1)
        ('dog', 'class 1')
    """
    return class_names[index] if class_names is not None and index < len(class_names) else f"class {index}"


def map_tile(
    kind: str, picture: Tensor, cam: Tensor, title: str = "", *, color: str = "black", boxed: bool = False
) -> Tile:
    """A map in color over the gray image. A flat map is shown as zeros, and the title says so.

    Args:
        kind: the title of its column.
        picture: (3, H, W) RGB in [0, 1].
        cam: (H, W) in [0, 1]; zeros if it was flat.
        title: of this tile.
        color: of the title.
        boxed: whether the ground-truth boxes belong on it.
    """
    return Tile(kind, map_picture(picture, cam), _or(title, "(flat map)", cam), color, boxed)


def gradient_tile(kind: str, gradient: Tensor, title: str = "") -> Tile:
    """A gradient, (3, H, W), in gray. Where it is zero everywhere, the tile is black and its title says so."""
    return Tile(kind, gradient_picture(gradient), _or(title, "(zero)", gradient))


def note_tile(kind: str, like: Tensor, note: str, title: str = "") -> Tile:
    """A gray tile of the size of a picture with a few lines of text in the place of one.

    Example:
        >>> print(note_tile("CAM", torch.zeros(3, 8, 8), "the logits are not what an nn.Linear puts out").note)
        the logits are not what
        an nn.Linear puts out
    """
    lines = textwrap.wrap(note, _NOTE_WIDTH, max_lines=_NOTE_LINES, placeholder=" …")
    return Tile(kind, torch.full_like(like, 0.85), title, note="\n".join(lines))


def _or(title: str, zero: str, values: Tensor) -> str:
    """The title, with another word where all values are zero."""
    return title if bool(values.any()) else f"{title} {zero}".strip()
