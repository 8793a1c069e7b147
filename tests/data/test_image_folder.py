from __future__ import annotations

import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from camtrain import Classifier
from camtrain.data import CIFAR10, ImageFolderData
from camtrain.messages import DataError
from camtrain.metrics.tight_box import tight_box
from camtrain.networks import CIFARResNet
from camtrain.pictures import denormalized
from tests.data.fake_data import make_image_folder
from tests.data.raster_files import make_tiles, write_png_of_16_bits


@pytest.fixture
def copy(fake_image_folder, tmp_path):
    """A tree that a test may change."""
    shutil.copytree(fake_image_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


def folder(root, boxes=False, masks=False, **kwargs):
    return ImageFolderData(
        root=str(root / "images"),
        boxes_csv=str(root / "boxes.csv") if boxes else None,
        masks_root=str(root / "masks") if masks else None,
        **{"image_size": 40, **kwargs},
    )


def names(data, split):
    return [file.path.relative_to(data.root).as_posix() for file in data.samples(split).files]


def test_splits_and_labels_are_folders(fake_image_folder):
    data = folder(fake_image_folder)
    assert data.class_names == ["circle", "square"]
    for split in ("train", "val", "test"):
        files = data.samples(split).files
        assert [file.label for file in files] == [0] * 6 + [1] * 6
        assert names(data, split) == [f"{split}/{name}/{n}.png" for name in ("circle", "square") for n in range(6)]


def test_images_equal_their_files_and_have_nothing_else(fake_image_folder):
    data = folder(fake_image_folder)
    sample = data.samples("val")[7]
    expected = np.asarray(Image.open(fake_image_folder / "images" / "val" / "square" / "1.png"))
    assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), expected)
    assert (sample["label"], sorted(sample)) == (1, ["image", "label"])
    assert (data.has_boxes, data.has_masks) == (False, False)


@pytest.mark.parametrize(("boxes", "masks"), [(True, False), (False, True), (True, True)])
def test_boxes_frame_the_painted_rectangle(fake_image_folder, boxes, masks):
    data = folder(fake_image_folder, boxes, masks)
    assert (data.has_boxes, data.has_masks) == (True, masks)
    for sample in data.samples("train"):
        painted = sample["image"].amin(0) == 255
        assert torch.equal(sample["boxes"].as_subclass(torch.Tensor), tight_box(painted))
        assert ("mask" in sample) is masks
        if masks:
            assert torch.equal(sample["mask"].as_subclass(torch.Tensor), painted)


@pytest.mark.parametrize("augmentation", ["none", "crop_flip", "resized_crop_flip"])
def test_augmented_boxes_and_masks_frame_the_paint(fake_image_folder, augmentation):
    torch.manual_seed(0)
    data = folder(fake_image_folder, boxes=True, masks=True, augmentation=augmentation, batch_size=12, image_size=80)
    for _ in range(4):
        batch = next(iter(data.train_dataloader()))
        assert batch.images.shape == (12, 3, 80, 80)
        for picture, mask, boxes in zip(data.denormalize(batch.images), batch.masks, batch.boxes, strict=True):
            painted = tight_box(picture.mean(0) > 0.55)
            assert (boxes - painted).abs().max() <= 2.5  # enlarged twice or more
            assert (tight_box(mask) - painted).abs().max() <= 2.5


def test_augmentations(fake_image_folder):
    def kinds(augmentation):
        transform = folder(fake_image_folder, augmentation=augmentation).default_train_transform()
        return [type(module) for module in transform]

    assert kinds("none") == [v2.Resize, v2.CenterCrop]
    assert kinds("crop_flip") == [v2.Resize, v2.CenterCrop, v2.RandomCrop, v2.RandomHorizontalFlip]
    assert kinds("resized_crop_flip") == [v2.RandomResizedCrop, v2.RandomHorizontalFlip]


