"""`map_layout`: which pixels and tokens belong to which place, from shapes alone; the way to maps and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain.networks.map_layout import PixelLayout, TokenLayout, map_layout

FIRST, LAST = PixelLayout(channel_axis=1), PixelLayout(channel_axis=3)


def network(patch: int | tuple[int, int] | None) -> nn.Module:
    """With a patch embedding, or without one."""
    return nn.Identity() if patch is None else nn.Sequential(nn.Conv2d(3, 8, patch, patch))


def layout(shape, size, patch=None, layer=None):
    return map_layout(torch.zeros(shape), layer or nn.Identity(), torch.zeros(shape[0], 3, *size), network(patch))


# Pixels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((2, 512, 7, 7), (224, 224), FIRST),  # ResNet
        ((2, 768, 7, 7), (224, 224), FIRST),
        ((2, 7, 7, 768), (224, 224), LAST),  # Swin
        ((2, 56, 56, 96), (224, 224), LAST),
        ((2, 7, 5, 768), (224, 160), LAST),
        ((2, 768, 7, 5), (224, 160), FIRST),
        ((2, 13, 13, 384), (100, 100), LAST),  # each stage pads: 100, 25, 13
        ((2, 30, 30, 8), (32, 32), FIRST),  # 30×8 of convolutions without padding: 30 is not 32 over a stride
        ((2, 8, 30, 30), (32, 32), FIRST),
        ((2, 512, 7, 7), (32, 32), FIRST),  # VGG's pooling enlarges
        ((2, 512, 1, 1), (32, 32), FIRST),
        ((2, 1, 1, 512), (32, 32), LAST),
        ((2, 3, 32, 64), (32, 64), FIRST),
        ((0, 16, 8, 8), (32, 32), FIRST),
        ((2, 28, 28, 32), (224, 224), LAST),  # no stride makes 28×32 of a square image
    ],
)
def test_pixels(shape, size, expected):
    assert layout(shape, size) == expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(3, 16, 1), FIRST),
        (nn.ReLU(), FIRST),
        (nn.Sequential(nn.Conv2d(16, 16, 1), nn.LayerNorm(16), nn.Linear(16, 16)), FIRST),  # as in ConvNeXt
        (nn.Sequential(nn.BatchNorm2d(16), nn.Linear(16, 16)), FIRST),
        (nn.LayerNorm(16), LAST),
        (nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16)), LAST),
        (type("LayerNorm2d", (nn.LayerNorm,), {})(16), FIRST),  # over the channels of (N, C, h, w)
        (nn.Linear(64, 8), FIRST),  # has no 16 channels to put out
    ],
)
def test_as_many_channels_as_rows_and_columns(layer, expected):
    assert layout((2, 16, 16, 16), (32, 32), layer=layer) == expected


# Tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "size", "patch", "expected"),
    [
        (197, (224, 224), 16, (1, 14, 14)),
        (198, (224, 224), 16, (2, 14, 14)),  # DeiT with a distillation token
        (196, (224, 224), 16, (0, 14, 14)),
        (261, (224, 224), 14, (5, 16, 16)),  # DINOv2 with registers
        (141, (224, 160), 16, (1, 14, 10)),
        (141, (160, 224), 16, (1, 10, 14)),
        (37, (100, 100), 16, (1, 6, 6)),  # a border of 4 pixels is left out
        (50, (100, 100), 16, (1, 7, 7)),  # or padded
        (49, (224, 224), 16, (0, 7, 7)),  # after 2×2 tokens were merged
        (50, (224, 224), 4, (1, 7, 7)),
        (9, (32, 32), 16, (5, 2, 2)),  # and not 3×3, which the patches do not make
        (10, (100, 100), 32, (1, 3, 3)),  # and not 2×2 after 6 prefix tokens
        (28, (32, 56), (8, 8), (0, 4, 7)),
        (15, (32, 56), (8, 16), (3, 4, 3)),  # patches that are no squares
        (197, (224, 224), None, (1, 14, 14)),
        (36, (96, 96), None, (0, 6, 6)),
        (8, (32, 64), None, (0, 2, 4)),
        (11, (32, 64), None, (3, 2, 4)),
        (64, (64, 64), None, (0, 8, 8)),
    ],
)
def test_tokens(tokens, size, patch, expected):
    assert layout((2, tokens, 8), size, patch) == TokenLayout(*expected)


@pytest.mark.parametrize(
    ("tokens", "size", "patch", "nearest"),
    [
        (206, (224, 224), 16, "14×14 = 196, "),  # ten prefix tokens
        (195, (224, 224), 16, "14×14 = 196, 7×7 = 49"),
        (257, (224, 224), 16, "14×14 = 196"),  # and not 16×16, for the patches are 14×14
        (2, (224, 224), 16, ".*2×2 = 4"),
        (1, (224, 224), 16, ".*2×2 = 4"),
        (50, (96, 96), None, "6×6 = 36"),
    ],
)
def test_tokens_that_make_no_map(tokens, size, patch, nearest):
    with pytest.raises(
        ValueError,
        match=rf"`target_layer`: expected tokens that make a map of images of {size[0]}×{size[1]} after at most 8 "
        rf"prefix tokens, got \(2, {tokens}, 8\) with {tokens} tokens; the nearest maps have {nearest}",
    ):
        layout((2, tokens, 8), size, patch)


@pytest.mark.parametrize("shape", [(2, 8), (2, 8, 3, 3, 3), (2,)])
def test_neither_pixels_nor_tokens(shape):
    with pytest.raises(ValueError, match=r"puts out \(N, C, h, w\), \(N, h, w, C\) or tokens \(N, L, C\), got \(2,"):
        layout(shape, (32, 32))


def test_windows_of_images_are_not_images():
    images = torch.zeros(2, 3, 64, 64)
    with pytest.raises(ValueError, match=r"an output for each of 2 images, got \(8, 16, 4\)"):
        map_layout(torch.zeros(8, 16, 4), nn.Identity(), images, nn.Identity())


# There and back ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "shape", "size"),
    [
        (FIRST, (2, 5, 3, 4), (3, 4)),
        (LAST, (2, 3, 4, 5), (3, 4)),
        (TokenLayout(0, 3, 4), (2, 12, 5), (3, 4)),
        (TokenLayout(2, 3, 4), (2, 14, 5), (3, 4)),
    ],
)
def test_maps_and_back(layout, shape, size):
    output = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    maps = layout.maps(output)
    assert maps.shape == (2, 5, *size)
    assert maps.untyped_storage().data_ptr() == output.untyped_storage().data_ptr()  # nothing is copied
    assert torch.equal(layout.output(maps, output), output)
    # Other maps in their place: all but prefix tokens is theirs.
    others = torch.randn(2, 5, *size, dtype=torch.float64)
    changed = layout.output(others, output)
    assert changed.shape == output.shape
    assert torch.equal(layout.maps(changed), others)
    assert torch.equal(changed[:, :2], output[:, :2]) == (getattr(layout, "prefix", 0) == 2)
    assert torch.autograd.gradcheck(layout.maps, (output,))
    assert torch.autograd.gradcheck(layout.output, (others.requires_grad_(), output))


def test_tokens_lie_row_by_row_as_the_patches_do():
    torch.manual_seed(0)
    embedding = nn.Conv2d(3, 5, 8, 8)
    images = torch.rand(2, 3, 24, 40)
    pixels = embedding(images)
    tokens = torch.cat([torch.zeros(2, 1, 5), pixels.flatten(2).transpose(1, 2)], dim=1)
    found = map_layout(tokens, nn.Identity(), images, embedding)
    assert found == TokenLayout(prefix=1, height=3, width=5)
    assert torch.equal(found.maps(tokens), pixels)
