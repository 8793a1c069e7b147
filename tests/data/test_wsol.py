"""The benchmark of weakly supervised localization: metadata, splits, transforms, annotation, and errors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from camtrain.data import HideAndSeek, WSOLData
from camtrain.data.data_summary import split_counts
from camtrain.messages import DataError, sample_name
from camtrain.metrics.tight_box import tight_box
from tests.data.wsol_trees import make_wsol

BENCHMARKS = ["CUB", "ILSVRC", "OpenImages"]


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    root = tmp_path_factory.mktemp("wsol")
    for benchmark in BENCHMARKS:
        make_wsol(root, benchmark)
    return root


@pytest.fixture
def tree(tmp_path):
    """A CUB that a test may damage."""
    make_wsol(tmp_path, "CUB", images_per_class=2)
    return tmp_path


def made(place, benchmark="CUB", **settings):
    folders = {"root": str(place / "dataset"), "metadata_root": str(place / "metadata")}
    return WSOLData(benchmark, **{**folders, "batch_size": 4, "image_size": 56, **settings})


def metadata(root, name, split="val", benchmark="CUB"):
    return root / "metadata" / benchmark / split / f"{name}.txt"


@pytest.mark.parametrize(
    ("benchmark", "names"),
    [("CUB", ["000.Bird0", "001.Bird1"]), ("ILSVRC", ["n00", "n01"]), ("OpenImages", ["00x", "01x"])],
)
def test_classes_and_splits(trees, benchmark, names):
    data = made(trees, benchmark)
    assert (data.class_names, data.num_classes) == (names, 2)
    assert (data.has_boxes, data.has_masks) == ((False, True) if benchmark == "OpenImages" else (True, False))
    for split in ("train", "val", "test"):
        samples = data.samples(split)
        assert samples.labels == [0] * 4 + [1] * 4
        ids = metadata(trees, "image_ids", split, benchmark).read_text().splitlines()
        assert samples.image_ids == ids
        assert sample_name(samples, 5) == str(trees / "dataset" / benchmark / ids[5])
    assert pickle.loads(pickle.dumps(data)).class_names == names  # as processes that load images need it


@pytest.mark.parametrize("benchmark", ["CUB", "ILSVRC"])
def test_boxes_end_after_the_last_pixel(trees, benchmark):
    data = made(trees, benchmark)
    for sample in data.samples("test"):
        painted = tight_box(sample["image"].as_subclass(Tensor).amax(dim=0) == 255)
        assert torch.equal(sample["boxes"].as_subclass(Tensor), painted)
        assert "mask" not in sample
    assert len(data.samples("train")[0]["boxes"]) == (1 if benchmark == "CUB" else 0)


def test_evaluation_images_are_squashed_with_their_boxes(trees):
    """60 × 40 pixels become 56 × 56; the box's first and last pixel are scaled and rounded down."""
    data = made(trees, "CUB", mean=(0, 0, 0), std=(1, 1, 1))
    for raw, squashed in zip(data.samples("val"), data.data_set("val"), strict=True):
        x0, y0, x1, y1 = raw["boxes"][0].tolist()
        expected = [x0 * 56 // 60, y0 * 56 // 40, (x1 - 1) * 56 // 60 + 1, (y1 - 1) * 56 // 40 + 1]
        assert squashed["boxes"].tolist() == [expected]
        assert squashed["image"].shape == (3, 56, 56)
        pillow = Image.fromarray(raw["image"].permute(1, 2, 0).numpy()).resize((56, 56), Image.Resampling.BILINEAR)
        assert float((squashed["image"].permute(1, 2, 0) - torch.tensor(np.asarray(pillow)) / 255).abs().max()) < 0.02


def test_training_images_are_scaled_and_cropped(trees):
    scaled, crop, flip = made(trees, "CUB", image_size=224).default_train_transform()
    assert (list(scaled.size), list(crop.size), flip.p) == ([256, 256], [224, 224], 0.5)
    torch.manual_seed(0)
    batch = next(iter(made(trees, "CUB").train_dataloader()))
    assert batch.images.shape == (4, 3, 56, 56)
    for image, of_image in zip(batch.images, batch.boxes, strict=True):
        around = tight_box(image.as_subclass(Tensor).amax(dim=0) > 1)
        assert (of_image.as_subclass(Tensor) - around).abs().max() <= 2


def test_masks_are_joined_and_ignored_pixels_are_no_objects(trees):
    data = made(trees, "OpenImages")
    batch = next(iter(data.val_dataloader()))
    assert batch.boxes is None
    assert batch.masks.shape == batch.ignored.shape == (4, 56, 56)
    assert not bool((batch.masks & batch.ignored).any())
    pictures = data.denormalize(batch.images)
    for index, (picture, mask, ignored) in enumerate(zip(pictures, batch.masks, batch.ignored, strict=True)):
        mask, ignored = mask.as_subclass(Tensor), ignored.as_subclass(Tensor)
        bright = picture.amax(dim=0) > 0.6
        assert float((bright ^ mask).float().mean()) < 0.06  # the edges, which the image interpolates
        assert bool((picture[2][mask] > 0.6).any()) == bool(index % 2)  # the second object is blue
        # The lower half of the mask files is ignored, but for the object.
        assert torch.equal(ignored, (torch.arange(56) >= 28)[:, None] & ~mask)
    assert bool(batch.masks[:, 28:].any())  # objects reach into the ignored half
    train = next(iter(data.train_dataloader()))
    assert not bool(train.masks.any())
    assert not bool(train.ignored.any())


def test_some_validation_images_per_class(trees):
    few = made(trees, "ILSVRC", val_images_per_class=3).samples("val")
    assert few.labels == [0, 0, 0, 1, 1, 1]
    fewer = made(trees, "ILSVRC", val_images_per_class=1).samples("val")
    assert fewer.labels == [0, 1]
    assert set(fewer.image_ids) < set(few.image_ids) < set(made(trees, "ILSVRC").samples("val").image_ids)
    others = {
        tuple(made(trees, "ILSVRC", val_images_per_class=1, seed=seed).samples("val").image_ids) for seed in range(6)
    }
    assert len(others) > 1
    assert len(made(trees, "ILSVRC", val_images_per_class=1).samples("test")) == 8
    with pytest.raises(ValueError, match="`val_images_per_class`: expected at most the 4 images of class 0, got 5"):
        made(trees, "ILSVRC", val_images_per_class=5).samples("val")


def test_a_smaller_list_of_training_images(tree):
    with pytest.raises(FileNotFoundError, match=r"`proxy`: expected .*image_ids_proxy.txt, found none"):
        made(tree, proxy=True)
    ids = metadata(tree, "image_ids", "train").read_text().splitlines()
    metadata(tree, "image_ids_proxy", "train").write_text("\n".join(ids[1:3]))
    data = made(tree, proxy=True)
    assert data.samples("train").image_ids == ids[1:3]
    assert len(data.samples("val")) == 4


def test_a_network_is_scored_without_the_list_of_training_images(trees, tmp_path):
    (tmp_path / "metadata" / "ILSVRC").mkdir(parents=True)
    (tmp_path / "metadata" / "ILSVRC" / "test").symlink_to(trees / "metadata" / "ILSVRC" / "test")
    data = made(tmp_path, "ILSVRC", root=str(trees / "dataset"))
    assert data.class_names == ["0", "1"]  # its test images are all in one folder
    assert len(data.data_set("test")) == 8
    with pytest.raises(FileNotFoundError, match=r"`metadata_root`: expected .*ILSVRC/train/image_ids.txt"):
        data.data_set("train")


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("class_labels", "{id},one", r"class_labels.txt, line 5: expected path,class with whole numbers"),
        ("class_labels", "{id},-1", r"class_labels.txt, line 5: expected path,class"),
        ("image_sizes", "{id},60", r"image_sizes.txt, line 5: expected path,width,height"),
        ("localization", "{id},3,3,9", r"localization.txt, line 5: expected path,x0,y0,x1,y1"),
        ("localization", "{id},9,3,3,9", r"localization.txt, line 5: expected x0 ≤ x1 and y0 ≤ y1, got \(9, 3, 3, 9\)"),
        ("localization", "{id},3,3,60,9", r"line 5: expected a box inside its image of 60x40 pixels"),
        ("image_ids", "{id}", r"image_ids.txt: expected each image once, got '000.Bird0/val_0_0.png' more than once"),
        ("image_ids", "new.png", r"class_labels.txt: expected a label for each .* got none for 'new.png' \(1 in all\)"),
    ],
)
def test_bad_lines(tree, name, line, message):
    path = metadata(tree, name)
    path.write_text(path.read_text() + line.format(id="000.Bird0/val_0_0.png") + "\n")
    with pytest.raises(DataError, match=message):
        made(tree).data_set("val")


