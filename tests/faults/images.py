"""Hostile and damaged image files, made byte by byte."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def png(path: Path, width: int, height: int, bits: int = 8, channels: int = 3) -> Path:
    """A PNG of one color, with any size and 8 or 16 bits: a small file, however large the image is."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = b"\0" + b"\x11" * (width * channels * bits // 8)
    compressor = zlib.compressobj(1)
    data = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def bomb(path: Path, width: int = 13_000, height: int = 13_000) -> Path:
    """A PNG whose header claims a size; its pixels are not there, so that reading them would be another error."""
    png(path, 1, 1)
    content = path.read_bytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path.write_bytes(content[:8] + chunk + content[8 + 25 :])
    return path


def icon(path: Path, width: int, height: int) -> Path:
    """An icon that says that it is 256 x 256, and holds a PNG of any size."""
    inner = png(path, width, height).read_bytes()
    path.write_bytes(struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22) + inner)
    return path


def noise(path: Path, size: tuple[int, int] = (64, 64)) -> Path:
    """A good PNG of noise."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path, format="png")
    return path


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("not an image")


def cut(path: Path) -> None:
    content = noise(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def cut_in_header(path: Path) -> None:
    path.write_bytes(noise(path).read_bytes()[:20])


def flipped(path: Path) -> None:
    content = bytearray(noise(path).read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def no_pixels(path: Path) -> None:
    bomb(path, 0, 5)


def sixteen_bits(path: Path) -> None:
    png(path, 8, 8, bits=16)


def sixteen_bits_with_alpha(path: Path) -> None:
    png(path, 8, 8, bits=16, channels=4)


def sixteen_bits_gray_with_alpha(path: Path) -> None:
    png(path, 8, 8, bits=16, channels=2)


def sixteen_bits_gray(path: Path) -> None:
    png(path, 8, 8, bits=16, channels=1)


def floating_point(path: Path) -> None:
    Image.fromarray(np.ones((8, 8), dtype=np.float32)).save(path, format="tiff")


def ppm_of_many_colors(path: Path) -> None:
    path.write_bytes(b"P6 2 2 65535\n" + bytes(range(24)))


def jpeg_2000_of_16_bits(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path, format="jpeg2000")
    content = path.read_bytes()
    place = content.index(b"\xff\x4f\xff\x51") + 4 + 38  # the bits of the first channel, less one
    assert content[place] == 7
    path.write_bytes(content[:place] + b"\x0f" + content[place + 1 :])


def tiff_of_16_bits(path: Path) -> None:
    """Three channels of 16 bits without compression, little-endian."""
    pixels = bytes(range(24))
    tags = [
        (256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 8 + 24), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 8),
        (277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, 24),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 38) + pixels + struct.pack("<HHH", 16, 16, 16) + directory)


DAMAGES = {
    empty: "it is empty",
    text: "it is no image of a type that Pillow reads",
    cut: "image file is truncated",
    cut_in_header: "Truncated File Read",
    flipped: "broken data stream when reading image file",
    no_pixels: "it is no image of a type that Pillow reads",
    bomb: r"it has 13000x13000 pixels \(width x height\), more than 50331648; scale it down, or set CAMTRAIN_MAX_",
    sixteen_bits: "it has 16 bits per channel",
    sixteen_bits_with_alpha: "it has 16 bits per channel",
    sixteen_bits_gray_with_alpha: "it has 16 bits per channel",
    sixteen_bits_gray: "mode 'I;16' has more than 8 bits per channel",
    floating_point: "mode 'F' has more than 8 bits per channel",
    ppm_of_many_colors: "it has 16 bits per channel",
    jpeg_2000_of_16_bits: "it has 16 bits per channel",
    tiff_of_16_bits: "it has 16 bits per channel",
}
"""What can be wrong with a file, and what the message says of it."""
