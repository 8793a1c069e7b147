"""One image and its explanations, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from camtrain.pictures.gradient_picture import gradient_picture
from camtrain.pictures.object_outline import ObjectOutline
from camtrain.pictures.overlay import overlay

_NOTE_WIDTH, _NOTE_LINES = 25, 9  # characters and lines that fit on the smallest tile


@dataclass(frozen=True)
class Tile:
    """One picture of a panel.

    Attributes:
        kind: What the tile shows; the title of its column.
        pixels: The picture, (3, H, W) in [0, 1].
        title: The title of this tile, such as a class and its probability. A line break begins a new line.
        color: The color of the title.
        outline: The boxes and the mask of the objects, to be drawn on the tile; `None` draws none.
        note: Text written across the tile.
    """

    kind: str
    pixels: Tensor
    title: str = ""
    color: str = "black"
    outline: ObjectOutline | None = None
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """The tiles of one image, all of the size of the image.

    Attributes:
        tiles: The tiles, from left to right.
        label: The class index of the image, or `None` if it is unknown.
        caption: One line that names classes and probabilities.
    """

    tiles: list[Tile]
    label: int | None = None
    caption: str = ""


def class_name(class_names: Sequence[str] | None, index: int) -> str:
    """The name of a class, or `class <index>` if it has no name.

    Example:
        >>> class_name(["cat", "dog"], 1), class_name(None, 1)
        ('dog', 'class 1')
    """
    return class_names[index] if class_names is not None and index < len(class_names) else f"class {index}"


def map_tile(
    kind: str,
    picture: Tensor,
    cam: Tensor,
    title: str = "",
    *,
    color: str = "black",
    outline: ObjectOutline | None = None,
) -> Tile:
    """A tile with a map in color over the gray image. The title of a map of zeros says that the map is flat.

    A tile of values that are not finite is a note that says so.

    Args:
        kind: The title of the column.
        picture: The image, (3, H, W), RGB in [0, 1].
        cam: The map, (H, W) in [0, 1]; zeros if it is flat.
        title: The title of this tile.
        color: The color of the title.
        outline: The boxes and the mask of the objects, to be drawn on the tile.
    """
    if not bool(picture.isfinite().all() and cam.isfinite().all()):
        return note_tile(kind, picture, "no picture: the map or the image holds NaN or infinity", title)
    # A data module of the user may leave pixels a little outside [0, 1].
    return Tile(kind, overlay(picture.clamp(0, 1), cam), title_of(title, cam, "(flat map)"), color, outline)


def gradient_tile(kind: str, gradient: Tensor, title: str = "") -> Tile:
    """A tile with a gradient, (C, H, W), in gray. A gradient of zeros gives a black tile whose title says so."""
    return Tile(kind, gradient_picture(gradient), title_of(title, gradient, "(zero)"))


def note_tile(kind: str, like: Tensor, note: str, title: str = "") -> Tile:
    """A gray tile with a few lines of text, in place of a picture of the same size as `like`.

    Example:
        >>> print(note_tile("CAM", torch.zeros(3, 8, 8), "the logits are not the output of an nn.Linear").note)
        the logits are not the
        output of an nn.Linear
    """
    lines = textwrap.wrap(note, _NOTE_WIDTH, max_lines=_NOTE_LINES, placeholder=" …")
    return Tile(kind, torch.full_like(like, 0.85), title, note="\n".join(lines))


def title_of(title: str, values: Tensor, remark: str) -> str:
    """The title, followed by the remark if all values are zero."""
    return title if bool(values.any()) else f"{title} {remark}".strip()
