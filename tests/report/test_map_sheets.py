"""Sheets of maps of points whose galleries differ."""

from __future__ import annotations

import html

import numpy as np
import pytest
from PIL import Image

from camtrain.cli import main
from camtrain.report.map_sheets import map_sheets
from camtrain.report.points import points_of
from tests.report.studies import made_up, simple, with_other_gallery, with_pictures

NO_MAP = round(0.85 * 255)  # gray of a tile with a note


@pytest.fixture
def study(tmp_path):
    rows = [simple(weight, 0, 0.9, 0.5, 0.6) for weight in (0, 0.1, 1)]
    return with_pictures(made_up(tmp_path, rows), ("grad_cam", "layer_cam"))


def without(name):
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


def corners(path, rows=2):
    """The upper left corner of each tile, by row and column."""
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet)
    tops = [40 + row * (16 + 128 + 8) + 16 for row in range(rows)]
    lefts = range(8, pixels.shape[1] - 8, 128 + 8)
    return [[pixels[top : top + 20, left : left + 20] for left in lefts] for top in tops]


@pytest.mark.parametrize("place", [0, 2])
def test_a_point_without_a_method_has_an_empty_tile(study, place):
    """Any point may lack a method, also the first one."""
    points = points_of(with_other_gallery(study, place, without("cam/layer_cam")))
    found = map_sheets(study, points, study.folder / "figures")
    assert set(found.paths) == {"grad_cam", "layer_cam"}
    assert found.note == ""
    for method, empty in (("grad_cam", []), ("layer_cam", [1 + place])):  # the first column is the image
        for tiles in corners(found.paths[method]):
            assert [column for column, tile in enumerate(tiles) if (tile == NO_MAP).all()] == empty


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: {key: array[:1] for key, array in arrays.items()},
        lambda arrays: {**arrays, "indices": np.array([1, 5])},
        lambda arrays: {**arrays, "pictures": 255 - arrays["pictures"]},
        lambda arrays: {**arrays, "pictures": arrays["pictures"][:, ::2, ::2]},
    ],
    ids=["fewer", "other indices", "other pictures", "other sizes"],
)
def test_galleries_of_other_images_are_left_out(study, change):
    points = points_of(with_other_gallery(study, 1, change))
    found = map_sheets(study, points, study.folder / "figures")
    assert found.left_out == ["λ = 0.1"]
    assert [len(tiles) for tiles in corners(found.paths["grad_cam"])] == [3, 3]  # the image and two points


def test_tiles_have_the_names_of_classes(study, monkeypatch):
    """Labels are 0 and 2, of the second image 1 is predicted; only one of the points knows names."""
    names = np.array(["cat", "dog", "owl"])
    with_other_gallery(study, 0, lambda arrays: {**arrays, "class_names": names})
    sheets = []

    def kept(rows, _title):
        sheets.append(rows)
        return np.zeros((1, 1, 3), dtype=np.uint8)

    monkeypatch.setattr("camtrain.report.map_sheets.contact_sheet", kept)
    map_sheets(study, points_of(study), study.folder / "figures")
    assert [[tile.title for tile in panel.tiles] for panel in sheets[0]] == [
        ["cat", "cat, 90 %", "class 0, 90 %", "class 0, 90 %"],
        ["owl", "✗ dog, 40 %", "✗ class 1, 40 %", "✗ class 1, 40 %"],
    ]


def test_the_page_and_the_terminal_say_what_is_left_out(study, capsys):
    with_other_gallery(study, 1, lambda arrays: {**arrays, "indices": np.array([1, 5])})
    main(["report", str(study.folder)])
    note = "Left out of the pictures, since their images are not the first point's: λ = 0.1."
    assert note in capsys.readouterr().out
    text = html.unescape((study.folder / "report.html").read_text())
    assert text.count(note) == 2  # below the sheet of each method


def test_pictures_may_be_rounded_otherwise(study):
    def rounded(arrays):
        return {**arrays, "pictures": arrays["pictures"] + (arrays["pictures"] < 255)}

    with_other_gallery(study, 1, rounded)
    assert map_sheets(study, points_of(study), study.folder / "figures").left_out == []