def test_boxes_that_are_listed_twice_count_once(tree):
    path = metadata(tree, "localization")
    path.write_text(2 * path.read_text())
    assert {len(sample["boxes"]) for sample in made(tree).samples("val")} == {1}


def test_an_ignored_mask_on_a_second_line(trees, tmp_path):
    make_wsol(tmp_path, "OpenImages", images_per_class=1)
    path = metadata(tmp_path, "localization", benchmark="OpenImages")
    path.write_text(path.read_text().splitlines()[0] + "\n" + path.read_text())
    with pytest.raises(DataError, match="line 2: expected an ignored mask on the first line of an image only"):
        made(tmp_path, "OpenImages").data_set("val")


def test_an_image_of_another_size_than_its_boxes(tree):
    Image.new("RGB", (30, 20)).save(tree / "dataset" / "CUB" / "000.Bird0" / "val_0_1.png")
    samples = made(tree).data_set("val")
    assert samples[0]["image"].shape == (3, 56, 56)
    with pytest.raises(DataError, match=r"val_0_1.png is 30x20 pixels .*, and its boxes belong to 60x40"):
        samples[1]


def test_masks_of_one_image_in_two_sizes(tmp_path):
    make_wsol(tmp_path, "OpenImages", images_per_class=2)
    Image.new("L", (30, 20)).save(tmp_path / "dataset" / "OpenImages" / "val" / "00x" / "val_0_1_m1.png")
    with pytest.raises(DataError, match=r"val_0_1_m1.png of one image differ in size: 120x80 and 30x20"):
        made(tmp_path, "OpenImages").samples("val")[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"benchmark": "cub"}, "`benchmark`: expected one of CUB, ILSVRC, OpenImages, got 'cub'"),
        ({"image_size": 0}, "`image_size`: expected a positive integer"),
        ({"val_images_per_class": 0}, "`val_images_per_class`: expected a positive integer"),
    ],
)
def test_bad_settings(trees, settings, message):
    with pytest.raises(ValueError, match=message):
        made(trees, **settings)