def test_several_boxes_and_images_without_any(copy):
    rows = ["path,x0,y0,x1,y1", "val/circle/0.png,0,0,5,5", "val/circle/0.png,10,10,30,20", "val/square/5.png,1,1,9,9"]
    (copy / "boxes.csv").write_text("\n".join(rows))
    data = folder(copy, boxes=True, batch_size=12, eval_transform=[])
    batch = next(iter(data.val_dataloader()))
    assert batch.boxes[0].tolist() == [[0.0, 0.0, 5.0, 5.0], [10.0, 10.0, 30.0, 20.0]]
    assert batch.boxes[11].tolist() == [[1.0, 1.0, 9.0, 9.0]]
    assert [len(boxes) for boxes in batch.boxes] == [2] + [0] * 10 + [1]
    assert next(iter(data.test_dataloader())).boxes is not None  # none in this split, but in the data set


def test_masks_of_other_types_and_missing_ones(copy):
    (copy / "masks" / "val" / "circle" / "1.png").unlink()
    path = copy / "masks" / "val" / "circle" / "0.png"
    Image.open(path).save(path.with_suffix(".webp"), lossless=True)
    path.unlink()
    samples = folder(copy, masks=True).samples("val")
    assert int(samples[0]["mask"].sum()) > 0
    assert not samples[1]["mask"].any()
    assert samples[1]["boxes"].shape == (0, 4)


@pytest.mark.parametrize(
    "names", [("Training", "Testing"), ("training_set", "test_set"), ("seg_train", "seg_test", "VAL")]
)
def test_splits_of_other_names_are_not_taken_for_classes(names, tmp_path):
    for name in names:
        for index in range(4):
            save_gray(tmp_path / name / "cat" / f"{index}.png")
    with pytest.raises(ValueError, match="which are called like splits; rename them to train, val and test"):
        ImageFolderData(str(tmp_path))


def test_classes_may_be_called_like_a_part_of_a_split(tmp_path):
    for name in ("trainer", "valve", "dev"):
        save_gray(tmp_path / name / "0.png")
    assert ImageFolderData(str(tmp_path)).class_names == ["dev", "trainer", "valve"]


@pytest.mark.parametrize(
    "written", ["runs/quickstart/version_0/config.yaml", "mine/version_3/config.yaml", "study/study.json",
                "evaluated/scores.json", "explained/contact_sheet.png"]
)  # fmt: skip
def test_what_camtrain_has_written_beside_classes_is_no_class(written, tmp_path):
    for name in ("cat", "dog"):
        for index in range(8):
            save_gray(tmp_path / name / f"{index}.png")
    before = names_of_all(ImageFolderData(str(tmp_path)))
    path = tmp_path / written
    path.parent.mkdir(parents=True)
    path.touch()
    save_gray(path.parent / "panels" / "0.png")
    with pytest.warns(UserWarning, match=f"`root`: {written.split('/')[0]} in .* is left out"):
        data = ImageFolderData(str(tmp_path))
    assert data.class_names == ["cat", "dog"]
    assert names_of_all(data) == before


def names_of_all(data):
    return [names(data, split) for split in ("train", "val", "test")]


def save_gray(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), 90).save(path)


def test_files_without_an_ending_are_named(tmp_path):
    for name in ("cat", "dog"):
        save_gray(tmp_path / "train" / name / "0.png")
        save_gray(tmp_path / "val" / name / "0.png")
    (tmp_path / "train" / "cat" / "1a2b").write_bytes((tmp_path / "train" / "cat" / "0.png").read_bytes())
    (tmp_path / "train" / "cat" / "LICENSE").touch()
    with pytest.warns(UserWarning, match="files of a type that Pillow does not read are not read: .*1a2b; convert"):
        ImageFolderData(str(tmp_path)).samples("val")


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("cat", "dog"):
        for split in ("train", "val", "test"):
            save_gray(tmp_path / "photos" / split / name / "0.png")
    assert ImageFolderData("~/photos").root == tmp_path / "photos"
    assert CIFAR10(root="~/data").root == str(tmp_path / "data")


