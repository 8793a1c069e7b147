"""Where a sheet has its tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camtrain.pictures import ObjectOutline, Panel, Tile, contact_sheet, reduced, shown_pixels
from camtrain.pictures.object_outline import OUTLINE_COLOR


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


def test_a_title_that_does_not_fit_goes_on_in_a_second_line():
    words = "a name of some twenty letters and more"
    sheet = contact_sheet([Panel([Tile("kind", torch.zeros(3, 16, 16), words)])], "")
    assert sheet.shape == (40 + 16 + 12 + 128 + 8, 8 + 136, 3)
    assert (sheet[40 + 16 + 12 : 40 + 16 + 12 + 128, 8:136] == 0).all()
    ink = (sheet[40:68] < 128).any(axis=(1, 2))
    assert ink[:14].any(), "the first line"
    assert ink[14:].any(), "the second line"


def test_panels_with_more_tiles_than_columns_go_on_below():
    """Five tiles in rows of two; each has its kind as its title, and there are no headings of columns."""
    pictures = torch.rand(5, 3, 16, 16)
    panel = Panel([Tile(f"kind {number}", picture, "title") for number, picture in enumerate(pictures)])
    sheet = contact_sheet([panel], "title", 192, most_columns=2)
    height = 16 + 14 + 192 + 8
    assert sheet.shape == (16 + 3 * height, 8 + 2 * 200, 3)
    for number, picture in enumerate(pictures):
        top, left = 16 + 30 + number // 2 * height, 8 + number % 2 * 200
        np.testing.assert_array_equal(sheet[top : top + 192, left : left + 192], shown_pixels(picture, 192))
        assert (sheet[top - 30 : top, left : left + 192] < 128).any(), f"a title above tile {number}"


def test_boxes_and_masks_are_drawn_where_they_are():
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[8:24, 4:12] = True
    picture = torch.full((3, 16, 16), 0.5)
    outline = ObjectOutline.of(picture, torch.tensor([[10.0, 2.0, 15.0, 9.0]]), mask)
    sheet = contact_sheet([Panel([Tile("a", picture, outline=outline), Tile("b", picture)])], "")
    drawn = (sheet[56:184, 8:136] == OUTLINE_COLOR).all(axis=2)
    expected = np.zeros((128, 128), dtype=bool)
    # A line of one pixel inside the mask, (4, 8, 12, 24) of 32, and inside the box.
    for x0, y0, x1, y1 in ((16, 32, 48, 96), (80, 16, 120, 72)):
        expected[y0:y1, x0:x1] = True
        expected[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = False
    np.testing.assert_array_equal(drawn, expected)
    assert not (sheet[56:184, 144:272] == OUTLINE_COLOR).all(axis=2).any(), "no outline on the other tile"


def test_nothing_is_drawn_where_nothing_is_known():
    picture = torch.zeros(3, 8, 8)
    assert ObjectOutline.of(picture, None, torch.zeros(8, 8, dtype=torch.bool)) is None
    assert ObjectOutline.of(picture, torch.zeros(0, 4), None) is None