def test_missing_folders(trees, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`metadata_root`: expected the folder .*none/CUB, which does not"):
        made(trees, metadata_root=str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"`masks_root`: expected the folder"):
        made(trees, "OpenImages", masks_root=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"`root`: expected the val images of CUB in .*, but there is no 000"):
        made(trees, root=str(tmp_path)).data_set("val")


def test_a_class_that_training_does_not_have(tree):
    path = metadata(tree, "class_labels", "test")
    path.write_text(path.read_text().replace("test_1_1.png,1", "test_1_1.png,2"))
    with pytest.raises(DataError, match=r"test/class_labels.txt: expected classes from 0 to 1, got 2 for '001"):
        made(tree).data_set("test")


def test_hidden_patches_follow_the_transforms(trees):
    hide = HideAndSeek(patch_sizes=[14], probability=0.5)
    torch.manual_seed(0)
    data = made(trees, extra_train_transform=[hide])
    batch = next(iter(data.train_dataloader()))
    patches = batch.images.unfold(2, 14, 14).unfold(3, 14, 14)
    is_hidden = (patches.abs() < 0.02).all(dim=1).flatten(3).all(dim=3)
    assert 20 < int(is_hidden.sum()) < 44  # of 64
    validation = next(iter(data.val_dataloader())).images.unfold(2, 14, 14).unfold(3, 14, 14)
    assert not bool((validation.abs() < 0.02).all(dim=1).flatten(3).all(dim=3).any())


def test_a_turned_photograph_keeps_its_annotation(tmp_path):
    """Boxes and masks belong to the stored pixels; the image is shown, and squashed, as its EXIF orientation says."""
    for benchmark in ("CUB", "OpenImages"):
        make_wsol(tmp_path, benchmark, images_per_class=1)
        path = next((tmp_path / "dataset" / benchmark).rglob("val_0_0.png"))
        upright = made(tmp_path, benchmark).samples("val")[0]
        stored = Image.open(path)
        exif = stored.getexif()
        exif[0x0112] = 6  # a viewer turns it by 90° clockwise
        stored.save(path, exif=exif)
        turned = made(tmp_path, benchmark).samples("val")[0]
        assert turned["image"].shape == (3, 60, 40)
        painted = turned["image"].as_subclass(Tensor)[0] == 255
        if benchmark == "CUB":
            assert torch.equal(turned["boxes"].as_subclass(Tensor), tight_box(painted))
        else:
            for name in ("mask", "ignored"):
                expected = upright[name].as_subclass(Tensor).rot90(-1, (0, 1))
                assert torch.equal(turned[name].as_subclass(Tensor), expected)


def test_the_summary_counts_boxes_and_masks(trees):
    for benchmark, train, val in (("CUB", (8, 8, None), (8, 8, None)), ("ILSVRC", (0, 0, None), (8, 8, None)),
                                  ("OpenImages", (None, None, 0), (None, None, 8))):  # fmt: skip
        data = made(trees, benchmark)
        for split, expected in (("train", train), ("val", val)):
            counts = split_counts(data.data_set(split))
            assert (counts.images, dict(counts.of_class)) == (8, {0: 4, 1: 4})
            assert (counts.boxes, counts.boxed, counts.masked) == expected
