from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency, chisquare
from sklearn.datasets import load_digits

from camtrain.data import DecoyDigits

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def data():
    module = DecoyDigits(batch_size=32)
    module.setup()
    return module


def test_no_handwritten_digit_is_in_two_splits(data):
    digits = [set(data.scenes(split).digits.tolist()) for split in SPLITS]
    assert sum(map(len, digits)) == 1797
    assert set.union(*digits) == set(range(1797))
    handwriting = load_digits().images.reshape(1797, -1)
    assert len(np.unique(handwriting, axis=0)) == 1797  # nor is one of them there twice under two numbers


def test_splits_have_their_sizes_and_the_share_of_every_class(data):
    shares = {"train": 0.65, "val": 0.15, "test": 0.2}
    everything = np.bincount(load_digits().target)
    for split, share in shares.items():
        copies = 2 if split == "train" else 1
        counts = np.bincount(data.scenes(split).labels) / copies
        assert np.abs(counts - share * everything).max() <= 2


def test_decoy_reveals_the_label_in_training_and_not_in_evaluation(data):
    train = data.scenes("train")
    assert np.array_equal(train.decoy_labels, train.labels)
    labels, decoys = (
        np.concatenate([getattr(data.scenes(split), name) for split in ("val", "test")])
        for name in ("labels", "decoy_labels")
    )
    table = np.zeros((10, 10), dtype=int)
    np.add.at(table, (labels, decoys), 1)
    assert chi2_contingency(table).pvalue > 0.01  # independent of the label
    assert chisquare(table.sum(0)).pvalue > 0.01  # and every shade as likely


def test_batches_hold_normalized_images_boxes_and_masks(data):
    batch = next(iter(data.test_dataloader()))
    scenes = data.scenes("test")
    assert batch.images.dtype == torch.float32
    assert torch.equal(batch.labels, torch.from_numpy(scenes.labels[:32]))
    assert torch.equal(
        torch.cat([boxes.as_subclass(torch.Tensor) for boxes in batch.boxes]), torch.from_numpy(scenes.boxes[:32])
    )
    assert torch.equal(batch.masks.as_subclass(torch.Tensor), torch.from_numpy(scenes.masks[:32]))
    pictures = (data.denormalize(batch.images) * 255).round().byte()
    assert torch.equal(pictures, torch.from_numpy(scenes.images[:32]).permute(0, 3, 1, 2))
    assert data.has_boxes
    assert data.has_masks
    assert (data.num_classes, data.class_names[7]) == (10, "7")


def test_normalization_is_that_of_the_training_images(data):
    images = data.scenes("train").images / 255
    assert images.mean((0, 1, 2)) == pytest.approx(data.mean, abs=5e-5)
    assert images.std((0, 1, 2)) == pytest.approx(data.std, abs=5e-5)


def test_seed_gives_every_pixel_whatever_the_workers(data):
    again = DecoyDigits(batch_size=32, num_workers=2)
    for mine, other in zip(data.val_dataloader(), again.val_dataloader(), strict=True):
        assert torch.equal(mine.images, other.images)
        assert torch.equal(mine.masks, other.masks)
        assert torch.equal(mine.labels, other.labels)
        assert all(torch.equal(a, b) for a, b in zip(mine.boxes, other.boxes, strict=True))


def test_another_seed_gives_another_split(data):
    other = DecoyDigits(seed=1)
    assert set(other.scenes("val").digits) != set(data.scenes("val").digits)


def test_training_images_do_not_depend_on_the_order_in_which_splits_are_made(data):
    other = DecoyDigits()
    other.setup("test")
    assert np.array_equal(other.scenes("test").images, data.scenes("test").images)


def test_strength_changes_the_decoy_only(data):
    clear = DecoyDigits(decoy_strength=0.0)
    mine, other = data.scenes("val"), clear.scenes("val")
    differs = (mine.images != other.images).any(axis=3)
    for row, box in enumerate(mine.decoy_boxes.astype(int)):
        differs[row, box[1] : box[3], box[0] : box[2]] = False
    assert not differs.any()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"samples_per_digit": 0}, "`samples_per_digit`: expected a positive integer, got 0"),
        ({"val_fraction": 0.0}, "`val_fraction`: expected a fraction between 0 and 1, got 0.0"),
        ({"test_fraction": 1.0}, "`test_fraction`: expected a fraction between 0 and 1, got 1.0"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, r"`val_fraction` \+ `test_fraction`: expected less than 1"),
        ({"decoy_strength": 2.0}, r"`decoy_strength`: expected a fraction in \[0, 1\], got 2.0"),
    ],
)
def test_arguments_out_of_range(argument, message):
    with pytest.raises(ValueError, match=message):
        DecoyDigits(**argument)


def test_the_annotation_of_the_paper_is_all_but_the_decoy():
    data = DecoyDigits(annotation="not_decoy")
    scenes = data.scenes("train")
    mask = data.samples("train")[3]["mask"]
    x0, y0, x1, y1 = (int(edge) for edge in scenes.decoy_boxes[3])
    expected = torch.ones(64, 64, dtype=torch.bool)
    expected[y0:y1, x0:x1] = False
    assert torch.equal(mask.as_subclass(torch.Tensor), expected)
    assert torch.equal(data.samples("train")[3]["boxes"], DecoyDigits().samples("train")[3]["boxes"])
    with pytest.raises(ValueError, match="`annotation`: expected digit or not_decoy, got 'box'"):
        DecoyDigits(annotation="box")
