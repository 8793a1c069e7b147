from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from PIL import Image

from camtrain.data.box_format import BoxFormat
from camtrain.data.boxes_csv import boxes_from_csv
from camtrain.data.image_boxes import ImageBoxes
from camtrain.messages import CamtrainWarning

IMAGES = ["train/cat/1.png", "train/cat/2.png", "train/cat/3.png"]
HEADER = "path,x0,y0,x1,y1\n"


@pytest.fixture
def root(tmp_path):
    """Three images of 20x10 pixels, the third of which cannot be read."""
    (tmp_path / "train" / "cat").mkdir(parents=True)
    for path in IMAGES[:2]:
        Image.fromarray(np.zeros((10, 20, 3), dtype=np.uint8)).save(tmp_path / path)
    (tmp_path / IMAGES[2]).write_text("no image")
    return tmp_path


def read(root, text, encoding="utf-8"):
    (root / "boxes.csv").write_text(text, encoding=encoding)
    return found(root)


def found(root, name="xyxy", normalized=False):
    box_format = BoxFormat(name, normalized)
    boxes = ImageBoxes(root / "boxes.csv", root, IMAGES, box_format)
    boxes_from_csv(root / "boxes.csv", boxes, box_format.columns)
    return boxes.found("boxes_csv")


def test_several_boxes_per_image(root):
    text = HEADER + "train/cat/2.png,0,0,20,10\ntrain/cat/1.png,1,2,3,4\n\ntrain/cat/2.png, 1.5 ,2,3.25,1e1\n"
    assert read(root, text) == {
        "train/cat/2.png": ((0, 0, 20, 10), (1.5, 2, 3.25, 10)),
        "train/cat/1.png": ((1, 2, 3, 4),),
    }


@pytest.mark.parametrize("text", [HEADER, HEADER + "\n\n"])
def test_header_alone_is_an_error(root, text):
    with pytest.raises(ValueError, match=r"boxes.csv: expected boxes below the header, got none"):
        read(root, text)


def test_spreadsheets_write_a_byte_order_mark_and_crlf(root):
    text = HEADER + "./train/cat/1.png,1,2,3,4\n"
    assert read(root, text.replace("\n", "\r\n"), "utf-8-sig") == {"train/cat/1.png": ((1, 2, 3, 4),)}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("train/cat/1.png,1,2,3", r"expected 5 fields \(path,x0,y0,x1,y1\), got 4: 'train/cat/1.png,1,2,3'"),
        ("train/cat/1.png,1,2,3,4,cat", "expected 5 fields .* got 6"),
        ("train/cat/1.png,1,two,3,4", "expected a number for y0, got 'two'"),
        ("train/cat/1.png,1,2,,4", "expected a number for x1, got ''"),
        ("train/cat/1.png,nan,2,3,4", "expected a number for x0, got 'nan'"),
        ("train/cat/1.png,1,2,3,inf", "expected a number for y1, got 'inf'"),
        ("train/cat/1.png,3,2,3,4", "expected x0 < x1, got x0=3, x1=3"),
        ("train/cat/1.png,4,2,3,4", "expected x0 < x1, got x0=4, x1=3"),
        ("train/cat/1.png,1,5,3,4", "expected y0 < y1, got y0=5, y1=4"),
        ("train/cat/1.png,-1,2,3,4", r"the box \(-1, 2, 3, 4\) is not inside its image of 20x10 pixels"),
        ("train/cat/1.png,1,-0.5,3,4", r"the box .* is not inside its image"),
        ("train/cat/1.png,1,2,20.5,4", r"the box .* is not inside its image"),
        ("train/cat/1.png,1,2,3,11", r"the box \(1, 2, 3, 11\) is not inside its image of 20x10 pixels"),
        ("train/cat/9.png,1,2,3,4", "no image 'train/cat/9.png' in .* such as 'train/cat/1.png'"),
        ("cat/1.png,1,2,3,4", "no image 'cat/1.png' in"),
        (",1,2,3,4", "no image '' in"),
        ("train/cat/3.png,1,2,3,4", "cannot read the image .*3.png"),
        ('"train/cat/1.png\ntrain/cat/2.png",1,2,3,4', "no image "),
    ],
)
def test_bad_row_is_named_by_its_line(root, row, message):
    text = HEADER + "train/cat/2.png,0,0,20,10\n\n" + row + "\ntrain/cat/2.png,0,0,20,10\n"
    with pytest.raises(ValueError, match=rf"boxes.csv, line 4: {message}"):
        read(root, text)


@pytest.mark.parametrize("text", ["", "train/cat/1.png,1,2,3,4\n", "path,x,y,width,height\n", "path,x0,y0,x1\n"])
def test_missing_header(root, text):
    with pytest.raises(ValueError, match=r"boxes.csv, line 1: expected the header 'path,x0,y0,x1,y1', got '"):
        read(root, text)


