from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from camtrain.data.boxes_csv import boxes_from_csv

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
    return boxes_from_csv(root / "boxes.csv", root, IMAGES)


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
        boxes_from_csv(root / "boxes.csv", root, IMAGES)
