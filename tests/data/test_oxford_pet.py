from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.transforms import v2

from camtrain.data import OxfordPet
from camtrain.data.oxford_pet import pet_mask
from camtrain.metrics.tight_box import tight_box


@pytest.fixture
def copy(fake_oxford_pet, tmp_path):
    """A data set that a test may damage."""
    shutil.copytree(fake_oxford_pet, tmp_path, dirs_exist_ok=True)
    return tmp_path


def ids(data, split):
    return [file.path.stem for file in data.samples(split).files]


def test_test_split_equals_torchvisions(fake_oxford_pet):
    data = OxfordPet(root=str(fake_oxford_pet))
    expected = datasets.OxfordIIITPet(fake_oxford_pet, split="test", target_types=("category", "segmentation"))
    assert data.class_names == expected.classes == ["Abyssinian", "Bengal", "American Bulldog"]
    samples = data.samples("test")
    assert len(samples) == len(expected) == 30
    for index in range(30):
        image, (label, trimap) = expected[index]
        sample = samples[index]
        assert sample["label"] == label
        assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), np.asarray(image))
        assert np.array_equal(sample["mask"].numpy(), np.asarray(trimap) != 2)


def test_training_and_validation_share_trainval(fake_oxford_pet):
    data = OxfordPet(root=str(fake_oxford_pet))
    everything = [image_id for image_id, _ in (line.split(" ", 1) for line in _lines(fake_oxford_pet, "trainval"))]
    train, val = ids(data, "train"), ids(data, "val")
    assert sorted(train + val) == sorted(everything)
    assert Counter(file.label for file in data.samples("val").files) == {0: 2, 1: 2, 2: 2}
    assert ids(OxfordPet(root=str(fake_oxford_pet), seed=1), "val") != val


def _lines(root, split):
    return (root / "oxford-iiit-pet" / "annotations" / f"{split}.txt").read_text().splitlines()


def test_boxes_frame_the_bright_pet(fake_oxford_pet):
    """The fake pets are rectangles painted in white on images of 60x48 pixels."""
    for sample in OxfordPet(root=str(fake_oxford_pet)).samples("train"):
        painted = tight_box(sample["image"].float().mean(0) > 157)  # JPEG blurs the edges, but not to the middle
        assert torch.equal(sample["boxes"].as_subclass(torch.Tensor), painted)


def test_border_belongs_to_the_object_or_not(fake_oxford_pet):
    with_border = OxfordPet(root=str(fake_oxford_pet)).samples("train")[0]
    without = OxfordPet(root=str(fake_oxford_pet), border_is_object=False).samples("train")[0]
    inset = without["boxes"] - with_border["boxes"]
    assert inset.tolist() == [[2.0, 2.0, -2.0, -2.0]]
    assert without["mask"].sum() < with_border["mask"].sum()


def test_trimap_by_hand(tmp_path):
    Image.fromarray(np.array([[1, 2, 3], [2, 2, 3]], dtype=np.uint8)).save(tmp_path / "trimap.png")
    assert pet_mask(tmp_path / "trimap.png").tolist() == [[True, False, True], [False, False, True]]
    assert pet_mask(tmp_path / "trimap.png", border_is_object=False).tolist() == [[True, False, False], [False] * 3]


@pytest.mark.parametrize("number", [0, 4])
def test_trimap_with_another_number(tmp_path, number):
    Image.fromarray(np.array([[1, 2], [3, number]], dtype=np.uint8)).save(tmp_path / "trimap.png")
    with pytest.raises(ValueError, match=r"the trimap .*trimap.png should hold 1, 2 and 3 only, got .*"):
        pet_mask(tmp_path / "trimap.png")


def test_trimap_without_a_pet_gives_no_box(fake_oxford_pet):
    data = OxfordPet(root=str(fake_oxford_pet), batch_size=3, image_size=32)
    assert ids(data, "test")[0] == "Abyssinian_2"
    batch = next(iter(data.test_dataloader()))
    assert [len(boxes) for boxes in batch.boxes] == [0, 1, 1]
    assert [bool(mask.any()) for mask in batch.masks] == [False, True, True]


def test_batches_of_both_transforms_frame_the_pet(fake_oxford_pet):
    torch.manual_seed(0)
    data = OxfordPet(root=str(fake_oxford_pet), batch_size=8, image_size=96)
    for loader in (data.train_dataloader(), data.test_dataloader()):
        for batch in loader:
            assert batch.images.shape[1:] == (3, 96, 96)
            for picture, mask, boxes in zip(data.denormalize(batch.images), batch.masks, batch.boxes, strict=True):
                if len(boxes):
                    painted = tight_box(picture.mean(0) > 0.6)
                    assert (boxes - painted).abs().max() <= 3  # scaled by 2 or more, out of JPEG
                    assert (tight_box(mask) - painted).abs().max() <= 3