def test_not_a_text_file(root):
    (root / "boxes.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match=r"boxes.csv, line 1: expected a CSV file in UTF-8"):
        found(root)


@pytest.mark.parametrize(
    ("name", "normalized", "header", "numbers"),
    [
        ("xywh", False, "path,x,y,width,height", "4,2,8,6"),
        ("cxcywh", False, "path,cx,cy,width,height", "8,5,8,6"),
        ("xyxy", True, "path,x0,y0,x1,y1", "0.2,0.2,0.6,0.8"),
        ("xywh", True, "path,x,y,width,height", "0.2,0.2,0.4,0.6"),
        ("cxcywh", True, "path,cx,cy,width,height", "0.4,0.5,0.4,0.6"),
    ],
)
def test_the_same_box_in_other_numbers(root, name, normalized, header, numbers):
    (root / "boxes.csv").write_text(f"{header}\ntrain/cat/1.png,{numbers}\n")
    (box,) = found(root, name, normalized)["train/cat/1.png"]
    assert box == pytest.approx((4, 2, 12, 8))


@pytest.mark.parametrize(
    ("name", "normalized", "header", "numbers", "message"),
    [
        (
            "xyxy",
            False,
            "path,x0,y0,x1,y1",
            "0.1,0.2,0.9,1",
            "line 2: .* all from 0 to 1.*`normalized: true`",
        ),
        ("cxcywh", False, "path,cx,cy,width,height", "0.5,0.5,0.5,0.5", "are all from 0 to 1"),
        ("xyxy", True, "path,x0,y0,x1,y1", "1,2,8,6", "expected a fraction of the image from 0 to 1 for y0, got 2"),
        ("xywh", True, "path,x,y,width,height", "0.5,0.5,0.6,0.5", r"\(10, 5, 22, 10\) is not inside .*taken for xywh"),
        (
            "xywh",
            False,
            "path,x,y,width,height",
            "10,2,18,8",
            r"\(10, 2, 28, 10\) .* \(10, 2, 18, 8\) are taken for",
        ),
        ("cxcywh", False, "path,cx,cy,width,height", "4,2,12,8", r"\(-2, -2, 10, 6\) is not inside its image of 20x10"),
        ("xywh", False, "path,x,y,width,height", "4,2,0,8", "expected a width above 0, got 0"),
        (
            "xywh",
            False,
            "path,x0,y0,x1,y1",
            "4,2,5,8",
            "line 1: .*set `boxes_format: xyxy` if that is",
        ),
        ("xyxy", False, "path,cx,cy,width,height", "4,2,5,8", "line 1: expected the header .*`boxes_format: cxcywh`"),
    ],
)
def test_boxes_that_are_not_what_is_said(root, name, normalized, header, numbers, message):
    (root / "boxes.csv").write_text(f"{header}\ntrain/cat/1.png,{numbers}\n")
    with pytest.raises(ValueError, match=message):
        found(root, name, normalized)


def test_rounded_fractions_are_cut_to_the_image(root):
    (root / "boxes.csv").write_text("path,cx,cy,width,height\ntrain/cat/1.png,0.75,0.5,0.51,1\n")
    assert found(root, "cxcywh", normalized=True) == {"train/cat/1.png": ((pytest.approx(9.9), 0, 20, 10),)}


def test_boxes_thinner_than_a_pixel_are_counted(root):
    rows = ["train/cat/1.png,4,2,4.5,8", "train/cat/2.png,1,1,9,1.25", "train/cat/2.png,1,1,9,9"]
    (root / "boxes.csv").write_text("\n".join([HEADER.strip(), *rows]))
    with pytest.warns(
        CamtrainWarning, match=r"2 boxes thinner than a pixel, such as .* line 2 \(train/cat/1.png, 0.5x6"
    ):
        assert found(root) == {"train/cat/2.png": ((1, 1, 9, 9),)}
    (root / "boxes.csv").write_text("\n".join([HEADER.strip(), *rows[:2]]))
    with pytest.raises(ValueError, match=r"got only 2 boxes thinner than a pixel.*`boxes_format` and `normalized` say"):
        found(root)


def test_unicode_normalization_does_not_matter(tmp_path):
    name = unicodedata.normalize("NFD", "k\u00e4fer.png")
    Image.new("L", (20, 10)).save(tmp_path / name)
    (tmp_path / "boxes.csv").write_text(HEADER + unicodedata.normalize("NFC", name) + ",1,2,3,4\n", encoding="utf-8")
    boxes = ImageBoxes(tmp_path / "boxes.csv", tmp_path, [name], BoxFormat())
    boxes_from_csv(tmp_path / "boxes.csv", boxes)
    assert boxes.found("boxes_csv") == {name: ((1, 2, 3, 4),)}
