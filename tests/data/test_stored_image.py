from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from camtrain.data.image_file import image_orientation, image_size, rgb_image
from camtrain.data.stored_image import stored_image
from camtrain.messages import DataError, MissingImageError
from camtrain.pixel_format import PixelFormat
from tests.data.raster_files import write_png_of_16_bits

FOUR = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)  # (H, W, C)
FLOATS = PixelFormat(4, "float32", (-1, 3))


def test_one_channel_of_16_bits(tmp_path):
    stored = np.array([[0, 1023], [4095, 65535]], dtype=np.uint16)
    write_png_of_16_bits(tmp_path / "a.png", stored[..., None])
    read = stored_image(tmp_path / "a.png", PixelFormat(1, "uint16", (0, 4092)))
    # 1023 / 4092 = 1/4; what is above the range stays above 1.
    expected = torch.tensor([[[0, 0.25], [4095 / 4092, 65535 / 4092]]])
    assert read.dtype == torch.float32
    assert torch.equal(read.as_subclass(torch.Tensor), expected)


def test_four_channels_in_floating_point(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    whole = {"photometric": "minisblack", "planarconfig": "contig"}
    apart = {"photometric": "minisblack", "planarconfig": "separate"}
    tifffile.imwrite(tmp_path / "pixel by pixel.tif", FOUR, **whole)
    tifffile.imwrite(tmp_path / "in other bytes.TIFF", FOUR, **whole, byteorder=">")
    tifffile.imwrite(tmp_path / "compressed.tif", FOUR, **whole, compression="zlib")
    tifffile.imwrite(tmp_path / "band by band.tif", FOUR.transpose(2, 0, 1), **apart)
    tifffile.imwrite(tmp_path / "pages.tif", FOUR.transpose(2, 0, 1), photometric="minisblack")
    for path in tmp_path.iterdir():
        read = stored_image(path, FLOATS)
        # (p + 1) / 4: the last pixel holds 20, 21, 22 and 23, the first one 0, 1, 2 and 3.
        assert read.shape == (4, 2, 3), path
        assert read[:, 0, 0].tolist() == [0.25, 0.5, 0.75, 1], path
        assert read[:, 1, 2].tolist() == [5.25, 5.5, 5.75, 6], path


def test_thirteen_channels(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    bands = np.arange(13 * 2 * 2, dtype=np.int16).reshape(2, 2, 13) - 26
    tifffile.imwrite(tmp_path / "a.tif", bands, photometric="minisblack", planarconfig="contig")
    read = stored_image(tmp_path / "a.tif", PixelFormat(13, "int16", (-26, 26)))
    assert read[:, 1, 0].tolist() == pytest.approx([0.5 + band / 52 for band in range(13)])


def test_arrays(tmp_path):
    formats = {"HWC": (FOUR, FLOATS), "CHW": (FOUR.transpose(2, 0, 1), PixelFormat(4, "float32", (-1, 3), True))}
    for name, (array, pixel_format) in formats.items():
        np.save(tmp_path / f"{name}.npy", array)
        read = stored_image(tmp_path / f"{name}.npy", pixel_format)
        assert read[:, 1, 2].tolist() == [5.25, 5.5, 5.75, 6]
        assert image_size(tmp_path / f"{name}.npy", pixel_format=pixel_format) == (2, 3)
    np.save(tmp_path / "gray.npy", np.array([[0, 255]], dtype=np.uint8))
    for first in (False, True):
        read = stored_image(tmp_path / "gray.npy", PixelFormat(1, channels_first=first))
        assert (read.dtype, read.tolist()) == (torch.uint8, [[[0, 255]]])


def test_bytes_stay_bytes_unless_a_range_is_stated(tmp_path):
    Image.fromarray(np.array([[0, 51, 255]], dtype=np.uint8)).save(tmp_path / "a.png")
    assert stored_image(tmp_path / "a.png", PixelFormat(1)).tolist() == [[[0, 51, 255]]]
    scaled = stored_image(tmp_path / "a.png", PixelFormat(1, value_range=(0, 51)))
    assert (scaled.dtype, scaled.tolist()) == (torch.float32, [[[0, 1, 5]]])


def test_transparency_is_a_channel_and_a_palette_holds_colors(tmp_path):
    image = Image.new("RGBA", (1, 1), (10, 20, 30, 0))
    image.save(tmp_path / "four.png")
    assert stored_image(tmp_path / "four.png", PixelFormat(4)).flatten().tolist() == [10, 20, 30, 0]
    Image.new("RGB", (1, 1), (10, 20, 30)).quantize(2).save(tmp_path / "palette.png")
    assert stored_image(tmp_path / "palette.png", PixelFormat(3)).flatten().tolist() == [10, 20, 30]
    Image.new("1", (2, 1), 1).save(tmp_path / "bits.png")
    assert stored_image(tmp_path / "bits.png", PixelFormat(1)).flatten().tolist() == [255, 255]


def test_images_are_turned(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    on_its_side = np.array([[1, 2, 3]], dtype=np.uint8)
    tag = (274, "H", 1, 6, True)
    tifffile.imwrite(tmp_path / "a.tif", on_its_side, extratags=[tag])
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(on_its_side).save(tmp_path / "a.png", exif=exif)
    for name in ("a.tif", "a.png"):
        path, gray = tmp_path / name, PixelFormat(1)
        assert stored_image(path, gray).tolist() == [[[1], [2], [3]]]
        assert (image_orientation(path, gray), image_size(path, pixel_format=gray)) == (6, (3, 1))
        assert image_size(path, "stored", gray) == (1, 3)


def test_what_is_not_stated_is_refused(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "rgb.png")
    write_png_of_16_bits(tmp_path / "deep.png", np.zeros((2, 2, 1), dtype=np.uint16))
    write_png_of_16_bits(tmp_path / "deep rgb.png", np.zeros((2, 2, 3), dtype=np.uint16))
    np.save(tmp_path / "first.npy", np.zeros((4, 8, 8), dtype=np.uint8))
    np.save(tmp_path / "flat.npy", np.zeros(5, dtype=np.uint8))
    np.save(tmp_path / "nan.npy", np.full((2, 2), np.nan, dtype=np.float32))
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.png").write_text("no image")
    for name, pixel_format, message in (
        ("rgb.png", PixelFormat(4), "`channels`: expected 4 channels of uint8, got a file with 3 channels of uint8"),
        ("deep.png", PixelFormat(1), "`pixel_type`: expected 1 channel of uint8, got a file with 1 channel of uint16"),
        ("deep rgb.png", PixelFormat(3, "uint16", (0, 1)), "it has 16 bits per channel, of which Pillow reads 8; save"),
        ("rgb.png", PixelFormat(3, "float32", (0, 1)), "`pixel_type`: expected 3 channels of float32, got a file with"),
        ("first.npy", PixelFormat(4), r"got one of shape \(4, 8, 8\); set `channels_first: true` if all files are so"),
        ("flat.npy", PixelFormat(4), r"expected an array \(H, W, C\), got one of shape \(5,\)"),
        ("nan.npy", PixelFormat(1, "float32", (0, 1)), "it holds NaN or infinity"),
        ("objects.npy", PixelFormat(1), "cannot read"),
        ("empty.npy", PixelFormat(1), "cannot read"),
        ("text.png", PixelFormat(1), "it is no image of a type that Pillow reads"),
    ):
        with pytest.raises(DataError, match=message) as error:
            stored_image(tmp_path / name, pixel_format)
        assert str(error.value).startswith(f"cannot read the image {tmp_path / name}: ")
    for name in ("missing.png", "missing.npy"):
        with pytest.raises(MissingImageError, match=name):
            stored_image(tmp_path / name, PixelFormat(1))


def test_tiff_files_that_are_refused(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "pages.tif", np.zeros((2, 3, 8, 8, 3), dtype=np.uint8), photometric="rgb")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "pages.tif").read_bytes()[:20])
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((8, 8), dtype=np.uint16))
    for name, message in (
        ("pages.tif", r"expected one picture, got an array of shape \(2, 3, 8, 8, 3\)"),
        ("cut.tif", "cannot read"),
        ("deep.tif", "`pixel_type`: expected 1 channel of uint8, got a file with 1 channel of uint16"),
    ):
        with pytest.raises(DataError, match=message):
            stored_image(tmp_path / name, PixelFormat(1))


