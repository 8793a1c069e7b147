"""Photographs and masks are read as a viewer shows them, whoever reads them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torch import nn

from camtrain.data import ImageFolderData
from camtrain.data.image_file import image_orientation, image_size, object_mask, rgb_image, rgb_picture
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.data.upright import upright_boxes, upright_pixels
from camtrain.evaluation.image_source import image_source
from camtrain.explanation import explain
from camtrain.messages import DataError
from camtrain.networks.loaded_network import LoadedNetwork
from camtrain.networks.preprocessing import transform_preprocessing

# How the pixels have to be stored, so that a viewer that turns them shows what was given.
STORED = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a.swapaxes(0, 1), 2), 8: lambda a: np.rot90(a, -1),
}  # fmt: skip


def save(path, shown, orientation=1, **options):
    """Write a picture that looks like `shown` and is stored turned."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(STORED[orientation](shown))).save(path, exif=exif, **options)
    return path


def wide():
    """A wide picture, bright at the top left."""
    shown = np.zeros((32, 64, 3), dtype=np.uint8)
    shown[:16, :16] = 255
    return shown


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["png", "jpg", "tiff", "webp"])
def test_pictures_are_turned_as_their_exif_says(tmp_path, orientation, extension):
    path = save(tmp_path / f"photo.{extension}", wide(), orientation)
    photo = np.asarray(rgb_picture(path)).astype(int)
    assert photo.shape == wide().shape
    assert abs(photo - wide()).mean() < 2  # JPEG blurs edges
    assert image_size(path) == (32, 64)
    assert image_size(path, "stored") == ((64, 32) if orientation > 4 else (32, 64))
    assert image_orientation(path) == orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_annotation_is_turned_with_its_image(tmp_path, orientation):
    shown = np.zeros((6, 8, 3), dtype=np.uint8)
    shown[1:3, 2:7] = 255
    stored = np.ascontiguousarray(STORED[orientation](shown[:, :, 0]))
    ys, xs = stored.nonzero()
    box = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
    assert torch.equal(upright_pixels(torch.tensor(stored), orientation), torch.tensor(shown[:, :, 0]))
    assert upright_boxes(torch.tensor([box]), orientation, (6, 8)).tolist() == [[2, 1, 7, 3]]
    path = save(tmp_path / "photo.png", shown, orientation)
    Image.fromarray(stored).save(tmp_path / "mask.png")
    file = ImageFile(path, 0, boxes=(box,), mask=tmp_path / "mask.png")
    (sample,) = ImageFileSamples([file], has_boxes=True, has_masks=True, annotation_pixels="stored")
    assert sample["boxes"].tolist() == [[2, 1, 7, 3]]
    assert torch.equal(sample["mask"].as_subclass(torch.Tensor), sample["image"][0] == 255)
    # A mask that says itself how it is turned is turned once.
    save(tmp_path / "turned.png", shown[:, :, 0], orientation)
    for pixels in ("shown", "stored"):
        file = ImageFile(path, 0, mask=tmp_path / "turned.png")
        (sample,) = ImageFileSamples([file], has_masks=True, annotation_pixels=pixels)
        assert torch.equal(sample["mask"].as_subclass(torch.Tensor), sample["image"][0] == 255)


def test_annotation_of_other_pixels_says_so(tmp_path):
    save(tmp_path / "photo.png", np.zeros((6, 8, 3), dtype=np.uint8), 6)
    Image.fromarray(np.zeros((8, 6), dtype=np.uint8)).save(tmp_path / "mask.png")
    file = ImageFile(tmp_path / "photo.png", 0, mask=tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"mask.png is 6x8 pixels .* is 8x6; .*`annotation_pixels` is shown: set store"):
        ImageFileSamples([file], has_masks=True)[0]
    file = ImageFile(tmp_path / "photo.png", 0, boxes=((0, 0, 6, 8),))
    with pytest.raises(DataError, match=r"a box of .*photo.png is not inside .* of 8x6 pixels .*: \(0, 0, 6, 8\); its"):
        ImageFileSamples([file], has_boxes=True)[0]
    assert ImageFileSamples([file], has_boxes=True, annotation_pixels="stored")[0]["boxes"].tolist() == [[0, 0, 8, 6]]


def test_annotation_of_other_pixels_names_no_setting_that_is_not_there(tmp_path):
    save(tmp_path / "photo.png", np.zeros((6, 8, 3), dtype=np.uint8), 6)
    file = ImageFile(tmp_path / "photo.png", 0, boxes=((0, 0, 8, 6),))
    with pytest.raises(DataError, match=r"is not inside .*; its EXIF orientation turns the image, .* as it is stored$"):
        ImageFileSamples([file], has_boxes=True, annotation_pixels="stored", is_setting=False)[0]


def test_a_box_may_leave_its_image_by_a_pixel(tmp_path):
    save(tmp_path / "photo.png", np.zeros((6, 8, 3), dtype=np.uint8))
    for box, is_good in (((-1, 0, 9, 7), True), ((-1.5, 0, 8, 6), False), ((0, 0, 8, 7.5), False)):
        samples = ImageFileSamples([ImageFile(tmp_path / "photo.png", 0, boxes=(box,))], has_boxes=True)
        if is_good:
            assert samples[0]["boxes"].tolist() == [list(box)]
        else:
            with pytest.raises(DataError, match="is not inside"):
                samples[0]


