from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from camtrain.data.image_file import image_size, label_map, object_mask, rgb_image

RGB = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.mark.parametrize("extension", ["png", "webp", "bmp", "tiff"])
def test_lossless_types_are_read_exactly(tmp_path, extension):
    path = tmp_path / f"image.{extension}"
    Image.fromarray(RGB).save(path, **({"lossless": True} if extension == "webp" else {}))
    image = rgb_image(path)
    assert image.dtype == torch.uint8
    assert torch.equal(image, torch.from_numpy(RGB).permute(2, 0, 1))
    assert image_size(path) == (4, 6)


def test_gray_becomes_three_equal_channels(tmp_path):
    Image.fromarray(RGB[:, :, 0]).save(tmp_path / "gray.png")
    image = rgb_image(tmp_path / "gray.png")
    assert torch.equal(image, torch.from_numpy(RGB[:, :, 0]).expand(3, 4, 6))


def test_transparent_palette_is_read_on_white_without_a_warning(tmp_path):
    palette = Image.fromarray(RGB).quantize(4)
    palette.save(tmp_path / "palette.png", transparency=bytes([0, 255, 0, 255]))
    is_shown = np.isin(np.asarray(palette), (1, 3))[:, :, None]
    assert 0 < is_shown.sum() < is_shown.size
    expected = np.where(is_shown, np.asarray(palette.convert("RGB")), 255)
    assert np.array_equal(rgb_image(tmp_path / "palette.png").permute(1, 2, 0).numpy(), expected)


def _text(path):
    path.write_text("not an image")


def _empty(path):
    path.touch()


def _truncated(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path, format="png")
    path.write_bytes(path.read_bytes()[:5000])


def _sixteen_bits(path):
    Image.fromarray(np.full((4, 6), 3000, dtype=np.uint16)).save(path, format="png")


@pytest.mark.parametrize("damage", [_text, _empty, _truncated, _sixteen_bits])
def test_unreadable_image_is_named(tmp_path, damage):
    path = tmp_path / "damaged.png"
    damage(path)
    with pytest.raises(ValueError, match=r"cannot read the image .*damaged.png: ."):
        rgb_image(path)


@pytest.mark.parametrize("read", [rgb_image, image_size, label_map, object_mask])
def test_missing_image_is_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"no such image: .*missing.png"):
        read(tmp_path / "missing.png")


def test_sixteen_bits_would_saturate(tmp_path):
    """The reason why they are refused; if Pillow learns to scale them, the refusal can go."""
    _sixteen_bits(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as image:
        assert np.asarray(image.convert("RGB")).min() == 255


def test_object_is_where_any_channel_is_not_zero(tmp_path):
    expected = torch.tensor([[True, False, False], [False, True, True]])
    on = expected.numpy().astype(np.uint8)
    opaque = np.full_like(on, 255)
    nothing = np.zeros_like(on)
    masks = {
        "gray.png": Image.fromarray(on),  # 1 is not zero
        "bilevel.png": Image.fromarray(on * 255).convert("1"),
        "deep.png": Image.fromarray(on.astype(np.uint16) * 256),
        "blue.png": Image.fromarray(np.stack([nothing, nothing, on], axis=2)),
        "opaque.png": Image.fromarray(np.stack([on, nothing, nothing, opaque], axis=2)),
        "gray_opaque.png": Image.fromarray(np.stack([on, opaque], axis=2)),
    }
    palette = Image.fromarray(on).convert("P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    masks["palette.png"] = palette
    masks["cut_out.png"] = Image.fromarray(np.stack([on, on, on, on], axis=2) * 255)  # what is not seen is black
    cyan = Image.fromarray(np.stack([on * 255] * 3, axis=2)).convert("CMYK")
    assert np.asarray(cyan)[0, 1].any()  # black is a number that is not zero
    masks["print.tiff"] = cyan
    for name, mask in masks.items():
        mask.save(tmp_path / name)
        assert torch.equal(object_mask(tmp_path / name), expected), name


def test_label_map_keeps_numbers(tmp_path):
    Image.fromarray(RGB[:, :, 0]).save(tmp_path / "labels.png")
    assert label_map(tmp_path / "labels.png").tolist() == RGB[:, :, 0].tolist()


def test_label_map_has_one_number_per_pixel(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "color.png")
    with pytest.raises(ValueError, match=r"color.png: expected one number per pixel, got mode 'RGB'"):
        label_map(tmp_path / "color.png")