def test_large_files_are_refused_by_their_header(tmp_path, monkeypatch):
    monkeypatch.setenv("CAMTRAIN_MAX_PIXELS", "63")
    np.save(tmp_path / "a.npy", np.zeros((8, 8), dtype=np.uint8))
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    for name in ("a.npy", "a.png"):
        with pytest.raises(DataError, match=r"it has 8x8 pixels .*, more than 63"):
            stored_image(tmp_path / name, PixelFormat(1))


def test_what_tiff_files_need(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    Image.new("L", (2, 2)).save(tmp_path / "a.tif")
    with pytest.raises(ModuleNotFoundError, match=r"`channels`: TIFF files .* need `pip install 'camtrain\[tiff\]'`"):
        stored_image(tmp_path / "a.tif", PixelFormat(1))
    assert rgb_image(tmp_path / "a.tif").shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "`channels`: expected a positive integer, got 0"),
        ((1, "byte"), "`pixel_type`: expected one of uint8, uint16, .* got 'byte'"),
        ((1, "uint16"), "`value_range`: expected the numbers of uint16 that are black and white"),
        ((1, "float32", (1, 1)), "`value_range`: expected two finite numbers, the first less than the second"),
        ((1, "float32", (0, 1, 2)), "`value_range`: expected two finite numbers"),
    ],
)
def test_formats_that_say_too_little(arguments, message):
    with pytest.raises(ValueError, match=message):
        PixelFormat(*arguments)