def test_transparent_pixels_lie_on_white(tmp_path):
    colors = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [100, 100, 100, 51]]], dtype=np.uint8)
    Image.fromarray(colors).save(tmp_path / "a.png")
    assert rgb_image(tmp_path / "a.png")[:, 0].T.tolist() == [[10, 20, 30], [255] * 3, [224] * 3]
    Image.fromarray(np.array([[0, 9]], dtype=np.uint8)).save(tmp_path / "b.png", transparency=0)
    assert rgb_image(tmp_path / "b.png")[:, 0].T.tolist() == [[255] * 3, [9] * 3]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_turns_nothing(tmp_path):
    Image.fromarray(wide()).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert rgb_image(tmp_path / "a.jpg").shape == (3, 32, 64)


def palette(numbers, colors):
    image = Image.fromarray(np.array(numbers, dtype=np.uint8)).convert("P")
    image.putpalette(colors)
    return image


REFUSED = {
    "inverted.png": (palette([[0, 1]], [255, 255, 255, 0, 0, 0]), {}, "palette shows index 0 in a color"),
    "black.png": (palette([[0, 1, 2]], [0, 0, 0, 9, 9, 9, 0, 0, 0]), {}, "or another index in black"),
    "hidden.png": (Image.fromarray(np.array([[[255] * 4, [255] * 3 + [0]]], dtype=np.uint8)), {}, "transparent"),
    "shape.png": (Image.fromarray(np.array([[[0] * 3 + [255], [0] * 4]], dtype=np.uint8)), {}, "transparent"),
    "key.png": (Image.fromarray(np.array([[0, 9, 5]], dtype=np.uint8)), {"transparency": 9}, "transparent"),
    "photo.jpg": (Image.fromarray(np.pad(np.full((11, 13), 255, np.uint8), 5)), {}, "from its compression"),
    "nan.tiff": (Image.fromarray(np.array([[0, np.nan]], dtype=np.float32)), {}, "not finite"),
    "two.gif": (Image.new("L", (4, 4)), {"save_all": True, "append_images": [Image.new("L", (4, 4), 255)]}, "2 pict"),
    "two.tiff": (Image.new("L", (4, 4)), {"save_all": True, "append_images": [Image.new("L", (4, 4))]}, "2 pictures"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_mask_that_can_be_read_in_two_ways_is_refused(tmp_path, name):
    image, options, message = REFUSED[name]
    image.save(tmp_path / name, **options)
    with pytest.raises(DataError, match=rf"cannot read the image .*{name}: .*{message}"):
        object_mask(tmp_path / name)


def test_a_jpeg_of_black_and_white_blocks_is_a_mask(tmp_path):
    mask = np.zeros((16, 16), dtype=np.uint8)
    mask[:8] = 255
    Image.fromarray(mask).save(tmp_path / "a.jpg", quality=100)
    assert torch.equal(object_mask(tmp_path / "a.jpg"), torch.tensor(mask == 255))


class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3)

    def forward(self, images):
        return self.layer(images).relu().mean(dim=(2, 3))


@pytest.mark.parametrize("extension", ["jpg", "png", "tiff"])
def test_training_evaluation_and_explanations_see_the_same(tmp_path, extension):
    picture = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    for split in ("train", "val", "test"):
        path = save(tmp_path / "images" / split / "cat" / f"a.{extension}", picture, 6)
        (tmp_path / "masks" / split / "cat").mkdir(parents=True)
        Image.fromarray(picture[:, :, 0]).save(tmp_path / "masks" / split / "cat" / "a.png")
    (tmp_path / "boxes.csv").write_text(
        "path,x0,y0,x1,y1\n" + "".join(f"{split}/cat/a.{extension},30,2,40,20\n" for split in ("train", "val"))
    )
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    data = ImageFolderData(
        str(tmp_path / "images"), 20, "none", str(tmp_path / "boxes.csv"), str(tmp_path / "masks"), batch_size=1,
        train_transform=[], eval_transform=[], **plain,
    )  # fmt: skip
    network = LoadedNetwork(Mean(), "tiny", transform_preprocessing([], **plain))
    explained = explain(network, path, progress=False)[0].picture
    (trained,) = data.train_dataloader()
    (validated,) = data.val_dataloader()
    (evaluated,) = (part.read() for part in image_source(data, "test", None, 1).parts())
    assert explained.shape == (3, 20, 40)
    for batch in (trained, validated, evaluated):
        torch.testing.assert_close(batch.images[0].as_subclass(torch.Tensor), explained)
        assert torch.equal(batch.masks[0].as_subclass(torch.Tensor), torch.tensor(picture[:, :, 0] != 0))
    for batch in (trained, validated):
        assert batch.boxes[0].tolist() == [[30, 2, 40, 20]]
