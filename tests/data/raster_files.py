"""Image files that Pillow does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by the number of channels


def write_png_of_16_bits(path: Path, pixels: np.ndarray) -> None:
    """Write (H, W, C) uint16 as PNG, whose numbers have their higher byte first."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOR_TYPES[channels], 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def make_tiles(root: Path, per_class: int = 6, size: int = 12) -> None:
    """A folder of two classes with `.npy` tiles of four channels, (H, W, 4) uint16 from 0 to 10000.

    The first three channels are noise; the fourth is bright for `wet` and dark for `dry`.
    """
    random = np.random.default_rng(0)
    for name, level in (("dry", 1000), ("wet", 9000)):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            tile = random.integers(0, 10001, size=(size, size, 4), dtype=np.uint16)
            tile[..., 3] = level + number
            np.save(root / name / f"{number}.npy", tile)
