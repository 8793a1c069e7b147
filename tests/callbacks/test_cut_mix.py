"""CutMix: images, labels, boxes and masks of a mixed batch, by hand, and in a training."""

from __future__ import annotations

import math

import pytest
import pytorch_lightning as pl
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from camtrain import Batch
from camtrain.callbacks import CutMix
from camtrain.callbacks.cut_mix import boxes_inside, boxes_outside
from camtrain.metrics.tight_box import tight_box

RECTANGLE = (2, 0, 6, 8)


def batch(count=4, size=8):
    images = torch.arange(1.0, count + 1).view(-1, 1, 1, 1).expand(count, 3, size, size).clone()
    masks = torch.zeros(count, size, size, dtype=torch.bool)
    for index in range(count):
        masks[index, index : index + 4, 1:5] = True
    boxes = [tv_tensors.BoundingBoxes(tight_box(mask), format="XYXY", canvas_size=(size, size)) for mask in masks]
    return Batch(images, torch.arange(count), boxes, tv_tensors.Mask(masks), tv_tensors.Mask(~masks))


def mixed_with(monkeypatch, rectangle, given, kept=0.5):
    callback = CutMix()
    monkeypatch.setattr(callback._draw, "make_params", lambda _: {"box": rectangle, "lam_adjusted": kept})
    return callback.mixed(given, num_classes=4)


def test_by_hand(monkeypatch):
    given = batch()
    mixed = mixed_with(monkeypatch, RECTANGLE, given)
    for index in range(4):
        before = (index - 1) % 4
        for mine, theirs, whole in (
            (given.images[index], given.images[before], mixed.images[index]),
            (given.masks[index], given.masks[before], mixed.masks[index]),
            (given.ignored[index], given.ignored[before], mixed.ignored[index]),
        ):
            expected = mine.clone().as_subclass(torch.Tensor)
            expected[..., 2:6] = theirs.as_subclass(torch.Tensor)[..., 2:6]
            assert torch.equal(whole.as_subclass(torch.Tensor), expected)
        labels = [0.0] * 4
        labels[index] += 0.5
        labels[before] += 0.5
        assert mixed.labels[index].tolist() == labels
        # What is left of the own object, columns 1 to 5, and what is pasted of the other one.
        assert mixed.boxes[index].tolist() == [[1, index, 2, index + 4], [2, before, 5, before + 4]]
    assert given.images[0].max() == 1
    assert len(given.boxes[0]) == 1


def test_an_unknown_place_stays_unknown(monkeypatch):
    """Nobody knows where the objects of images 1 and 3 are; only image 0 and its piece, of image 4, are both known."""
    given = batch(5)
    for unknown in (1, 3):
        given.boxes[unknown] = given.boxes[unknown][:0]
        given.masks[unknown] = False
    callback = CutMix()
    monkeypatch.setattr(callback._draw, "make_params", lambda _: {"box": (3, 0, 8, 8), "lam_adjusted": 0.375})
    mixed = callback.mixed(given, num_classes=5)
    # Image i has its object in columns 1 to 5 and rows i to i + 4; image 0 gets a piece of image 4.
    expected = torch.zeros(5, 8, 8, dtype=torch.bool)
    expected[0, 0:4, 1:3] = True
    expected[0, 4:8, 3:5] = True
    assert torch.equal(mixed.masks, expected)
    assert [each.tolist() for each in mixed.boxes] == [[[1, 0, 3, 4], [3, 4, 5, 8]], [], [], [], []]
    assert all(each.shape[1:] == (4,) for each in mixed.boxes)


def test_an_empty_rectangle_leaves_the_batch_as_it_is(monkeypatch):
    given = batch()
    given.boxes[1] = given.boxes[1][:0]
    assert mixed_with(monkeypatch, (3, 3, 3, 3), given, kept=1.0) is given


def test_boxes_are_those_of_the_masks():
    """For a rectangle anywhere on an object, the box of what is left of a filled rectangle is the tight one."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        (x0, x1), (y0, y1), (left, right), (top, bottom) = (
            sorted(torch.randint(0, 11, (2,), generator=generator).tolist()) for _ in range(4)
        )
        if x0 == x1 or y0 == y1:
            continue
        mask = torch.zeros(10, 10, dtype=torch.bool)
        mask[y0:y1, x0:x1] = True
        box, inside = torch.tensor([[x0, y0, x1, y1]]).float(), torch.zeros_like(mask)
        inside[top:bottom, left:right] = True
        rectangle = (left, top, right, bottom)
        assert torch.equal(boxes_outside(box, rectangle), tight_box(mask & ~inside))
        assert torch.equal(boxes_inside(box, rectangle), tight_box(mask & inside))


def test_images_and_labels_are_those_of_torchvision():
    images, labels = torch.rand(5, 3, 12, 16), torch.tensor([0, 3, 1, 1, 2])
    torch.manual_seed(3)
    expected_images, expected_labels = v2.CutMix(alpha=1.0, num_classes=4)(images, labels)
    torch.manual_seed(3)
    mixed = CutMix().mixed(Batch(images, labels), num_classes=4)
    assert torch.equal(mixed.images, expected_images)
    torch.testing.assert_close(mixed.labels, expected_labels)
    assert mixed.boxes is mixed.masks is mixed.ignored is None


def test_labels_that_are_probabilities():
    labels = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    torch.manual_seed(0)
    mixed = CutMix().mixed(Batch(torch.rand(2, 3, 8, 8), labels), num_classes=2)
    torch.testing.assert_close(mixed.labels.sum(dim=1), torch.ones(2))


class Recorded(pl.Callback):
    def __init__(self):
        self.batches = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches.append(batch)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_training_batches_are_mixed(tiny_module, tiny_data, tiny_trainer, probability):
    module, data, recorded = tiny_module(), tiny_data(), Recorded()
    module.num_classes = 3
    module.training_step = lambda batch, batch_idx: torch.nn.functional.cross_entropy(
        module.network(batch.images), batch.labels
    )
    tiny_trainer(CutMix(probability=probability), recorded, logger=False, max_epochs=1).fit(module, datamodule=data)
    assert len(recorded.batches) > 1
    for mixed in recorded.batches:
        assert mixed.labels.dim() == 1 + probability
    changed = [
        bool((each.images != own.images).any())
        for each, own in zip(recorded.batches, data.train_dataloader(), strict=True)
    ]
    assert any(changed) == (probability == 1)


@pytest.mark.parametrize("settings", [{"alpha": 0}, {"alpha": math.inf}, {"probability": 1.1}])
def test_bad_settings(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`: expected"):
        CutMix(**settings)


def test_batches_of_another_kind(tiny_module):
    with pytest.raises(TypeError, match=r"CutMix: expected batches of camtrain.batch.Batch with labels, got list"):
        CutMix().on_train_batch_start(pl.Trainer(logger=False, accelerator="cpu"), tiny_module(), [1, 2], 0)
