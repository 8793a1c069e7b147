"""Pictures as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from camtrain.pictures.contact_sheet import Pixels


def write_png(pixels: Pixels, path: Path, largest_file: int | None = None) -> None:
    """Write a picture, with coarser shades if the file would otherwise be too large.

    Gradients look like noise, which does not compress.

    Args:
        pixels: (H, W, 3).
        path: of the file; its folder is made.
        largest_file: in bytes. Above it shades are coarser, up to 4 of 8 bits, which is then written whatever its size;
            `None` keeps all shades.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for bits in (8, 6, 5, 4):
        step = 2 ** (8 - bits)
        coarse = np.minimum((pixels.astype(np.int32) + step // 2) // step * step, 255).astype(np.uint8)
        Image.fromarray(coarse).save(path)
        if largest_file is None or path.stat().st_size <= largest_file:
            return
