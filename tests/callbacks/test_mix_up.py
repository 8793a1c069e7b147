"""MixUp: images and labels of a mixed batch, by hand and beside torchvision's, and in a training."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from camtrain import Batch
from camtrain.callbacks import CutMix, MixUp


def mixed_with(monkeypatch, drawn, given):
    callback = MixUp()
    monkeypatch.setattr(callback._draw, "make_params", lambda _: {"lam": drawn})
    return callback.mixed(given, num_classes=3)


@pytest.mark.parametrize("drawn", [0.75, 0.25])
def test_each_image_keeps_the_larger_share_and_its_annotation(monkeypatch, drawn):
    images = torch.tensor([0.0, 4.0, 8.0]).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    boxes = [torch.tensor([[0.0, 0.0, 1.0, 2.0]])] * 3
    masks, ignored = torch.eye(2).bool().expand(3, 2, 2), torch.zeros(3, 2, 2).bool()
    groups = torch.tensor([1, 0, 1])
    mixed = mixed_with(monkeypatch, drawn, Batch(images, torch.tensor([0, 1, 2]), boxes, masks, ignored, groups))
    # 3/4 of its own and 1/4 of the one before; the first gets that of the last.
    assert mixed.images[:, 0, 0, 0].tolist() == [2.0, 3.0, 7.0]
    assert mixed.labels.tolist() == [[0.75, 0, 0.25], [0.25, 0.75, 0], [0, 0.25, 0.75]]
    for name, own in {"boxes": boxes, "masks": masks, "ignored": ignored, "groups": groups}.items():
        assert getattr(mixed, name) is own
    assert images.max() == 8


@pytest.mark.parametrize(
    ("drawn", "labels"),
    [(1.0, [0, 1, 2]), (0.0, [0, 1, 2]), (0.75, [2, 2, 2]), (0.75, [1])],
    ids=["all of it stays", "all of it, again", "a single class", "a batch of one image"],
)
def test_class_indices_stay_where_no_classes_are_mixed(monkeypatch, drawn, labels):
    """Labels of zeros and ones, (N, K), would say that images may show several classes."""
    labels = torch.tensor(labels)
    mixed = mixed_with(monkeypatch, drawn, Batch(torch.rand(len(labels), 3, 2, 2), labels))
    assert torch.equal(mixed.labels, labels)


def test_images_and_labels_are_those_of_torchvision():
    images, labels = torch.rand(5, 3, 12, 16), torch.tensor([0, 3, 1, 1, 2])
    for seed in range(20):
        torch.manual_seed(seed)
        expected_images, expected_labels = v2.MixUp(alpha=1.0, num_classes=4)(images, labels)
        own_share = expected_labels[1, 3].item()  # that of the second image's own class
        torch.manual_seed(seed)
        mixed = MixUp(alpha=1.0).mixed(Batch(images, labels), num_classes=4)
        if own_share >= 0.5:
            torch.testing.assert_close(mixed.images, expected_images)
            torch.testing.assert_close(mixed.labels, expected_labels)
        else:
            torch.testing.assert_close(mixed.labels[1, 3].item(), 1 - own_share)


@pytest.mark.parametrize("settings", [{"alpha": 0}, {"alpha": -1.0}, {"probability": 1.1}])
def test_bad_settings(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`: expected"):
        MixUp(**settings)


@pytest.mark.parametrize("callback", [MixUp, CutMix])
def test_an_integer_is_a_number(callback):
    callback(alpha=1).mixed(Batch(torch.rand(2, 3, 8, 8), torch.tensor([0, 1])), num_classes=2)
