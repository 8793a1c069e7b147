from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency, chisquare
from torchvision import datasets

from camtrain.data import DecoyMNIST
from camtrain.data.decoy_mnist import decoy_images, ink_boxes
from camtrain.metrics.tight_box import tight_box
from tests.data.fake_data import make_mnist

SETS = ("MNIST", "FashionMNIST", "KMNIST", "QMNIST")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mnist")
    for name in SETS:
        make_mnist(folder, name)
    return str(folder)


def source(root, train=True, name="MNIST"):
    """Images and labels as torchvision gives them, one by one."""
    items = list(getattr(datasets, name)(root, train=train))
    return np.stack([np.asarray(image) for image, _ in items]), [label for _, label in items]


def raw(data, split):
    samples = data.samples(split)
    return [samples[index] for index in range(len(samples))]


def corner_of(decoy):
    """Top and left of a square of 4 pixels in a corner of 28; fails if it is anything else."""
    (box,) = tight_box(decoy).tolist()
    assert (box[2] - box[0], box[3] - box[1], int(decoy.sum())) == (4, 4, 16)
    assert {box[0], box[1]} <= {0, 24}
    return int(box[1]), int(box[0])


@pytest.mark.parametrize(("split", "train"), [("train", True), ("val", True), ("test", False)])
def test_only_the_patch_differs_from_the_source(root, split, train):
    images, labels = source(root, train)
    # The number of an image is in its first row of ink: see `make_mnist`.
    number = {tuple(image[14].tolist()): index for index, image in enumerate(images)}
    for sample in raw(DecoyMNIST(root=root), split):
        assert sample["image"].dtype == torch.uint8
        assert torch.equal(sample["image"][0], sample["image"][2])
        index = number[tuple(sample["image"][0, 14].tolist())]
        assert labels[index] == sample["label"]
        decoy = ~sample["mask"].as_subclass(torch.Tensor)
        top, left = corner_of(decoy)
        expected = images[index].copy()
        shades = sample["image"][1, top : top + 4, left : left + 4].unique().tolist()
        assert len(shades) == 1
        assert (255 - shades[0]) % 25 == 0
        if train:
            assert shades[0] == 255 - 25 * sample["label"]
        expected[top : top + 4, left : left + 4] = shades[0]
        assert np.array_equal(sample["image"][1].numpy(), expected)


