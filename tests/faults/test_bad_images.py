"""A bad image is one line that names its file: in training data an error, in `explain` skipped."""

from __future__ import annotations

import resource
import shutil

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from camtrain.data import ImageFolderData
from camtrain.data.image_file import image_size, object_mask, rgb_image
from camtrain.data.pixel_limit import VARIABLE, pixel_limit
from camtrain.explanation import explain
from camtrain.messages import DataError, MissingImageError
from tests.faults import images
from tests.faults.images import DAMAGES

IN_HEADER = [images.bomb, images.sixteen_bits, images.tiff_of_16_bits]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_bad_image_is_one_line_that_names_its_file(tmp_path, damage):
    path = tmp_path / "photo.png"
    damage(path)
    with pytest.raises(DataError, match=DAMAGES[damage]) as caught:
        rgb_image(path)
    message = str(caught.value)
    assert message.startswith(f"cannot read the image {path}: ")
    assert "\n" not in message
    assert message.count(str(path)) == 1


@pytest.mark.parametrize("damage", IN_HEADER, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("read", [image_size, object_mask])
def test_masks_and_headers_are_checked_too(tmp_path, damage, read):
    damage(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"cannot read the image .*mask.png: it has"):
        read(tmp_path / "mask.png")


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=r"cannot read the image .*folder.png: is a directory"):
        rgb_image(tmp_path / "folder.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError, match=r"no such image: .*link.png"):
        rgb_image(tmp_path / "link.png")


def test_the_name_of_a_file_may_hold_a_line_break(tmp_path):
    images.empty(tmp_path / "a\nb.png")
    with pytest.raises(DataError, match=r"a\\nb.png: it is empty"):
        rgb_image(tmp_path / "a\nb.png")


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("huge.png", lambda path: images.bomb(path, 20_000, 20_000), "it has 20000x20000 pixels"),
        ("wide.png", lambda path: images.bomb(path, 50_331_649, 1), "it has 50331649x1 pixels"),
        ("icon.ico", lambda path: images.icon(path, 10_000, 6_000), "it holds an image of more than 50331648 pixels"),
    ],
)
def test_an_image_with_too_many_pixels_is_refused_without_being_read(tmp_path, name, make, message):
    make(tmp_path / name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=message):
        rgb_image(tmp_path / name)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # in KB; its pixels take 180 MB or more
    assert grown < 50_000


def test_the_limit_is_a_setting(tmp_path, monkeypatch):
    path = images.png(tmp_path / "image.png", 20, 10)
    monkeypatch.setenv(VARIABLE, "200")
    assert rgb_image(path).shape == (3, 10, 20)
    monkeypatch.setenv(VARIABLE, "199")
    with pytest.raises(DataError, match=r"20x10 pixels .*, more than 199; .*CAMTRAIN_MAX_PIXELS=200 in"):
        rgb_image(path)
    for bad in ("0", "-1", "1e9", "many", "inf"):
        monkeypatch.setenv(VARIABLE, bad)
        with pytest.raises(ValueError, match=rf"`CAMTRAIN_MAX_PIXELS`: expected a positive number .* got '{bad}'"):
            pixel_limit()


@pytest.mark.filterwarnings("error")
def test_a_larger_limit_than_that_of_pillow(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # it refuses 101 pixels, and warns of 51
    path = images.png(tmp_path / "image.png", 20, 10)
    assert rgb_image(path).shape == (3, 10, 20)
    assert Image.MAX_IMAGE_PIXELS == 50


@pytest.fixture
def folder(fake_image_folder, tmp_path):
    """A tree with a bad image in training."""
    shutil.copytree(fake_image_folder / "images", tmp_path / "images")
    return tmp_path / "images"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and later, of any worker
@pytest.mark.parametrize("workers", [0, 1])
def test_training_data_with_a_bad_image_is_one_line(folder, workers):
    images.bomb(folder / "train" / "square" / "3.png")
    loader = ImageFolderData(str(folder), image_size=40, batch_size=4, num_workers=workers).train_dataloader()
    with pytest.raises(DataError) as caught:
        list(loader)
    message = str(caught.value)
    assert message.startswith(f"cannot read the image {folder / 'train/square/3.png'}: it has 13000x13000 pixels")
    assert "\n" not in message
    # What the worker says of the place is kept for those who debug.
    assert ["Traceback" in note for note in getattr(caught.value, "__notes__", [])] == [True] * workers


def test_an_image_that_goes_while_training_is_one_line(folder):
    loader = ImageFolderData(str(folder), image_size=40, batch_size=4).train_dataloader()
    (folder / "train" / "square" / "3.png").unlink()
    with pytest.raises(MissingImageError, match=r"^no such image: .*3.png$"):
        list(loader)


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_folder_or_a_dead_link_with_the_name_of_an_image(folder, kind):
    path = folder / "train" / "square" / "x.jpg"
    path.mkdir() if kind == "folder" else path.symlink_to(folder / "gone.jpg")
    what = {"folder": "an empty folder", "link": "no file"}[kind]
    with pytest.raises(DataError, match=rf"`root`: .*x.jpg has the name of an image and is {what}; delete"):
        ImageFolderData(str(folder)).samples("train")
    if kind == "folder":  # images below it are images of the class
        images.noise(path / "inside.png")
        assert len(ImageFolderData(str(folder)).samples("train")) == 13


def test_images_of_several_sizes_say_so(folder):
    images.noise(folder / "val" / "square" / "3.png", (20, 30))
    loader = ImageFolderData(str(folder), eval_transform=[], batch_size=12).val_dataloader()
    with pytest.raises(DataError, match=r"images of one shape in a batch, got \(3, 40, 48\) and \(3, 20, 30\)"):
        list(loader)


def test_a_transform_that_fails_names_the_file(folder):
    data = ImageFolderData(str(folder), eval_transform=[v2.RandomCrop(64)], batch_size=4)
    with pytest.raises(DataError, match=r"circle/0.png cannot be transformed: .*[Cc]rop"):
        list(data.val_dataloader())


class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.layer(images).relu().mean(dim=(2, 3))


def test_explain_skips_a_bad_image_and_names_it(tmp_path):
    for number, damage in enumerate(DAMAGES):
        damage(tmp_path / f"{number}.png")
    images.noise(tmp_path / "good.png")
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="ImageNet's mean and std are assumed"):
        explanations = explain(Mean(), tmp_path, on_error="skip", progress=False)
    found = list(explanations)
    assert [explanation.name for explanation in found] == ["good.png"]
    assert len(explanations.problems) == len(DAMAGES)
    for number in range(len(DAMAGES)):
        start = f"cannot read the image {tmp_path / f'{number}.png'}: "
        assert sum(problem.startswith(start) for problem in explanations.problems) == 1


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("damage", [images.sixteen_bits, images.sixteen_bits_gray, images.bomb])
def test_explain_refuses_the_same_pictures_in_memory(tmp_path, damage):
    damage(tmp_path / "photo.png")
    with Image.open(tmp_path / "photo.png") as picture:
        with pytest.warns(UserWarning, match="ImageNet's mean and std are assumed"):
            explanations = explain(Mean(), picture, progress=False)
        with pytest.raises(ValueError, match=r"`images`: a picture .*(bits|pixels)"):
            list(explanations)