def test_batches_of_several_processes_are_full_ones(tmp_path):
    """Each process has its share of the images; without a full batch it would train nothing, and say nothing."""
    for name in ("cat", "dog"):
        for index in range(8):
            save_gray(tmp_path / "train" / name / f"{index}.png")
        save_gray(tmp_path / "val" / name / "0.png")
    data = ImageFolderData(str(tmp_path), batch_size=10)
    assert len(data.train_dataloader()) == 1
    data.trainer = SimpleNamespace(world_size=2)
    with pytest.raises(ValueError, match="at most the 16 training images, 8 for each of 2 processes, got 10"):
        data.train_dataloader()


def test_any_image_type_at_any_depth(tmp_path):
    for number, extension in enumerate(["webp", "jpg", "BMP", "gif", "tiff", "png"]):
        path = tmp_path / "train" / ("ab"[number % 2]) / "deep" / f"{number}.{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), 40 * number, dtype=np.uint8)).save(path)
    (tmp_path / "train" / "a" / "Thumbs.db").touch()
    (tmp_path / "train" / ".cache").mkdir()
    data = ImageFolderData(root=str(tmp_path), val_fraction=0.4, image_size=6)
    samples = [*data.samples("train"), *data.samples("val")]
    assert data.class_names == ["a", "b"]
    brightness = {round(float(sample["image"].float().mean()), -1): sample["label"] for sample in samples}
    assert brightness == {0: 0, 40: 1, 80: 0, 120: 1, 160: 0, 200: 1}


def test_validation_is_held_out_where_there_is_none(tmp_path):
    make_image_folder(tmp_path, images_per_class=20, splits=("train", "test"))
    data = folder(tmp_path)
    train, val = names(data, "train"), names(data, "val")
    assert set(train).isdisjoint(val)
    assert len(train + val) == 40
    assert Counter(file.label for file in data.samples("val").files) == {0: 2, 1: 2}
    assert len(names(folder(tmp_path, val_fraction=0.5), "val")) == 20
    assert names(folder(tmp_path, seed=1), "val") != val
    some = folder(tmp_path, classes=["square"])
    assert names(some, "val") == [name for name in val if "square" in name]


@pytest.mark.parametrize("split", [True, False])
def test_a_test_is_held_out_where_there_is_none(tmp_path, split):
    """From a `train` folder, and from a tree of classes alone."""
    make_image_folder(tmp_path, images_per_class=40, splits=("train",))
    fractions = {"test_fraction": 0.2}
    if not split:
        for of_class in (tmp_path / "images" / "train").iterdir():
            of_class.rename(tmp_path / "images" / of_class.name)
        (tmp_path / "images" / "train").rmdir()
        fractions = {}  # the default
    data = folder(tmp_path, **fractions)
    found = {part: names(data, part) for part in ("train", "val", "test")}
    assert len({name for part in found.values() for name in part}) == 80
    counts = {part: Counter(file.label for file in data.samples(part).files) for part in found}
    assert counts == {"train": {0: 28, 1: 28}, "val": {0: 4, 1: 4}, "test": {0: 8, 1: 8}}
    assert names(folder(tmp_path, **fractions, seed=1), "test") != found["test"]
    some = folder(tmp_path, **fractions, classes=["square"])
    assert names(some, "test") == [name for name in found["test"] if "square" in name]


def test_boxes_and_masks_of_a_tree_of_classes(tmp_path):
    """Its folder of masks is no class."""
    for name, value in (("cat", 10), ("dog", 200)):
        for number in range(10):
            for place, pixel in ((name, value), (f"masks/{name}", 255)):
                path = tmp_path / place / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((6, 8), pixel, dtype=np.uint8)).save(path)
    (tmp_path / "boxes.csv").write_text("path,x0,y0,x1,y1\ncat/3.png,1,1,4,4\n")
    data = ImageFolderData(
        root=str(tmp_path), boxes_csv=str(tmp_path / "boxes.csv"), masks_root=str(tmp_path / "masks"), image_size=6
    )
    assert data.class_names == ["cat", "dog"]
    files = [file for split in ("train", "val", "test") for file in data.samples(split).files]
    assert len(files) == 20
    assert all(file.mask == tmp_path / "masks" / file.path.relative_to(tmp_path) for file in files)
    assert [file.path.name for file in files if file.boxes] == ["3.png"]


