from __future__ import annotations

import re

import pytest
import torch

from camtrain.data import VOC
from camtrain.data.voc import VOC_CLASSES
from camtrain.messages import CamtrainWarning, DataError
from tests.data.object_trees import OBJECTS, VOC_NAMES, make_voc, voc_xml

BIG = list(OBJECTS[1])


@pytest.fixture
def root(tmp_path):
    make_voc(tmp_path, {"train": 12, "val": 3})
    return tmp_path


def voc(root, **settings):
    return VOC(str(root), image_size=16, val_fraction=0.25, **settings)


def test_the_largest_object_is_the_label(root):
    data = voc(root)
    assert data.class_names == list(VOC_CLASSES)
    samples = data.samples("test")
    assert [VOC_CLASSES[sample["label"]] for sample in samples] == ["cat", "dog", "bird"]
    for sample in samples:
        assert sample["boxes"].tolist() == [BIG]
        assert sample["image"].shape == (3, 40, 48)
    (first, *_) = samples
    x0, y0, x1, y1 = BIG
    assert first["image"][:, y0:y1, x0:x1].float().mean() > 250


def test_many_labels_are_numbers_for_each_class(root):
    data = voc(root, labels="multi", classes=VOC_NAMES)
    assert [sample["label"].tolist() for sample in data.samples("test")] == [[1, 1, 0], [0, 1, 1], [1, 0, 1]]
    assert all(sample["boxes"].tolist() == [list(OBJECTS[0]), BIG] for sample in data.samples("test"))
    batch = next(iter(data.test_dataloader()))
    assert batch.labels.tolist() == [[1, 1, 0], [0, 1, 1], [1, 0, 1]]
    assert batch.labels.dtype == torch.float32


def test_masks_are_those_of_the_label_or_of_all(root):
    for labels, areas in (("largest", 26 * 24), ("multi", 26 * 24 + 10 * 10)):  # without the border
        data = voc(root, masks=True, labels=labels)
        assert (data.has_boxes, data.has_masks) == (True, True)
        assert [int(sample["mask"].sum()) for sample in data.samples("test")] == [areas] * 3
    x0, y0, x1, y1 = BIG
    sample = voc(root, masks=True).samples("test")[0]
    assert sample["mask"][y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].all()


def test_validation_is_held_out_or_a_list(root):
    data = voc(root)
    train, val = data.samples("train"), data.samples("val")
    assert (len(train), len(val)) == (9, 3)
    assert {file.path for file in train.files}.isdisjoint(file.path for file in val.files)
    make_voc(root, {"trainval": 3})
    data = voc(root, train_set="train", val_set="trainval")
    assert [file.path.stem for file in data.samples("val").files] == ["trainval_0", "trainval_1", "trainval_2"]
    assert len(data.samples("train")) == 12


def test_sets_that_share_images_are_refused(root):
    lists = root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main"
    train, val = [(lists / f"{name}.txt").read_text() for name in ("train", "val")]
    shared = r"expected sets that share no image, got 3 images in both, such as .*val_0.jpg; choose another set"
    (lists / "trainval.txt").write_text(train + val)
    with pytest.raises(ValueError, match=f"`train_set`, `test_set`: {shared}"):
        voc(root, train_set="trainval", test_set="val").samples("train")
    (lists / "trainval.txt").write_text(val)
    with pytest.raises(ValueError, match=f"`val_set`, `test_set`: {shared}"):
        voc(root, val_set="val", test_set="trainval", classes=["bird"]).setup("fit")


def test_training_does_not_need_the_test_images(tmp_path):
    make_voc(tmp_path, {"trainval": 8}, "2007")
    data = voc(tmp_path, year="2007", train_set="trainval", test_set="test")
    assert len(data.samples("train")) == 6
    with pytest.raises(FileNotFoundError, match=r"`root`: expected VOC 2007 .*, with its list of test images"):
        data.samples("test")


