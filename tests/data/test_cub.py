from __future__ import annotations

import shutil

import pytest
import torch
from PIL import ExifTags, Image

from camtrain.data import CUB
from camtrain.messages import DataError
from tests.data.object_trees import OBJECTS, make_cub


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("cub")
    make_cub(root)
    return root


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path


def cub(root, **settings):
    return CUB(str(root), image_size=16, val_fraction=0.25, **settings)


def test_splits_classes_and_boxes(whole):
    data = cub(whole)
    assert data.class_names == ["001.Bird of the sea", "002.Bird of the sea"]
    assert [len(data.samples(split)) for split in ("train", "val", "test")] == [12, 4, 4]
    assert [int(file.path.stem) for file in data.samples("test").files] == [0, 1, 10, 11]
    for split in ("train", "val", "test"):
        for sample, file in zip(data.samples(split), data.samples(split).files, strict=True):
            assert sample["boxes"].tolist() == [list(OBJECTS[1])]
            assert sample["label"] == int(file.path.stem) % 2
            assert "mask" not in sample


def test_a_mask_is_where_most_annotators_saw_the_bird(whole):
    sample = cub(whole, masks=True).samples("test")[0]
    x0, y0, x1, y1 = OBJECTS[1]
    expected = torch.zeros(40, 48, dtype=torch.bool)
    expected[y0:y1, x0:x1] = True
    assert torch.equal(sample["mask"].as_subclass(torch.Tensor), expected)


def test_chosen_classes_leave_the_splits_as_they_are(whole):
    some = {file.path for file in cub(whole, classes=["002.Bird of the sea"]).samples("val").files}
    assert some == {file.path for file in cub(whole).samples("val").files if file.label == 1}


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("bounding_boxes", "3 16.0", "3 x", "bounding_boxes.txt, image 3: expected a number for x, got 'x'"),
        (
            "bounding_boxes",
            "3 16.0 10.0 28.0",
            "3 16 10 0",
            "image 3: expected a width and a height of at least a",
        ),
        ("bounding_boxes", "3 16.0 10.0", "3 16.0", "image 3: expected x y width height, got '16.0 28.0 26.0'"),
        ("bounding_boxes", "3 16.0", "33 16.0", "bounding_boxes.txt: expected a line for image 3 of images.txt, found"),
        ("bounding_boxes", "3 16.0", "4 16.0", "bounding_boxes.txt, line 4: image_id 4 is there twice"),
        ("image_class_labels", "3 1\n", "3 9\n", "image_class_labels.txt: expected a class from 1 to 2, got '9'"),
        ("image_class_labels", "3 1\n", "3\n", "labels.txt, line 3: expected `image_id class_id`, got '3'"),
        ("images", "3 001", "c 001", "images.txt, line 3: expected a number for image_id, got 'c'"),
        ("classes", "002", "001", "classes.txt: expected each class once"),
    ],
)
def test_a_bad_file_is_named(copy, file, old, new, message):
    path = copy / f"{file}.txt"
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        cub(copy).samples("test")


def test_a_box_outside_of_its_image_is_named(copy):
    path = copy / "bounding_boxes.txt"
    path.write_text(path.read_text().replace("1 16.0 10.0 28.0", "1 16.0 10.0 38.0", 1))
    with pytest.raises(DataError, match=r"a box of .*0.jpg is not inside .* \(16, 10, 54, 36\)"):
        cub(copy).samples("test")[0]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image = cub(copy).samples("test").files[0].path
    with Image.open(image) as stored:
        stored.save(image, exif=exif)
    with pytest.raises(DataError, match=r"is not inside .* EXIF orientation turns the image, .* as it is stored$"):
        cub(copy).samples("test")[0]


def test_missing_files_are_named(copy, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`root`: expected CUB-200-2011 with .*nowhere/images.txt, which"):
        cub(tmp_path / "nowhere")
    shutil.rmtree(copy / "segmentations")
    with pytest.raises(FileNotFoundError, match=r"segmentations, which does not exist"):
        cub(copy, masks=True)
