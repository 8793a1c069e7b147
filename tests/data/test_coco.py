from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from camtrain.data import COCO
from camtrain.messages import CamtrainWarning, DataError
from tests.data.object_trees import COCO_NAMES, OBJECTS, SIZE, coco_content, make_coco

BIG = list(OBJECTS[1])


@pytest.fixture
def root(tmp_path):
    make_coco(tmp_path, {"train2017": 12, "val2017": 3})
    return tmp_path


def coco(root, **settings):
    return COCO(str(root), image_size=16, val_fraction=0.25, **settings)


def rewrite(root, change, name="val2017", count=3):
    content = coco_content(count)
    change(content)
    (root / "annotations" / f"instances_{name}.json").write_text(json.dumps(content))


def test_the_largest_object_is_the_label(root):
    data = coco(root)
    assert data.class_names == COCO_NAMES  # in the order of their ids
    assert [COCO_NAMES[sample["label"]] for sample in data.samples("test")] == ["dog", "cow", "cat"]
    assert all(sample["boxes"].tolist() == [BIG] for sample in data.samples("test"))
    assert (len(data.samples("train")), len(data.samples("val"))) == (9, 3)


def test_many_labels_of_chosen_classes(root):
    data = coco(root, labels="multi", classes=["cow", "cat"])
    assert [sample["label"].tolist() for sample in data.samples("test")] == [[0, 1], [1, 0], [1, 1]]
    assert [len(sample["boxes"]) for sample in data.samples("test")] == [1, 1, 2]


def test_the_layout_of_annotation_tools(tmp_path):
    make_coco(tmp_path, {"train": 6, "valid": 3, "test": 3})
    for name in ("train", "valid", "test"):
        (tmp_path / "annotations" / f"instances_{name}.json").rename(tmp_path / name / "_annotations.coco.json")
    names = {"train_set": "train", "val_set": "valid", "test_set": "test"}
    data = coco(tmp_path, **names, annotations="{set}/_annotations.coco.json")
    assert [len(data.samples(split)) for split in ("train", "val", "test")] == [6, 3, 3]
    assert data.samples("val")[0]["image"].shape == (3, 40, 48)


def test_sets_that_share_images_are_refused(root):
    data = coco(root, images="../{set}/../all/.")
    with pytest.raises(ValueError, match=r"`train_set`, `test_set`: expected sets that share no image, got 3 images"):
        data.samples("train")
    (root / "val2017").rename(root / "moved")
    (root / "val2017").symlink_to(root / "train2017")
    with pytest.raises(ValueError, match=r"`train_set`, `test_set`: .* such as .*train2017/0.png; choose another set"):
        coco(root).samples("train")


@pytest.mark.parametrize("kind", ["polygon", "counts", "compressed"])
def test_masks_are_unions_of_outlines(root, kind):
    mask = pytest.importorskip("pycocotools.mask")

    def change(content):
        for each in content["annotations"]:
            x, y, width, height = each["bbox"]
            pixels = np.zeros(SIZE[::-1], dtype=np.uint8, order="F")
            pixels[y : y + height, x : x + width] = 1
            runs = mask.encode(pixels)
            if kind == "compressed":
                each["segmentation"] = {"size": runs["size"], "counts": runs["counts"].decode()}
            if kind == "counts":
                flat = np.concatenate([[0], pixels.flatten(order="F"), [2]])
                edges = np.flatnonzero(flat[1:] != flat[:-1])
                each["segmentation"] = {"size": list(SIZE[::-1]), "counts": np.diff([0, *edges]).tolist()}

    rewrite(root, change)
    x0, y0, x1, y1 = BIG
    for labels, area in (("largest", 28 * 26), ("multi", 28 * 26 + 12 * 12)):
        for sample in coco(root, masks=True, labels=labels).samples("test"):
            assert int(sample["mask"].sum()) == area
            assert sample["mask"][y0:y1, x0:x1].all()
            assert torch.equal(sample["image"][0] == 255, sample["mask"].as_subclass(torch.Tensor)) is (
                labels == "multi"
            )


