"""Boxes of `ImageFolderData` from JSON and text files, and what settings go together."""

from __future__ import annotations

import copy
import json

import pytest

from camtrain.data import ImageFolderData
from camtrain.messages import CamtrainWarning, DataError
from tests.data.fake_data import make_image_folder

OF_IMAGES = [("circle", 0), ("circle", 1), ("square", 0), ("square", 1)]


@pytest.fixture
def root(tmp_path):
    """Two images per class and split, of 48x40 pixels."""
    make_image_folder(tmp_path, images_per_class=2)
    return tmp_path


def content(root):
    """The boxes of `boxes.csv` as COCO has them."""
    rows = [line.split(",") for line in (root / "boxes.csv").read_text().splitlines()[1:]]
    images = [{"id": 7 + n, "file_name": row[0], "width": 48, "height": 40} for n, row in enumerate(rows)]
    objects = []
    for number, (_, *edges) in enumerate(rows):
        x0, y0, x1, y1 = map(int, edges)
        objects.append({"id": number, "image_id": 7 + number, "category_id": 3, "bbox": [x0, y0, x1 - x0, y1 - y0]})
    return {"images": images, "annotations": objects, "categories": [{"id": 3, "name": "object"}]}


def write_yolo(root, folder="labels"):
    for line in (root / "boxes.csv").read_text().splitlines()[1:]:
        path, *edges = line.split(",")
        x0, y0, x1, y1 = map(int, edges)
        numbers = ((x0 + x1) / 96, (y0 + y1) / 80, (x1 - x0) / 48, (y1 - y0) / 40)
        (root / folder / path).parent.mkdir(parents=True, exist_ok=True)
        (root / folder / path).with_suffix(".txt").write_text("5 " + " ".join(f"{n:.6f}" for n in numbers) + "\n")


def boxes(root, split="train", **settings):
    data = ImageFolderData(str(root / "images"), 40, **settings)
    assert data.has_boxes
    return [sample["boxes"].flatten().tolist() for sample in data.samples(split)]


def test_all_kinds_of_files_hold_the_same_boxes(root):
    (root / "boxes.json").write_text(json.dumps(content(root)))
    write_yolo(root)
    (root / "labels" / "classes.txt").write_text("circle\nsquare\n")
    expected = boxes(root, boxes_csv=str(root / "boxes.csv"))
    assert boxes(root, boxes_json=str(root / "boxes.json")) == expected
    found = boxes(root, boxes_yolo=str(root / "labels"))
    assert [pytest.approx(each, abs=1e-3) for each in found] == expected


def test_json_of_another_format(root):
    whole = content(root)
    for each in whole["annotations"]:
        x, y, width, height = each["bbox"]
        each["bbox"] = [(x + width / 2) / 48, (y + height / 2) / 40, width / 48, height / 40]
    (root / "boxes.json").write_text(json.dumps(whole))
    expected = boxes(root, boxes_csv=str(root / "boxes.csv"))
    found = boxes(root, boxes_json=str(root / "boxes.json"), boxes_format="cxcywh", normalized=True)
    assert [pytest.approx(each, abs=1e-3) for each in found] == expected
    with pytest.raises(DataError, match=r"boxes.json, annotations\[0\]: the numbers .* are all from 0 to 1"):
        boxes(root, boxes_json=str(root / "boxes.json"))


def test_crowds_and_other_classes_are_left_out(root):
    whole = content(root)
    whole["categories"] += [{"id": 4, "name": "circle"}, {"id": 5, "name": "square"}]
    first, second, third, *_ = whole["annotations"]  # circle/0, circle/1 and square/0 of train
    first["iscrowd"] = 1
    second["category_id"] = 4
    third["category_id"] = 4
    (root / "boxes.json").write_text(json.dumps(whole))
    with pytest.warns(CamtrainWarning, match=r"1 boxes are of another class .* annotations\[2\], a circle in train/sq"):
        found = boxes(root, boxes_json=str(root / "boxes.json"))
    assert [len(each) for each in found] == [0, 4, 0, 4]


def broken(change):
    def write(root):
        whole = content(root)
        change(whole)
        (root / "boxes.json").write_text(json.dumps(whole))

    return write


def text(content):
    return lambda root: (root / "boxes.json").write_bytes(content)


def put(part, index, **values):
    return broken(lambda each: each[part][index].update(values))


def image(index, **values):
    return put("images", index, **values)


def thing(**values):
    return put("annotations", 0, **values)


def twice(whole):
    whole["annotations"].append({**whole["annotations"][0], "id": 99})