def test_rare_classes_and_images_without_objects_are_no_reason_not_to_split(root):
    folder = root / "VOCdevkit" / "VOC2012" / "Annotations"
    (folder / "train_0.xml").write_text(voc_xml([("sheep", OBJECTS[1], 0)]))
    (folder / "train_1.xml").write_text(voc_xml([]))
    data = voc(root)
    with pytest.warns(CamtrainWarning, match="1 of 9 train images|1 of 3 val images"):
        assert len(data.samples("train")) + len(data.samples("val")) == 11
    (root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main" / "train.txt").write_text("train_0\n")
    with pytest.raises(ValueError, match="`val_fraction`: expected at least 2 training images to hold some out, got 1"):
        voc(root).samples("val")


def test_the_test_images_of_2007(tmp_path):
    make_voc(tmp_path, {"train": 4, "val": 3, "test": 2}, "2007")
    data = voc(tmp_path, year="2007", val_set="val", test_set="test")
    assert [len(data.samples(split)) for split in ("train", "val", "test")] == [4, 3, 2]


def test_images_without_an_object_that_counts_are_left_out(root):
    folder = root / "VOCdevkit" / "VOC2012" / "Annotations"
    (folder / "val_0.xml").write_text(voc_xml([("cat", OBJECTS[0], 1), ("dog", OBJECTS[1], 0)]))
    (folder / "val_1.xml").write_text(voc_xml([("cat", OBJECTS[0], 1)]))
    (folder / "val_2.xml").write_text(voc_xml([]))
    with pytest.warns(CamtrainWarning, match="2 of 3 test images show no object of the 20 classes and are left out"):
        assert [VOC_CLASSES[label] for label in voc(root).samples("test").labels] == ["dog"]
    with pytest.warns(CamtrainWarning, match="1 of 3 test images"):
        assert [VOC_CLASSES[label] for label in voc(root, difficult=True).samples("test").labels] == ["dog", "cat"]


BAD = {
    "<annotation><size>": "no element found",
    "<picture></picture>": "expected an `annotation`, got 'picture'",
    "<annotation></annotation>": "expected an entry 'annotation', found none",
    "<annotation><a>1</a></annotation>": "expected an entry 'size', found none",
    voc_xml([("cow", OBJECTS[0], 0)]).replace("cow", "zebra"): "expected one of the classes of VOC, got 'zebra'",
    voc_xml([("cow", (5, 5, "x", 8), 0)]): "expected a number for xmax, got 'x'",
    voc_xml([("cow", (15, 5, 4, 8), 0)]): r"expected xmin <= xmax and ymin <= ymax, got \(16, 6, 4, 8\)",
    voc_xml([("cow", (1, 1, 2, 2), 0)]).replace("bndbox", "box"): "expected an entry 'bndbox', found none",
}


@pytest.mark.parametrize("content", BAD)
def test_a_bad_annotation_is_named(root, content):
    path = root / "VOCdevkit" / "VOC2012" / "Annotations" / "val_1.xml"
    path.write_text(content)
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: .*{BAD[content]}"):
        voc(root).samples("test")


def test_a_box_outside_of_its_image_is_named(root):
    path = root / "VOCdevkit" / "VOC2012" / "Annotations" / "val_1.xml"
    path.write_text(voc_xml([("cow", (1, 1, 60, 20), 0)]))
    with pytest.raises(DataError, match=r"a box of .*val_1.jpg is not inside .* of 48x40 pixels .*\(1, 1, 60, 20"):
        voc(root).samples("test")[1]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"year": "2011"}, FileNotFoundError, "`root`: expected VOC 2011 in .*VOCdevkit, with its list of val images"),
        ({"test_set": "test"}, ValueError, "`test_set`: .*test"),
        (
            {"test_set": "train"},
            ValueError,
            "`train_set`: expected other images than those of another split",
        ),
        ({"labels": "all"}, ValueError, "`labels`: expected largest or multi, got 'all'"),
        ({"classes": ["dogs"]}, ValueError, "`classes`: .* no class 'dogs'; did you mean 'dog'"),
        ({"image_size": 0}, ValueError, "`image_size`: expected a positive integer, got 0"),
        ({"val_fraction": 1}, ValueError, "`val_fraction`: expected a fraction between 0 and 1, got 1"),
    ],
)
def test_wrong_settings_are_named(root, settings, error, message):
    with pytest.raises(error, match=message):
        VOC(str(root), **settings).samples("test")


def test_download_is_of_the_lists_that_are_not_there(root, monkeypatch):
    asked = []
    from torchvision import datasets

    real = datasets.VOCDetection
    monkeypatch.setattr(
        datasets, "VOCDetection", lambda *a, download=False: asked.append(a[2]) if download else real(*a)
    )
    voc(root, download=True).prepare_data()
    assert asked == []
    voc(root, download=True, val_set="trainval").prepare_data()
    assert asked == ["trainval"]