def test_a_broken_outline_is_named(root):
    pytest.importorskip("pycocotools.mask")
    rewrite(root, lambda content: content["annotations"][1].update(segmentation=[["a", 2, 3, 4, 5, 6]]))
    with pytest.raises(DataError, match=r"of the outlines of .*val2017/0.png cannot be made: "):
        coco(root, masks=True).samples("test")[0]
    rewrite(root, lambda content: content["annotations"][1].pop("segmentation"))
    with pytest.raises(DataError, match=r"val2017.json, annotations\[1\]: expected a segmentation, since `masks`"):
        coco(root, masks=True).samples("test")


def test_masks_without_pycocotools_say_what_to_install(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ModuleNotFoundError, match=r"`masks`: COCO's outlines need `pip install 'camtrain\[coco\]'`"):
        coco(root, masks=True)
    assert len(coco(root).samples("test")) == 3


def test_crowds_do_not_count_and_thin_boxes_are_counted(root):
    def change(content):
        content["annotations"][1]["iscrowd"] = 1
        content["annotations"][3]["bbox"] = [3, 4, 20, 0.5]

    rewrite(root, change)
    with pytest.warns(CamtrainWarning, match=r"1 boxes thinner than a pixel, such as annotations\[3\], are left out"):
        samples = coco(root).samples("test")
    assert [COCO_NAMES[label] for label in samples.labels] == ["cat", "dog", "cat"]


def fractions(content):
    for each in content["annotations"]:
        x, y, width, height = each["bbox"]
        each["bbox"] = [x / 48, y / 40, width / 48, height / 40]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (fractions, "expected boxes in pixels, got only boxes thinner than a pixel"),
        (
            lambda each: each["annotations"][2].update(bbox=[30, 3, 44, 20]),
            r"annotations\[2\]: the box .* is not inside",
        ),
        (lambda each: each["images"].append(each["images"][0]), r"images\[3\]: the same id as images\[0\]"),
    ],
)
def test_a_bad_annotation_is_named(root, change, message):
    rewrite(root, change)
    with pytest.raises(DataError, match=f"instances_val2017.json.*{message}"):
        coco(root).samples("test")


def test_other_categories_in_another_file_are_named(root):
    rewrite(root, lambda content: content["categories"][0].update(name="horse"), "train2017", 12)
    with pytest.raises(DataError, match=r"train2017.json: expected the categories of .*val2017.json, cat, dog, cow, …"):
        coco(root).samples("train")


def test_images_of_another_size_are_named(root):
    rewrite(root, lambda content: [each.update(width=60, height=50) for each in content["images"]])
    with pytest.raises(DataError, match=r"val2017/0.png is 48x40 pixels .*, and its annotation belongs to 60x50; use"):
        coco(root).samples("test")[0]


@pytest.mark.parametrize("pixels", ["stored", "shown"])
def test_the_size_of_the_annotation_says_how_a_turned_photo_was_annotated(root, pixels):
    def change(content):
        if pixels == "shown":  # 40x48, upright
            content["images"][0].update(width=SIZE[1], height=SIZE[0])
        content["annotations"][1].update(bbox=[2, 3, 20, 30], segmentation=[[2, 3, 22, 3, 22, 33, 2, 33]])

    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    with Image.open(root / "val2017" / "0.png") as image:
        image.save(root / "val2017" / "0.png", exif=exif)
    rewrite(root, change)
    box = [2, 3, 22, 33] if pixels == "shown" else [40 - 33, 2, 40 - 3, 22]
    sample = coco(root).samples("test")[0]
    assert sample["image"].shape == (3, 48, 40)
    assert sample["boxes"].tolist() == [box]
    pytest.importorskip("pycocotools.mask")
    mask = coco(root, masks=True).samples("test")[0]["mask"]
    assert mask.nonzero().amin(0).tolist() == box[1::-1]
    assert int(mask.sum()) == 20 * 30


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"test_set": "test2017"}, FileNotFoundError, "`root`: .* of `test_set` in .*instances_test2017.json, which"),
        ({"annotations": "all.json"}, ValueError, "`annotations`: expected .*`{set}`.* got 'all.json'; give each set"),
        ({"test_set": "train2017"}, ValueError, "`train_set`: expected other images than those of another split"),
    ],
)
def test_wrong_settings_are_named(root, settings, error, message):
    with pytest.raises(error, match=message):
        coco(root, **settings)