def test_test_labels_are_independent_of_the_shade():
    images = torch.zeros(5000, 28, 28, dtype=torch.uint8)
    labels = torch.arange(5000) % 10
    made, told = (
        decoy_images(images, labels, random=np.random.default_rng(0), decoy_reveals_label=reveals)
        for reveals in (False, True)
    )
    shades = made.images.flatten(1).amax(1)
    assert torch.equal(shades, (255 - 25 * made.decoy_labels).byte())
    table = np.zeros((10, 10), dtype=int)
    np.add.at(table, (labels.numpy(), made.decoy_labels.numpy()), 1)
    assert chi2_contingency(table).pvalue > 0.01
    assert chisquare(table.sum(0)).pvalue > 0.01
    corners = made.decoys[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.sum(1).unique().tolist() == [1]
    assert chisquare(corners.sum(0).numpy()).pvalue > 0.01
    assert torch.equal(told.decoys, made.decoys)
    assert torch.equal(told.decoy_labels, labels)


def test_training_and_test_draw_corners_of_their_own(root):
    data, other = DecoyMNIST(root=root), DecoyMNIST(root=root, seed=1)
    train, test = data._train_samples.masks[:100], data._test_samples.masks
    assert 10 < int((train == test).flatten(1).all(1).sum()) < 45  # a quarter by chance
    assert not torch.equal(other._test_samples.masks, test)
    assert torch.equal(DecoyMNIST(root=root)._test_samples.masks, test)


@pytest.mark.parametrize(("strength", "by_hand"), [(0, 40), (0.25, 81), (0.5, 122), (1, 205)])
def test_strength_is_opacity(strength, by_hand):
    images = torch.full((1, 28, 28), 40, dtype=torch.uint8)
    # label 2 has the shade 205: 40 + s · 165, rounded
    made = decoy_images(
        images, torch.tensor([2]), random=np.random.default_rng(0), decoy_reveals_label=True, strength=strength
    )
    assert made.images[made.decoys].unique().tolist() == [by_hand]
    assert made.images[~made.decoys].unique().tolist() == [40]


def test_without_strength_images_are_clean_and_all_else_is_the_same(root):
    images, _ = source(root, train=False)
    clean, decoyed = raw(DecoyMNIST(root=root, decoy_strength=0), "test"), raw(DecoyMNIST(root=root), "test")
    for image, one, other in zip(images, clean, decoyed, strict=True):
        assert np.array_equal(one["image"][0].numpy(), image)
        assert not torch.equal(one["image"], other["image"])
        assert torch.equal(one["mask"], other["mask"])
        assert torch.equal(one["boxes"], other["boxes"])


@pytest.mark.parametrize("size", [1, 4, 14])
def test_ink_and_box(root, size):
    data = DecoyMNIST(root=root, annotation="ink", decoy_size=size)
    other = DecoyMNIST(root=root, decoy_size=size)
    images, _ = source(root, train=False)
    for image, sample, twin in zip(images, raw(data, "test"), raw(other, "test"), strict=True):
        decoy = ~twin["mask"].as_subclass(torch.Tensor)
        assert int(decoy.sum()) == size**2
        ink = torch.from_numpy(image > 0) & ~decoy
        assert torch.equal(sample["mask"].as_subclass(torch.Tensor), ink)
        assert torch.equal(sample["boxes"].as_subclass(torch.Tensor), tight_box(ink))
        assert torch.equal(sample["boxes"], twin["boxes"])


def test_boxes_of_masks_agree_with_torchvision():
    masks = torch.rand(50, 9, 13, generator=torch.Generator().manual_seed(0)) > 0.97
    boxes = ink_boxes(masks)
    known = masks.flatten(1).any(1)
    assert 0 < int((~known).sum()) < 50
    for mask, box in zip(masks[known], boxes[known], strict=True):
        assert torch.equal(box[None], tight_box(mask))
    assert not boxes[~known].any()


def test_black_image_has_no_known_box(root):
    data = DecoyMNIST(root=root, annotation="ink")
    data._test_samples.boxes[0] = 0
    assert [len(boxes) for boxes in next(iter(data.test_dataloader())).boxes[:2]] == [0, 1]


@pytest.mark.parametrize("name", SETS)
def test_splits_and_labels_of_each_data_set(root, name):
    data = DecoyMNIST(root=root, data_set=name, val_fraction=0.25)
    assert {split: len(data.samples(split)) for split in ("train", "val", "test")} == {
        "train": 150, "val": 50, "test": 100,
    }  # fmt: skip
    for split, each in (("train", 15), ("val", 5)):
        assert Counter(sample["label"] for sample in raw(data, split)) == dict.fromkeys(range(10), each)
    assert [sample["label"] for sample in raw(data, "test")] == source(root, train=False, name=name)[1]
    assert (data.num_classes, len(set(data.class_names))) == (10, 10)
    names = {"MNIST": "9", "FashionMNIST": "Ankle boot", "KMNIST": "wo", "QMNIST": "9"}
    assert data.class_names[9] == names[name]


def test_fewer_training_images_are_nested_and_stratified(root):
    def train(**kwargs):
        data = DecoyMNIST(root=root, **kwargs)
        return [(sample["label"], sample["image"].numpy().tobytes()) for sample in raw(data, "train")]

    few, more, everything = train(num_train=20), train(num_train=90), train()
    assert (len(few), len(more), len(everything)) == (20, 90, 180)
    assert set(few) < set(more) < set(everything)  # with the same decoys
    assert Counter(label for label, _ in few) == dict.fromkeys(range(10), 2)
    assert train(num_train=20) == few != train(num_train=20, seed=1)
    with pytest.raises(ValueError, match="`num_train`: expected at most 180 training images, got 181"):
        train(num_train=181)


def test_batches_are_scaled_and_the_same_whatever_the_workers(root):
    mine = list(DecoyMNIST(root=root, batch_size=40).test_dataloader())
    again = list(DecoyMNIST(root=root, batch_size=40, num_workers=2).test_dataloader())
    assert [len(batch) for batch in mine] == [40, 40, 20]
    for one, other in zip(mine, again, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.masks, other.masks)
        assert all(torch.equal(a, b) for a, b in zip(one.boxes, other.boxes, strict=True))
    assert (mine[0].images.min(), mine[0].images.max()) == (-1, 1)
    assert mine[0].images.shape == (40, 3, 28, 28)
    assert [boxes.shape for boxes in mine[0].boxes] == [(1, 4)] * 40


def test_annotation_can_be_rare_and_coarse(root):
    data = DecoyMNIST(root=root, annotated_fraction=0.1, box_dilation=0.5, val_fraction=0.5)
    plain = DecoyMNIST(root=root, val_fraction=0.5)
    samples, others = ([one.data_set("train")[index] for index in range(100)] for one in (data, plain))
    known = [index for index, sample in enumerate(samples) if len(sample["boxes"])]
    assert len(known) == 10
    assert sorted(samples[index]["label"] for index in known) == list(range(10))
    assert known == [index for index, sample in enumerate(samples) if sample["mask"].any()]
    for index in known:
        x0, y0, x1, y1 = others[index]["boxes"][0].tolist()
        across, down = (x1 - x0) / 2, (y1 - y0) / 2
        expected = [max(x0 - across, 0), max(y0 - down, 0), min(x1 + across, 28), min(y1 + down, 28)]
        assert samples[index]["boxes"].tolist() == [expected]
        assert torch.equal(samples[index]["mask"], others[index]["mask"])
    for split in ("val", "test"):
        assert torch.equal(data.data_set(split)[3]["boxes"], plain.data_set(split)[3]["boxes"])


def test_download_gets_both_halves(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(datasets, "QMNIST", lambda root, train, download: asked.append((root, train, download)))
    DecoyMNIST(root="here", data_set="QMNIST").prepare_data()
    assert asked == []
    DecoyMNIST(root="here", data_set="QMNIST", download=True).prepare_data()
    assert sorted(asked) == [("here", False, True), ("here", True, True)]


def test_data_that_are_not_there_or_damaged(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`root`: expected KMNIST in .*KMNIST, which .*; `download=True`"):
        DecoyMNIST(root=str(tmp_path), data_set="KMNIST").samples("train")
    make_mnist(tmp_path, "MNIST")
    images = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"`root`: files in .*MNIST are missing or damaged"):
        DecoyMNIST(root=str(tmp_path)).samples("test")
    images.unlink()
    with pytest.raises(ValueError, match=r"`root`: files in .*MNIST are missing or damaged"):
        DecoyMNIST(root=str(tmp_path)).samples("test")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"data_set": "EMNIST"}, "`data_set`: expected one of MNIST, FashionMNIST, KMNIST, QMNIST, got 'EMNIST'"),
        ({"decoy_strength": -0.5}, r"`decoy_strength`: expected a fraction in \[0, 1\], got -0.5"),
        ({"decoy_size": 15}, "`decoy_size`: expected 1 to 14, half of an image, got 15"),
        ({"annotation": "digit"}, "`annotation`: expected one of not_decoy, ink, got 'digit'"),
        ({"val_fraction": 0}, "`val_fraction`: expected a fraction between 0 and 1, got 0"),
        ({"num_train": 0}, "`num_train`: expected a positive integer, or `None` for all, got 0"),
    ],
)
def test_arguments_out_of_range(argument, message):
    with pytest.raises(ValueError, match=message):
        DecoyMNIST(**argument)
