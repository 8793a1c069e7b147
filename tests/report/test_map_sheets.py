"""Sheets of maps of points whose galleries differ."""

from __future__ import annotations

import html

import numpy as np
import pytest
from PIL import Image

from camtrain.cli import main
from camtrain.pictures.object_outline import OUTLINE_COLOR
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
    tops = [40 + row * (16 + 192 + 8) + 16 for row in range(rows)]
    lefts = range(8, pixels.shape[1] - 8, 192 + 8)
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

    def kept(rows, _title, _tile):
        sheets.append(rows)
        return np.zeros((1, 1, 3), dtype=np.uint8)

    monkeypatch.setattr("camtrain.report.map_sheets.contact_sheet", kept)
    map_sheets(study, points_of(study), study.folder / "figures")
    assert [[tile.title for tile in panel.tiles] for panel in sheets[0]] == [
        ["cat", "cat, 90 %", "class 0, 90 %", "class 0, 90 %"],
        ["owl", "✗ dog, 40 %", "✗ class 1, 40 %", "✗ class 1, 40 %"],
    ]


def test_each_network_is_right_or_wrong_about_its_own_class(study):
    """An image that shows several classes has in each gallery the label that this network's class is compared with."""
    for place in range(len(study.trials)):
        right = np.array([place % 2, 2])
        with_other_gallery(study, place, lambda arrays, right=right: {**arrays, "labels": right, "predictions": right})
    rows = map_sheets(study, points_of(study), study.folder / "figures").rows["grad_cam"]
    assert [tile.is_wrong for row in rows for tile in row.tiles] == [False] * 8


def test_an_unknown_probability_is_not_shown(study):
    with_other_gallery(study, 0, lambda arrays: {**arrays, "probabilities": np.array([np.nan, 0.4])})
    rows = map_sheets(study, points_of(study), study.folder / "figures").rows["grad_cam"]
    assert rows[0].tiles[1].caption == "class 0"
    assert rows[0].tiles[2].caption == "class 0, 90\N{NO-BREAK SPACE}%"


@pytest.mark.usefixtures("no_figures")
def test_the_page_and_the_terminal_say_what_is_left_out(study, capsys):
    with_other_gallery(study, 1, lambda arrays: {**arrays, "indices": np.array([1, 5])})
    main(["report", str(study.folder)])
    note = "Left out of the pictures, since their images are not the first point's: λ = 0.1."
    assert note in capsys.readouterr().out.replace("\n", " ")
    assert note in html.unescape((study.folder / "report.html").read_text())


def test_pictures_may_be_rounded_otherwise(study):
    def rounded(arrays):
        return {**arrays, "pictures": arrays["pictures"] + (arrays["pictures"] < 255)}

    with_other_gallery(study, 1, rounded)
    assert map_sheets(study, points_of(study), study.folder / "figures").left_out == []


def described(arrays):
    """The gallery with names, a box of the first image and a mask of the second one."""
    boxes = np.full((2, 1, 4), np.nan, dtype=np.float32)
    boxes[0, 0] = (0.25, 0.5, 0.75, 1)
    masks = np.zeros((2, 16, 16), dtype=bool)
    masks[1, 4:8, 2:10] = True
    return {**arrays, "names": np.array(["a.jpg", "b.jpg"]), "boxes": boxes, "masks": masks}


def test_images_have_names_boxes_and_masks(study):
    for place in range(3):
        with_other_gallery(study, place, described)
    found = map_sheets(study, points_of(study), study.folder / "figures")
    assert found.has_outlines
    assert [row.title for row in found.rows["grad_cam"]] == ["a.jpg: class 0", "b.jpg: class 2"]
    tiles = found.rows["grad_cam"][0].tiles
    assert [tile.heading for tile in tiles] == ["photograph", "λ = 0", "λ = 0.1", "λ = 1"]
    assert [tile.caption for tile in tiles] == ["", *3 * ["class 0, 90\N{NO-BREAK SPACE}%"]]
    assert [tile.is_wrong for tile in found.rows["grad_cam"][1].tiles] == [False, True, True, True]
    with Image.open(found.paths["grad_cam"]) as sheet:
        green = (np.asarray(sheet) == OUTLINE_COLOR).all(axis=2)
    # Two lines of titles; pixels of 12 × 12.
    tops = [40 + 30, 40 + 30 + 192 + 8 + 30]
    for top, (x0, y0, x1, y1) in zip(tops, ((4, 8, 12, 16), (2, 4, 10, 8)), strict=True):
        for left in range(8, 808, 200):
            inside = green[top : top + 192, left : left + 192]
            rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
            assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == (12 * x0, 12 * y0, 12 * x1, 12 * y1)


@pytest.mark.usefixtures("no_figures")
def test_the_page_shows_a_few_of_many_images(study):
    def many(arrays):
        return {name: np.repeat(array, 10, axis=0) for name, array in arrays.items()}

    for place in range(3):
        with_other_gallery(study, place, many)
    found = map_sheets(study, points_of(study), study.folder / "figures")
    assert [len(rows) for rows in found.rows.values()] == [12, 12]
    assert found.note == "The page shows the first 12 of 20 images; figures/ has all."
