"""Annotation and images that no split reads are errors, or warnings that name them and say how many they are."""

from __future__ import annotations

import shutil
import unicodedata
import warnings

import pytest
from PIL import Image

from camtrain.data import ImageFolderData
from camtrain.messages import CamtrainWarning, DataError
from tests.data.fake_data import make_image_folder


@pytest.fixture
def root(tmp_path):
    """A tree of two images per class and split, complete with masks."""
    make_image_folder(tmp_path, images_per_class=2)
    return tmp_path


def read(root, **settings):
    data = ImageFolderData(str(root / "images"), masks_root=str(root / "masks"), **settings)
    data.setup("fit")
    return data


def told(root, **settings):
    """All that is said about a tree."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read(root, **settings)
    assert all(issubclass(each.category, CamtrainWarning) for each in caught)
    return [str(each.message) for each in caught]


def test_nothing_is_said_of_a_complete_tree(root):
    (root / "images" / "train" / ".cache" / "x").mkdir(parents=True)
    (root / "images" / "README.txt").write_text("")
    (root / "images" / "train" / "circle" / "Thumbs.db").write_text("")
    shutil.copy(root / "boxes.csv", root / "images" / "boxes.csv")
    assert told(root, boxes_csv=str(root / "images" / "boxes.csv")) == []


def test_masks_with_a_suffix_belong_to_no_image(root):
    folder = root / "masks" / "train" / "circle"
    (folder / "0.png").rename(folder / "0_mask.png")
    (folder / "1.png").rename(folder / "1_mask.png")
    (message,) = told(root)
    assert message.startswith("`masks_root`: 2 of 12 masks in ")
    assert message.endswith(
        "belong to no image and are left out, such as train/circle/0_mask.png; without '_mask' at the end of its name "
        "it would be that of train/circle/0.png"
    )


def test_masks_that_all_have_a_suffix_are_an_error(root):
    for path in (root / "masks").rglob("*.png"):
        path.rename(path.with_name(f"{path.stem}-seg.png"))
    with pytest.raises(DataError, match=r"`masks_root`: no mask in .* belongs to .*; without '-seg' at the end of its"):
        read(root)


def test_masks_in_other_capitals_belong_to_no_image(root):
    (root / "masks" / "val" / "circle").rename(root / "masks" / "val" / "Circle")
    (message,) = told(root)
    assert "2 of 12 masks" in message
    assert "; val/circle/0.png has the same name in other capitals" in message


@pytest.mark.parametrize(("of_image", "of_mask"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_another_unicode_normalization_is_the_same_name(root, of_image, of_mask):
    for folder, form in (("images", of_image), ("masks", of_mask)):
        path = root / folder / "train" / "circle" / "0.png"
        path.rename(path.with_name(unicodedata.normalize(form, "k\u00e4fer.png")))
    assert told(root) == []
    masks = [file.mask for file in read(root).samples("train").files]
    assert None not in masks


def test_two_images_for_one_mask(root):
    image = root / "images" / "train" / "circle" / "0.png"
    with Image.open(image) as opened:
        opened.convert("RGB").save(image.with_suffix(".jpg"))
    with pytest.raises(DataError, match=r"one mask for 2 images: .*0.png could belong to train/circle/0.jpg and to tr"):
        read(root)
    (root / "masks" / "train" / "circle" / "0.png").unlink()  # without a mask, it does not matter
    assert told(root) == []


def test_folders_beside_the_splits(root):
    shutil.copytree(root / "images" / "val", root / "images" / "valid")
    shutil.copytree(root / "images" / "val", root / "images" / "extra")
    shutil.move(root / "masks", root / "images" / "masks")
    data = ImageFolderData(str(root / "images"), masks_root=str(root / "images" / "masks"))
    with pytest.warns(CamtrainWarning, match=r"`root`: folders beside the splits are not read: .*extra, and 1 more;"):
        data.setup("fit")


def test_images_beside_the_classes(root):
    for name in ("a.png", "b.jpg", "train/c.png"):
        Image.new("L", (8, 8)).save(root / "images" / name)
    (message,) = told(root)
    assert message == (
        f"`root`: images in no folder of a class are not read: {root / 'images' / 'a.png'}, and 2 more; move them into "
        "the folder of their class"
    )


def test_linked_folders(root):
    shutil.move(root / "images" / "train" / "circle", root / "elsewhere")
    (root / "images" / "train" / "circle").symlink_to(root / "elsewhere")  # that of a class is read
    assert told(root) == []
    (root / "images" / "train" / "square" / "more").symlink_to(root / "elsewhere")
    (message,) = told(root)
    assert message.startswith("`root`: linked folders below the folder of a class are not read: ")
    assert "square/more; link the files" in message
    (root / "images" / "train" / "square" / "more").unlink()
    (root / "masks" / "more").symlink_to(root / "elsewhere")
    (message,) = told(root)
    assert message.startswith(f"`masks_root`: linked folders are not read: {root / 'masks' / 'more'}; link")


def test_files_that_pillow_does_not_read(root):
    for number in range(3):
        (root / "images" / "val" / "square" / f"{number}.heic").write_bytes(b"")
    (message,) = told(root)
    assert message.startswith("`root`: files of a type that Pillow does not read are not read: ")
    assert message.endswith("square/0.heic, and 2 more; convert them to PNG or JPEG")


def test_masks_deep_in_a_tree_of_classes_are_no_class(tmp_path):
    make_image_folder(tmp_path, images_per_class=10, splits=("train",))
    (tmp_path / "images" / "train").rename(tmp_path / "all")
    (tmp_path / "all" / "given").mkdir()
    shutil.move(tmp_path / "masks" / "train", tmp_path / "all" / "given" / "masks")
    data = ImageFolderData(str(tmp_path / "all"), masks_root=str(tmp_path / "all" / "given" / "masks"))
    assert data.class_names == ["circle", "square"]
    assert None not in [file.mask for file in data.samples("train").files]
