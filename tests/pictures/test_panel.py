"""Tiles of the different kinds."""

from __future__ import annotations

import pytest
import torch

from camtrain.pictures import gradient_picture, gradient_tile, map_tile, note_tile, overlay


def test_a_map_tile_shows_the_map_and_a_flat_one_says_so():
    picture, cam = torch.rand(3, 4, 4), torch.rand(4, 4)
    tile = map_tile("Grad-CAM", picture, cam, "cat 70%")
    assert (tile.kind, tile.title, tile.color, tile.outline) == ("Grad-CAM", "cat 70%", "black", None)
    assert torch.equal(tile.pixels, overlay(picture, cam))
    assert map_tile("Grad-CAM", picture, 0 * cam, "cat 70%").title == "cat 70% (flat map)"


def test_a_tile_of_values_that_are_not_finite_is_a_note():
    picture, cam = torch.rand(3, 4, 4), torch.rand(4, 4)
    for wrong in ((picture, cam + torch.nan), (picture + torch.inf, cam)):
        tile = map_tile("Grad-CAM", *wrong, "cat 70%")
        assert (tile.kind, tile.title) == ("Grad-CAM", "cat 70%")
        assert "NaN or infinity" in tile.note.replace("\n", " ")
        assert tile.pixels.isfinite().all()


def test_a_gradient_tile_shows_the_gradient_and_a_zero_one_says_so():
    gradient = torch.randn(3, 4, 4)
    assert torch.equal(gradient_tile("gradient", gradient).pixels, gradient_picture(gradient))
    assert gradient_tile("gradient", gradient).title == ""
    assert gradient_tile("gradient", 0 * gradient).title == "(zero)"


@pytest.mark.parametrize("words", [3, 300])
def test_a_note_is_wrapped_and_fits(words):
    note = note_tile("CAM", torch.zeros(3, 8, 8), "word " * words).note
    lines = note.split("\n")
    assert len(lines) <= 9
    assert max(map(len, lines)) <= 25
    assert note.endswith("…") == (words == 300)
