"""Where a sheet has its tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camtrain.pictures import Panel, Tile, contact_sheet, reduced, shown_pixels


@pytest.mark.parametrize("tile", [128, 256])
def test_tiles_are_where_rows_and_columns_say(tile):
    pictures = torch.rand(4, 3, 16, 16)
    rows = [
        Panel([Tile("a", pictures[0]), Tile("b", pictures[1])]),
        Panel([Tile("a", pictures[2]), Tile("b", pictures[3])]),
    ]
    sheet = contact_sheet(rows, "title", tile)
    assert sheet.shape == (40 + 2 * (16 + tile + 8), 8 + 2 * (tile + 8), 3)
    for number, picture in enumerate(pictures):
        top, left = 40 + 16 + (number // 2) * (16 + tile + 8), 8 + (number % 2) * (tile + 8)
        np.testing.assert_array_equal(sheet[top : top + tile, left : left + tile], shown_pixels(picture, tile))


def test_images_of_different_shapes_share_a_sheet():
    wide, tall = torch.zeros(3, 64, 96), torch.zeros(3, 96, 64)
    sheet = contact_sheet([Panel([Tile("", wide)]), Panel([Tile("", tall)])], "")
    assert sheet.shape == (40 + 2 * (16 + 192 + 8), 8 + 192 + 8, 3)
    black = (sheet == 0).all(axis=2)
    assert black[56 : 56 + 128, 8:200].all()
    assert black[272 : 272 + 192, 8:136].all()
    assert black.sum() == 2 * 128 * 192


def test_a_tile_that_was_reduced_looks_the_same():
    for size in [(300, 200), (50, 60)]:
        pixels = torch.rand(3, *size)
        np.testing.assert_array_equal(shown_pixels(reduced(pixels)), shown_pixels(pixels))


def test_long_titles_stay_on_the_sheet():
    words = "a long name of something " * 9
    sheet = contact_sheet([Panel([Tile(words, torch.zeros(3, 8, 8), words)])], words)
    assert (sheet[:, :2] == 255).all()
    assert (sheet[:, -2:] == 255).all()
