"""Colors of more than 8 bits, which Pillow cuts without a word."""

from __future__ import annotations

import re

from PIL import Image

# Packed pixels of 16 bits in all, such as `BGR;16`, have no letter of a byte order at the end.
_SIXTEEN_BITS = re.compile(r";16[BLN]|^L;16$")
_SIZE_OF_JPEG_2000 = b"\xff\x4f\xff\x51"


def check_eight_bits(image: Image.Image) -> None:
    """Check that an image has at most 8 bits per channel, or one channel that Pillow reads as it is.

    Args:
        image: The image, which has not been loaded.

    Raises:
        ValueError: If Pillow would read only the upper 8 bits. What an image of 12 bits shows would be all but black.
    """
    bits = dropped_bits(image)
    if bits is not None:
        raise ValueError(f"it has {bits} bits per channel; convert it to 8 bits per channel first")


def dropped_bits(image: Image.Image) -> int | None:
    """The number of bits per channel where Pillow reads fewer; `None` where it reads all of them."""
    if image.mode.startswith(("I", "F")):
        return None
    if image.format == "JPEG2000":
        bits = _bits_of_jpeg_2000(image)
        return bits if bits > 8 else None
    for _, _, _, arguments in getattr(image, "tile", ()):
        given = arguments if isinstance(arguments, tuple) else (arguments,)
        raw, *rest = given or ("",)
        if isinstance(raw, str) and _SIXTEEN_BITS.search(raw):
            return 16
        if image.format == "PPM" and rest and isinstance(rest[0], int) and len(given) == 2 and rest[0] > 255:
            return rest[0].bit_length()  # its largest value
    return None


def _bits_of_jpeg_2000(image: Image.Image) -> int:
    """The largest number of bits of a channel, from the header of the code stream; 8 where there is none."""
    file = getattr(image, "fp", None)
    if file is None:
        return 8
    place = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(place)
    _, _, header = content.partition(_SIZE_OF_JPEG_2000)
    # Below the marker are 36 bytes of lengths, the number of channels, and three bytes for each, its bits first.
    channels = int.from_bytes(header[36:38], "big")
    return max([(each & 0x7F) + 1 for each in header[38 : 38 + 3 * channels : 3]], default=8)
