"""Pictures as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from camtrain.pictures.pixels import Pixels


def write_png(pixels: Pixels, path: Path, largest_file: int | None = None) -> None:
    """Write a picture as PNG, with coarser shades if the file would otherwise be too large.

    Pictures of gradients look like noise, which does not compress.

    Args:
        pixels: The picture, (H, W, 3).
        path: The path of the file. Its folder is created.
        largest_file: The size limit in bytes. A larger file is written again with 6, 5 and at last 4 bits for each
            channel; with 4 bits it is kept whatever its size. `None` keeps all shades.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for bits in (8, 6, 5, 4):
        step = 2 ** (8 - bits)
        coarse = np.minimum((pixels.astype(np.int32) + step // 2) // step * step, 255).astype(np.uint8)
        Image.fromarray(coarse).save(path)
        if largest_file is None or path.stat().st_size <= largest_file:
            return