BAD_JSON = {
    "empty": (text(b""), "boxes.json: expected JSON: "),
    "a list": (text(b"[]"), "expected an object with images, annotations, categories, got a list"),
    "no images": (broken(lambda each: each.pop("images")), "a list `images`, got 'annotations, categories' alone"),
    "Latin-1": (text(b'{"a": "\xe4"}'), "line 1: expected a JSON file in UTF-8, got the byte 0xe4"),
    "deep": (text(b"[" * 100_000), "boxes.json: expected JSON: "),
    "text for a number": (image(1, width="48"), r"images\[1\]: expected width, an integer, got '\"48\"'"),
    "no name": (image(0, file_name=None), r"images\[0\]: expected file_name, a text, got 'null'"),
    "unknown image": (image(2, file_name="cat/9.png"), r"images\[2\]: no image 'cat/9.png' in "),
    "another size": (image(2, width=40, height=48), r"images\[2\]: expected .* 40x48 pixels .* it has 48x40"),
    "an id twice": (image(1, id=7), r"images\[1\]: the same id as images\[0\]: '7'"),
    "a file twice": (image(1, file_name="train/circle/0.png"), r"images\[1\]: the same file_name as images\[0\]"),
    "box of no image": (thing(image_id=1), r"annotations\[0\]: expected the id of an image for image_id, got 1"),
    "box of no category": (thing(category_id=1), "expected the id of a category for category_id, got 1"),
    "three numbers": (thing(bbox=[1, 2, 3]), r"expected four numbers for bbox, got '\[1, 2, 3\]'"),
    "NaN": (thing(bbox=[1, 2, 3, float("nan")]), "expected four numbers for bbox"),
    "corners": (thing(bbox=[10, 10, 45, 38]), r"\(10, 10, 55, 48\) is not inside .* taken for xywh"),
    "twice": (broken(twice), r"annotations\[12\]: the same box of the same image as in annotations\[0\]"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_json_is_one_line_that_says_where(root, case):
    write, message = BAD_JSON[case]
    write(root)
    with pytest.raises(DataError, match=message) as caught:
        boxes(root, boxes_json=str(root / "boxes.json"))
    assert str(caught.value).startswith(str(root / "boxes.json"))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.5", "line 1: expected `class cx cy width height`, got 4 fields: '0 0.5 0.5 0.5'"),
        ("0 0.5 0.5 0.5 0.5 0.9", "got 6 fields"),
        ("circle 0.5 0.5 0.5 0.5", "expected the number of a class, got 'circle'"),
        ("0 0.5 0.5 x 0.5", "expected a number for width, got 'x'"),
        ("0 24 20 12 10", "expected a fraction of the image from 0 to 1 for cx, got 24"),
        ("0 0.9 0.5 0.5 0.5", "is not inside its image of 48x40"),
        ("0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5", "line 2: the same box of the same image as in 0.txt, line 1"),
    ],
)
def test_bad_text_files_are_one_line_that_says_where(root, line, message):
    write_yolo(root)
    (root / "labels" / "train" / "circle" / "0.txt").write_text(line)
    with pytest.raises(DataError, match=message) as caught:
        boxes(root, boxes_yolo=str(root / "labels"))
    assert str(caught.value).startswith(str(root / "labels" / "train" / "circle" / "0.txt"))


def test_a_text_file_of_no_image_is_counted(root):
    write_yolo(root)
    for name in ("9.txt", "8.txt"):
        (root / "labels" / "train" / "circle" / name).write_text("0 0.5 0.5 0.5 0.5")
    (root / "labels" / "train" / "circle" / "0.txt").write_text("\n")  # nothing to see
    with pytest.warns(CamtrainWarning, match=r"`boxes_yolo`: 2 of 14 text files .* no image .* train/circle/8.t"):
        found = boxes(root, boxes_yolo=str(root / "labels"))
    assert [len(each) for each in found] == [0, 4, 4, 4]


def test_boxes_inside_of_the_root_are_no_class(tmp_path):
    make_image_folder(tmp_path, images_per_class=10, splits=("train",))
    (tmp_path / "images" / "train").rename(tmp_path / "all")
    (tmp_path / "boxes.csv").write_text((tmp_path / "boxes.csv").read_text().replace("train/", ""))
    write_yolo(tmp_path, "all/given/labels")
    data = ImageFolderData(str(tmp_path / "all"), boxes_yolo=str(tmp_path / "all" / "given" / "labels"))
    assert data.class_names == ["circle", "square"]
    assert all(file.boxes for file in data.samples("train").files)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"boxes_csv": "boxes.csv", "boxes_yolo": "labels"},
            "`boxes_yolo`: expected boxes of one kind",
        ),
        ({"boxes_format": "xywh"}, "`boxes_format`: expected null without boxes_csv, boxes_json, boxes_yolo, got xywh"),
        ({"normalized": False}, "`normalized`: expected null without boxes_csv"),
        ({"boxes_csv": "boxes.csv", "boxes_format": "yxyx"}, "`boxes_format`: expected xyxy, xywh, cxcywh, got 'yxyx'"),
        ({"boxes_yolo": "labels", "boxes_format": "xywh"}, "`boxes_format`: the boxes of YOLO are cxcywh .* got xywh"),
        (
            {"boxes_yolo": "labels", "normalized": False},
            "`normalized`: the boxes of YOLO are cxcywh .* in fractions",
        ),
        ({"boxes_yolo": "boxes.csv"}, "`boxes_yolo`: expected a folder, got .*boxes.csv"),
        ({"boxes_json": "absent.json"}, "`boxes_json`: expected .*absent.json, which does not exist"),
        ({"annotation_pixels": "upright"}, "`annotation_pixels`: expected shown or stored, got 'upright'"),
    ],
)
def test_settings_that_do_not_go_together(root, settings, message, monkeypatch):
    monkeypatch.chdir(root)
    (root / "labels").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ImageFolderData("images", **copy.deepcopy(settings))
