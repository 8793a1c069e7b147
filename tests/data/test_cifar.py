from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from torchvision import datasets, tv_tensors

from camtrain.data import CIFAR10, CIFAR100
from tests.data.fake_data import make_cifar10


def raw(data, split):
    """(label, image bytes) of each sample, before any transform."""
    samples = data.samples(split)
    return [(samples[i]["label"], samples[i]["image"].numpy().tobytes()) for i in range(len(samples))]


def test_test_images_equal_torchvisions(fake_cifar10):
    data = CIFAR10(root=str(fake_cifar10))
    expected = datasets.CIFAR10(fake_cifar10, train=False)
    samples = data.samples("test")
    assert len(samples) == len(expected) == 100
    for index in range(0, 100, 7):
        image, label = expected[index]
        assert samples[index]["label"] == label == int(samples[index]["image"][0, 0, 0])
        assert np.array_equal(samples[index]["image"].permute(1, 2, 0).numpy(), np.asarray(image))


@pytest.mark.parametrize(
    ("module", "fixture", "images"), [(CIFAR10, "fake_cifar10", 50), (CIFAR100, "fake_cifar100", 10)]
)
def test_validation_is_a_tenth_of_every_class(request, module, fixture, images):
    data = module(root=str(request.getfixturevalue(fixture)))
    train, val = raw(data, "train"), raw(data, "val")
    assert set(train).isdisjoint(val)
    assert Counter(label for label, _ in val) == dict.fromkeys(range(data.num_classes), images // 10)
    assert Counter(label for label, _ in train) == dict.fromkeys(range(data.num_classes), images - images // 10)
    assert raw(module(root=data.root, seed=0), "val") == val
    assert raw(module(root=data.root, seed=1), "val") != val


def test_no_validation_images_of_its_own(fake_cifar10):
    data = CIFAR10(root=str(fake_cifar10), val_fraction=0)
    assert len(data.samples("train")) == 500
    assert raw(data, "val") == raw(data, "test")


def test_class_names_are_torchvisions(fake_cifar10, fake_cifar100):
    assert CIFAR10(root=str(fake_cifar10)).num_classes == 10
    assert CIFAR100().num_classes == 100  # known without data
    assert CIFAR100().class_names == sorted(CIFAR100().class_names)  # the official order is alphabetical
    assert CIFAR100().class_names[:3] == ["apple", "aquarium_fish", "baby"]
    assert CIFAR10().class_names[9] == "truck"


def test_subset_of_classes_keeps_each_image_on_its_side(fake_cifar10):
    everything, some = CIFAR10(root=str(fake_cifar10)), CIFAR10(root=str(fake_cifar10), classes=["ship", "cat"])
    assert some.class_names == ["ship", "cat"]
    for split in ("train", "val", "test"):
        expected = [({8: 0, 3: 1}[label], image) for label, image in raw(everything, split) if label in (8, 3)]
        assert raw(some, split) == expected


def test_unknown_class():
    with pytest.raises(ValueError, match=r"`classes`: .* no class 'truk'; did you mean 'truck'"):
        CIFAR10(classes=["truk"])


def test_training_crops_move_by_at_most_the_padding(fake_cifar10):
    data = CIFAR10(root=str(fake_cifar10), mean=(0.0,) * 3, std=(1.0,) * 3)
    crop, flip = data.default_train_transform()
    assert flip.p == 0.5
    image = tv_tensors.Image(torch.zeros(3, 32, 32))
    image[:, 16, 16] = 1
    torch.manual_seed(0)
    found = {tuple(torch.nonzero(crop(image)[0])[0].tolist()) for _ in range(600)}
    assert {y for y, _ in found} == set(range(12, 21))
    assert {x for _, x in found} == set(range(12, 21))


def test_no_boxes_and_no_masks(fake_cifar10):
    data = CIFAR10(root=str(fake_cifar10), batch_size=8)
    batch = next(iter(data.train_dataloader()))
    assert (data.has_boxes, data.has_masks, batch.boxes, batch.masks) == (False, False, None, None)
    assert batch.images.shape == (8, 3, 32, 32)


@pytest.mark.parametrize(("module", "folder"), [(CIFAR10, "cifar-10-batches-py"), (CIFAR100, "cifar-100-python")])
def test_missing_data_names_the_folder_and_the_way_out(tmp_path, module, folder):
    with pytest.raises(FileNotFoundError, match=rf"`root`: expected {module.__name__} in .*{folder}.* `download=True`"):
        module(root=str(tmp_path)).setup("fit")


def test_missing_file_and_wrong_checksum(tmp_path, no_checksums, monkeypatch):
    make_cifar10(tmp_path)
    CIFAR10(root=str(tmp_path)).setup("test")
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", "0" * 32]])
    with pytest.raises(ValueError, match=r"`root`: files in .*cifar-10-batches-py are missing or damaged"):
        CIFAR10(root=str(tmp_path)).setup("test")
    monkeypatch.undo()
    (tmp_path / "cifar-10-batches-py" / "test_batch").unlink()
    with pytest.raises(ValueError, match=r"`root`: files in .*cifar-10-batches-py are missing or damaged"):
        CIFAR10(root=str(tmp_path)).setup("test")


def test_download_happens_in_prepare_data_only(fake_cifar10, tmp_path, monkeypatch):
    def download(self):
        shutil.copytree(fake_cifar10, self.root, dirs_exist_ok=True)

    monkeypatch.setattr(datasets.CIFAR10, "download", download)
    CIFAR10(root=str(tmp_path / "not")).prepare_data()
    assert not (tmp_path / "not").exists()
    data = CIFAR10(root=str(tmp_path / "yes"), download=True)
    assert not (tmp_path / "yes").exists()
    data.prepare_data()
    assert len(data.samples("test")) == 100


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_val_fraction_out_of_range(fraction):
    with pytest.raises(ValueError, match=r"`val_fraction`: expected a fraction in \[0, 1\)"):
        CIFAR10(val_fraction=fraction)