def test_fractions_leave_training_images(tmp_path):
    make_image_folder(tmp_path, images_per_class=4, splits=("train",))
    with pytest.raises(ValueError, match=r"`test_fraction`: .* beside val_fraction = 0\.5, got 0\.5"):
        folder(tmp_path, val_fraction=0.5, test_fraction=0.5)


def test_validation_serves_as_test_with_a_warning(copy):
    shutil.rmtree(copy / "images" / "test")
    data = folder(copy)
    with pytest.warns(UserWarning, match=r"no folder .*test: the validation images are the test images too"):
        data.setup("test")
    assert data.data_set("test").samples.files == data.samples("val").files


def test_ignored_val_fraction_warns(fake_image_folder):
    with pytest.warns(UserWarning, match=r"`val_fraction` is ignored, since there is a folder .*val"):
        folder(fake_image_folder, val_fraction=0.1)


def test_subset_of_classes(fake_image_folder):
    data = folder(fake_image_folder, classes=["square", "circle"])
    assert [file.label for file in data.samples("val").files] == [1] * 6 + [0] * 6
    assert set(names(folder(fake_image_folder, classes=["square"]), "test")) == {
        f"test/square/{n}.png" for n in range(6)
    }
    with pytest.raises(ValueError, match=r"`classes`: .* no class 'sqare'; did you mean 'square'"):
        folder(fake_image_folder, classes=["sqare"])


def test_boxes_of_classes_that_are_not_used_are_fine(fake_image_folder):
    assert len(folder(fake_image_folder, boxes=True, classes=["square"]).samples("train")[0]["boxes"]) == 1


def test_missing_folders(copy, tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"`root`: expected the folder .*nowhere, which does not exist; make a tree .*/train/<class>/<image>",
    ):
        ImageFolderData(root=str(tmp_path / "nowhere"))
    (tmp_path / "no_train" / "val").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"expected training images in .*train, since there is a folder .*val"):
        ImageFolderData(root=str(tmp_path / "no_train"))
    with pytest.raises(FileNotFoundError, match=r"`boxes_csv`: expected .*nowhere.csv, which does not exist"):
        ImageFolderData(root=str(copy / "images"), boxes_csv=str(tmp_path / "nowhere.csv"))
    with pytest.raises(FileNotFoundError, match=r"`masks_root`: expected .*nowhere, which does not exist"):
        ImageFolderData(root=str(copy / "images"), masks_root=str(tmp_path / "nowhere"))


def test_train_folder_without_classes(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(ValueError, match=r"`root`: expected one folder per class in .*train, found none"):
        ImageFolderData(root=str(tmp_path))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_class_folder_without_images(copy, split):
    for path in (copy / "images" / split / "square").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=f"`root`: there are no images in .*{split}.square"):
        folder(copy).setup()


def test_split_without_class_folders(copy):
    shutil.rmtree(copy / "images" / "test")
    (copy / "images" / "test").mkdir()
    with pytest.raises(ValueError, match=r"`root`: there are no images in .*test"):
        folder(copy).setup()


def test_class_that_training_does_not_have(copy):
    (copy / "images" / "val" / "square").rename(copy / "images" / "val" / "Square")
    with pytest.raises(ValueError, match=r"`root`: .*Square is not a class of .*train; did you mean 'square'"):
        folder(copy).setup("validate")


def test_test_folder_may_lack_a_class(copy):
    shutil.rmtree(copy / "images" / "test" / "circle")
    assert {file.label for file in folder(copy).samples("test").files} == {1}


def test_no_image_of_the_wanted_classes(copy):
    shutil.rmtree(copy / "images" / "test" / "circle")
    with pytest.raises(ValueError, match=r"there are no test images of the classes circle"):
        folder(copy, classes=["circle"]).setup("test")