def test_evaluation_keeps_the_shorter_side(fake_oxford_pet):
    """48 of 60 columns are left, all 48 rows: a box is moved by 6 to the left and cut at the edges."""
    data = OxfordPet(root=str(fake_oxford_pet), image_size=48)
    for before, after in zip(data.samples("test"), data.data_set("test"), strict=True):
        x0, y0, x1, y1 = before["boxes"].reshape(-1, 4).unbind(1)
        expected = torch.stack([(x0 - 6).clamp(0, 48), y0, (x1 - 6).clamp(0, 48), y1], dim=1)
        assert torch.equal(after["boxes"].as_subclass(torch.Tensor), expected)


def test_training_crops_keep_half_of_the_image(fake_oxford_pet):
    crop, flip = OxfordPet(root=str(fake_oxford_pet)).default_train_transform()
    assert isinstance(crop, v2.RandomResizedCrop)
    assert crop.scale == (0.5, 1.0)
    assert isinstance(flip, v2.RandomHorizontalFlip)


def test_subset_of_breeds_keeps_each_image_on_its_side(fake_oxford_pet):
    everything = OxfordPet(root=str(fake_oxford_pet))
    some = OxfordPet(root=str(fake_oxford_pet), classes=["American Bulldog", "Abyssinian"])
    assert some.num_classes == 2
    for split in ("train", "val", "test"):
        assert ids(some, split) == [i for i in ids(everything, split) if not i.startswith("Bengal")]
    assert {file.path.stem[:3]: file.label for file in some.samples("val").files} == {"ame": 0, "Aby": 1}
    with pytest.raises(ValueError, match=r"no class 'Bengall'; did you mean 'Bengal'"):
        OxfordPet(root=str(fake_oxford_pet), classes=["Bengall"])


def test_labels_with_gaps_are_closed(copy):
    """A subset of the full data set may keep its official numbers."""
    for split in ("trainval", "test"):
        path = copy / "oxford-iiit-pet" / "annotations" / f"{split}.txt"
        renumbered = path.read_text().replace(" 2 1 2\n", " 6 1 2\n").replace(" 3 2 3\n", " 2 2 1\n")
        path.write_text(f"#Image CLASS-ID SPECIES BREED ID\n\n{renumbered}")
    data = OxfordPet(root=str(copy))
    assert data.class_names == ["Abyssinian", "American Bulldog", "Bengal"]
    assert {(file.path.stem[:3], file.label) for file in data.samples("test").files} == {
        ("Aby", 0),
        ("ame", 1),
        ("Ben", 2),
    }


def test_missing_data_names_the_folder_and_the_way_out(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`root`: .*oxford-iiit-pet.*trainval.txt does not exist; `download=True`"
    ):
        OxfordPet(root=str(tmp_path))


def test_breeds_are_known_before_the_download(tmp_path, fake_oxford_pet, monkeypatch):
    data = OxfordPet(root=str(tmp_path / "new"), download=True)
    assert data.num_classes == 37
    assert data.class_names == sorted(data.class_names)  # official labels are alphabetical
    monkeypatch.setattr(
        datasets.OxfordIIITPet,
        "_download",
        lambda self: shutil.copytree(fake_oxford_pet, self.root, dirs_exist_ok=True),
    )
    data.prepare_data()
    assert len(data.samples("test")) == 30
    assert OxfordPet(root=str(tmp_path / "new"), download=True).num_classes == 3


@pytest.mark.parametrize("line", ["Abyssinian 1 1 1", "Abyssinian_1 one 1 1", "Abyssinian_1"])
def test_bad_annotation_line(copy, line):
    path = copy / "oxford-iiit-pet" / "annotations" / "test.txt"
    path.write_text(f"Bengal_2 2 1 2\n{line}\n")
    with pytest.raises(ValueError, match=rf"test.txt, line 2: expected .*, got '{line}'"):
        OxfordPet(root=str(copy))


def test_one_label_for_two_breeds(copy):
    path = copy / "oxford-iiit-pet" / "annotations" / "test.txt"
    path.write_text("Bengal_2 1 1 1\n")
    with pytest.raises(ValueError, match=r"label 1 .* 'Abyssinian' and 'Bengal'"):
        OxfordPet(root=str(copy))


def test_damaged_and_missing_images_are_named(copy):
    data = OxfordPet(root=str(copy))
    image, trimap, gone = (file.path for file in data.samples("test").files[1:4])
    image.write_bytes(image.read_bytes()[:300])
    trimap = data.samples("test").files[2].mask
    trimap.write_bytes(b"no image")
    gone.unlink()
    samples = data.samples("test")
    with pytest.raises(ValueError, match=f"cannot read the image .*{image.name}"):
        samples[1]
    with pytest.raises(ValueError, match=f"cannot read the image .*{trimap.name}"):
        samples[2]
    with pytest.raises(FileNotFoundError, match=f"no such image: .*{gone.name}"):
        samples[3]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"image_size": 0}, "`image_size`: expected a positive integer, got 0"),
        ({"val_fraction": 1.0}, "`val_fraction`: expected a fraction between 0 and 1, got 1.0"),
        ({"val_fraction": 0.05}, "`val_fraction`: 0.05 of 30 images of 3 classes leaves some class without"),
    ],
)
def test_arguments_out_of_range(fake_oxford_pet, argument, message):
    with pytest.raises(ValueError, match=message):
        OxfordPet(root=str(fake_oxford_pet), **argument).setup("fit")