def test_unreadable_image_is_named(copy):
    (copy / "images" / "val" / "circle" / "3.png").write_text("no image")
    with pytest.raises(ValueError, match=r"cannot read the image .*val.circle.3.png"):
        folder(copy).samples("val")[3]


def test_bad_line_of_the_boxes_is_named_in_setup(copy):
    with (copy / "boxes.csv").open("a") as file:
        file.write("train/circle/0.png,0,0,49,10\n")
    with pytest.raises(
        ValueError, match=r"boxes.csv, line 38: the box \(0, 0, 49, 10\) is not inside its image of 48x40"
    ):
        folder(copy, boxes=True).setup("test")


def test_mask_of_another_size(copy):
    Image.fromarray(np.zeros((40, 47), dtype=np.uint8)).save(copy / "masks" / "val" / "circle" / "3.png")
    with pytest.raises(ValueError, match=r"the mask .*masks.val.circle.3.png is 47x40 pixels .* is 48x40"):
        folder(copy, masks=True).samples("val")[3]


def test_two_masks_for_one_image(copy):
    path = copy / "masks" / "val" / "circle" / "3.png"
    shutil.copy(path, path.with_suffix(".bmp"))
    with pytest.raises(ValueError, match=r"`masks_root`: two masks for one image: .*3.bmp and .*3.png"):
        folder(copy, masks=True).setup("fit")


def test_masks_that_belong_to_no_image(copy):
    (copy / "masks").rename(copy / "deeper")
    (copy / "masks").mkdir()
    (copy / "deeper").rename(copy / "masks" / "deeper")
    with pytest.raises(ValueError, match=r"`masks_root`: no mask in .*masks belongs to .* such as test/circle/0.png"):
        folder(copy, masks=True).setup("fit")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"image_size": 0}, "`image_size`: expected a positive integer, got 0"),
        ({"augmentation": "flip"}, "`augmentation`: expected none, crop_flip or resized_crop_flip, got 'flip'"),
        ({"val_fraction": 0.0}, "`val_fraction`: expected a fraction between 0 and 1, got 0.0"),
    ],
)
def test_arguments_out_of_range(fake_image_folder, argument, message):
    with pytest.raises(ValueError, match=message):
        folder(fake_image_folder, **argument)


def tiles(root, **kwargs):
    stated = {"channels": 4, "pixel_type": "uint16", "value_range": (0, 10000)}
    return ImageFolderData(root=str(root), **{"image_size": 8, "batch_size": 2, **stated, **kwargs})


def test_tiles_of_four_channels(tmp_path):
    make_tiles(tmp_path)
    data = tiles(tmp_path, augmentation="none", image_size=12, shown_channels=[3, 1, 0])
    assert (data.num_channels, data.mean, data.std) == (4, (0.5,) * 4, (0.5,) * 4)
    stored = np.load(data.samples("val").files[0].path)
    batch = next(iter(data.val_dataloader()))
    assert batch.images.shape == (2, 4, 12, 12)
    # p / 10000 is in [0, 1], and then (x - 0.5) / 0.5
    np.testing.assert_allclose(batch.images[0, :, 5, 7], (stored[5, 7] / 10000 - 0.5) / 0.5, atol=1e-6)
    np.testing.assert_allclose(data.denormalize(batch.images)[0, :, 5, 7], stored[5, 7] / 10000, atol=1e-6)
    picture = denormalized(batch.images, data)
    assert picture.shape == (2, 3, 12, 12)
    np.testing.assert_allclose(picture[0, :, 5, 7], stored[5, 7][[3, 1, 0]] / 10000, atol=1e-6)
    assert next(iter(tiles(tmp_path).train_dataloader())).images.shape == (2, 4, 8, 8)


def test_a_tile_of_other_channels_is_named(tmp_path):
    make_tiles(tmp_path)
    np.save(tmp_path / "wet" / "7.npy", np.zeros((12, 12, 3), dtype=np.uint16))
    data = tiles(tmp_path, val_fraction=0.4)
    samples = [data.samples(split) for split in ("train", "val", "test")]
    with pytest.raises(DataError, match=r"wet/7.npy: `channels`: expected 4 channels of uint16, got a file with 3"):
        [list(each) for each in samples]


def test_boxes_and_masks_of_arrays(tmp_path):
    make_tiles(tmp_path / "tiles", size=12)
    (tmp_path / "boxes.csv").write_text("path,x0,y0,x1,y1\nwet/0.npy,0,0,0.5,0.25\n")
    masks = tmp_path / "masks" / "dry"
    masks.mkdir(parents=True)
    Image.fromarray(np.eye(12, dtype=np.uint8)).save(masks / "1.png")
    annotation = {"boxes_csv": str(tmp_path / "boxes.csv"), "normalized": True, "masks_root": str(tmp_path / "masks")}
    data = tiles(tmp_path / "tiles", **annotation)
    samples = [sample for split in ("train", "val", "test") for sample in data.samples(split)]
    assert [box.tolist() for sample in samples for box in sample["boxes"] if box[2] == 6] == [[0, 0, 6, 3]]
    assert sum(int(sample["mask"].sum()) for sample in samples) == 12


def test_arrays_are_images_if_their_channels_are_stated(fake_image_folder, copy):
    np.save(copy / "images" / "train" / "circle" / "a.npy", np.zeros((4, 4, 3), dtype=np.uint8))
    with pytest.warns(UserWarning, match=r"are not read: .*a.npy; set `channels`, the number of their channels, if"):
        assert len(folder(copy).samples("train")) == 12
    assert len(folder(copy, channels=3).samples("train")) == 13


def test_three_channels_are_read_as_they_are_shown_or_as_they_are_stored(fake_image_folder):
    shown, stored = folder(fake_image_folder), folder(fake_image_folder, channels=3)
    assert (stored.mean, stored.std) == (shown.mean, shown.std)
    for one, other in zip(shown.samples("val"), stored.samples("val"), strict=True):
        assert torch.equal(one["image"], other["image"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, "`mean`: expected 4 numbers, one for each channel, got 3"),
        ({"mean": (0.5,) * 3}, "`std`: expected as many numbers as `mean` has, 3, got 4"),
        (
            {"shown_channels": [0, 4, 1]},
            r"`shown_channels`: expected one or three numbers from 0 to 3, got \[0, 4, 1\]",
        ),
        ({"shown_channels": [0, 1]}, r"`shown_channels`: expected one or three numbers from 0 to 3, got \[0, 1\]"),
        ({"shown_channels": []}, r"`shown_channels`: expected one or three numbers from 0 to 3, got \[\]"),
        ({"value_range": None}, "`value_range`: expected the numbers of uint16"),
        ({"channels": None}, "`pixel_type`: expected the default without `channels`"),
        ({"channels": None, "pixel_type": "uint8"}, "`value_range`: expected the default without `channels`"),
    ],
)
def test_wrong_channels(tmp_path, arguments, message):
    make_tiles(tmp_path, per_class=1)
    with pytest.raises(ValueError, match=message):
        tiles(tmp_path, **arguments)


def test_x_rays_of_one_channel(tmp_path):
    for name in ("ill", "well"):
        (tmp_path / name).mkdir()
        for number in range(4):
            numbers = np.full((9, 9), 1000 * number, dtype=np.uint16)
            write_png_of_16_bits(tmp_path / name / f"{number}.png", numbers[..., None])
    stated = {"channels": 1, "pixel_type": "uint16", "value_range": (0, 4000)}
    data = ImageFolderData(str(tmp_path), image_size=9, val_fraction=0.3, batch_size=2, **stated)
    batch = next(iter(data.val_dataloader()))
    number = int(data.samples("val").files[0].path.stem)
    assert batch.images.shape == (2, 1, 9, 9)
    torch.testing.assert_close(batch.images[0, 0, 0, 0], torch.tensor(number / 4 - 0.5) / 0.5)
    assert denormalized(batch.images, data).shape == (2, 3, 9, 9)
    assert Classifier(CIFARResNet(depth=8, num_classes=2, in_channels=1), 2)(batch.images).shape == (2, 2)
