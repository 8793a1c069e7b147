"""`Batch` and `collate`: what a loader may yield, mixed annotations, moving to a device, pinning."""

from __future__ import annotations

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import tv_tensors

from camtrain.batch import Batch, Sample, collate, evenly_spaced
from camtrain.messages import DataError


def _boxes(*rows: list[float]) -> tv_tensors.BoundingBoxes:
    return tv_tensors.BoundingBoxes(torch.tensor(rows).reshape(-1, 4), format="XYXY", canvas_size=(6, 8))


def _sample(
    label: int, boxes: Tensor | None = None, mask: Tensor | None = None, ignored: Tensor | None = None
) -> Sample:
    sample: Sample = {"image": tv_tensors.Image(torch.full((3, 6, 8), float(label))), "label": label}
    if boxes is not None:
        sample["boxes"] = boxes
    if mask is not None:
        sample["mask"] = tv_tensors.Mask(mask)
    if ignored is not None:
        sample["ignored"] = tv_tensors.Mask(ignored)
    return sample


def _left_half() -> Tensor:
    return (torch.arange(8) < 4).expand(6, 8)


def _samples() -> list[Sample]:
    return [
        _sample(3, boxes=_boxes([0.0, 0.0, 4.0, 6.0], [1.0, 2.0, 3.0, 4.0]), mask=_left_half()),
        _sample(1, ignored=~_left_half()),
        _sample(2, boxes=_boxes([2.0, 2.0, 8.0, 6.0])),
    ]


@pytest.fixture
def batch() -> Batch:
    return collate(_samples())


# Batch.of ----------------------------------------------------------------------------------------

IMAGES, LABELS = torch.rand(2, 3, 4, 4), torch.tensor([0, 1])


def test_of_a_batch_is_the_batch(batch):
    assert Batch.of(batch) is batch


@pytest.mark.parametrize("pair", [(IMAGES, LABELS), [IMAGES, LABELS]])
def test_of_a_pair(pair):
    batch = Batch.of(pair)
    assert batch.images is IMAGES
    assert batch.labels is LABELS
    assert batch.boxes is None
    assert batch.masks is None
    assert len(batch) == 2


def test_of_images_alone():
    batch = Batch.of(IMAGES)
    assert batch.images is IMAGES
    assert batch.labels is None
    assert len(batch) == 2


@pytest.mark.parametrize(
    "other",
    [None, 3, "images", {"image": IMAGES}, (IMAGES,), (IMAGES, LABELS, LABELS), (IMAGES, [0, 1]), (IMAGES, None), []],
)
def test_of_anything_else(other):
    with pytest.raises(TypeError, match=rf"`batch`: expected .* got {type(other).__name__}"):
        Batch.of(other)


# collate -----------------------------------------------------------------------------------------


def test_images_and_labels(batch):
    assert torch.equal(batch.images, torch.tensor([3.0, 1.0, 2.0]).view(3, 1, 1, 1).expand(3, 3, 6, 8))
    assert type(batch.images) is Tensor  # a tv_tensors.Image would follow it into the network
    assert torch.equal(batch.labels, torch.tensor([3, 1, 2]))
    assert batch.labels.dtype == torch.int64
    assert len(batch) == 3


def test_boxes_of_some(batch):
    assert [len(boxes) for boxes in batch.boxes] == [2, 0, 1]
    assert torch.equal(batch.boxes[0], torch.tensor([[0.0, 0.0, 4.0, 6.0], [1.0, 2.0, 3.0, 4.0]]))
    assert torch.equal(batch.boxes[2], torch.tensor([[2.0, 2.0, 8.0, 6.0]]))
    for boxes in batch.boxes:
        assert boxes.shape[1] == 4
        assert isinstance(boxes, tv_tensors.BoundingBoxes)
        assert boxes.format == tv_tensors.BoundingBoxFormat.XYXY
        assert boxes.canvas_size == (6, 8)


def test_masks_of_some(batch):
    assert isinstance(batch.masks, tv_tensors.Mask)
    assert batch.masks.dtype == torch.bool
    assert torch.equal(batch.masks.as_subclass(Tensor), torch.stack([_left_half(), *torch.zeros(2, 6, 8).bool()]))


def test_ignored_pixels_of_some(batch):
    assert isinstance(batch.ignored, tv_tensors.Mask)
    assert batch.ignored.sum(dim=(1, 2)).tolist() == [0, 24, 0]
    assert torch.equal(batch.ignored[1], ~_left_half())


@pytest.mark.parametrize("annotated", [0, 1])
def test_boxes_without_masks_and_masks_without_boxes(annotated):
    samples = [_sample(0), _sample(1)]
    samples[annotated] = _sample(annotated, boxes=_boxes([0.0, 0.0, 1.0, 1.0]))
    assert collate(samples).masks is None
    assert [len(boxes) for boxes in collate(samples).boxes] == [1 - annotated, annotated]
    samples[annotated] = _sample(annotated, mask=_left_half())
    assert collate(samples).boxes is None
    assert collate(samples).masks.sum(dim=(1, 2)).tolist() == [24 * (1 - annotated), 24 * annotated]


def test_none_annotated():
    batch = collate([_sample(0), _sample(1)])
    assert batch.boxes is None
    assert batch.masks is None
    assert batch.ignored is None


def test_annotated_with_nothing():
    batch = collate([_sample(0, boxes=_boxes(), mask=torch.zeros(6, 8, dtype=torch.bool))])
    assert [boxes.shape for boxes in batch.boxes] == [(0, 4)]
    assert not batch.masks.any()


@pytest.mark.parametrize(("given", "expected"), [("masks", "mask"), ("bboxes", "boxes"), ("groups", "group")])
def test_a_key_that_would_be_left_out(given, expected):
    with pytest.raises(DataError, match=f"of a sample under the key '{expected}', got '{given}'"):
        collate([_sample(1), {**_sample(0), given: torch.zeros(6, 8)}])
    known = {"mask": torch.zeros(6, 8, dtype=torch.bool), "boxes": _boxes(), "group": 1}[expected]
    assert len(collate([{**_sample(0), given: torch.zeros(6, 8), expected: known}])) == 1  # nothing is left out


@pytest.mark.parametrize("with_group", [0, 1])
def test_a_group_of_some_samples_alone(with_group):
    samples = [_sample(0), _sample(1)]
    samples[with_group]["group"] = 3
    with pytest.raises(DataError, match="expected a group of each sample, or of none, got one of 1 of 2"):
        collate(samples)


def test_images_of_several_sizes():
    with pytest.raises(DataError, match=r"images of one shape in a batch, got \(3, 6, 8\) and \(3, 5, 5\)"):
        collate([_sample(0), {"image": torch.zeros(3, 5, 5), "label": 1}])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and later, of any worker
@pytest.mark.parametrize("workers", [0, 1])
def test_through_a_loader(workers, batch):
    (loaded,) = DataLoader(_samples(), batch_size=3, collate_fn=collate, num_workers=workers)
    assert isinstance(loaded, Batch)
    _assert_same(loaded, batch)


# Devices -----------------------------------------------------------------------------------------


def test_lightning_moves_every_part(batch):
    moved = LightningModule().transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert isinstance(moved, Batch)
    parts = (moved.images, moved.labels, *moved.boxes, moved.masks, moved.ignored)
    assert all(part.device.type == "meta" for part in parts)
    assert [boxes.shape for boxes in moved.boxes] == [(2, 4), (0, 4), (1, 4)]
    assert isinstance(moved.masks, tv_tensors.Mask)
    assert isinstance(moved.boxes[0], tv_tensors.BoundingBoxes)
    assert batch.images.device.type == batch.boxes[0].device.type == "cpu"


def test_lightning_moves_values(batch):
    _assert_same(LightningModule().transfer_batch_to_device(batch, torch.device("cpu"), 0), batch)


def test_lightning_moves_images_alone():
    moved = LightningModule().transfer_batch_to_device(Batch(IMAGES), torch.device("meta"), 0)
    assert moved.images.device.type == "meta"
    assert moved.labels is moved.boxes is moved.masks is moved.ignored is None


def test_pin_memory_pins_every_part(batch, monkeypatch):
    pinned = []

    def pin(part: Tensor) -> Tensor:
        copy = part.clone()
        pinned.append(copy)
        return copy

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    result = batch.pin_memory()
    _assert_same(result, batch)
    parts = [result.images, result.labels, *result.boxes, result.masks, result.ignored]
    assert len(pinned) == len(parts)
    assert all(any(part is copy for copy in pinned) for part in parts)


@pytest.mark.parametrize(("total", "count"), [(1, 1), (7, 3), (10, 10), (5, 8), (100, 8), (0, 3)])
def test_evenly_spaced_indices_are_different_ordered_and_spread(total, count):
    indices = evenly_spaced(total, count)
    assert len(set(indices)) == len(indices) == min(total, count)
    assert indices == sorted(indices)
    assert all(0 <= index < total for index in indices)
    for share, index in enumerate(indices):
        assert share * total // len(indices) <= index < -(-(share + 1) * total // len(indices))


def test_a_subset_is_a_copy():
    masks = torch.ones(3, 4, 4, dtype=torch.bool)
    batch = Batch(torch.rand(3, 3, 4, 4), torch.arange(3), [torch.ones(k, 4) for k in range(3)], masks, masks.clone())
    first = batch.subset([0, 1])
    batch.images.zero_(), batch.labels.zero_(), batch.boxes[1].zero_(), batch.masks.zero_(), batch.ignored.zero_()
    assert len(first) == 2
    assert first.images.all()
    assert first.labels.tolist() == [0, 1]
    assert [len(boxes) for boxes in first.boxes] == [0, 1]
    assert first.boxes[1].all()
    assert first.masks.all()
    assert first.ignored.all()
    assert len(first.ignored) == 2


def test_pin_memory_of_images_alone(monkeypatch):
    monkeypatch.setattr(Tensor, "pin_memory", Tensor.clone)
    result = Batch(IMAGES).pin_memory()
    assert torch.equal(result.images, IMAGES)
    assert result.labels is result.boxes is result.masks is result.ignored is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="memory is pinned for a GPU")
def test_loader_pins(batch):
    (loaded,) = DataLoader([_sample(3, boxes=_boxes([0.0, 0.0, 4.0, 6.0]))], collate_fn=collate, pin_memory=True)
    assert isinstance(loaded, Batch)
    assert loaded.images.is_pinned()
    assert loaded.labels.is_pinned()
    assert loaded.boxes[0].is_pinned()
    _assert_same(batch.pin_memory(), batch)


def test_to_a_device(batch):
    moved = batch.to("meta")
    parts = (moved.images, moved.labels, moved.masks, moved.ignored, *moved.boxes)
    assert {part.device.type for part in parts} == {"meta"}
    assert Batch(IMAGES).to("cpu").boxes is None


def _assert_same(batch: Batch, expected: Batch) -> None:
    assert torch.equal(batch.images, expected.images)
    assert torch.equal(batch.labels, expected.labels)
    assert torch.equal(batch.ignored, expected.ignored)
    assert len(batch.boxes) == len(expected.boxes)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(batch.boxes, expected.boxes, strict=True))
    assert torch.equal(batch.masks, expected.masks)


# groups and several labels -----------------------------------------------------------------------


def test_groups_and_several_labels_go_with_their_images(monkeypatch):
    present = torch.tensor([1.0, 0.0, 1.0])
    batch = collate([{**_sample(0), "label": present * number, "group": 4 - number} for number in (1, 2, 3)])
    assert batch.labels.tolist() == [[1, 0, 1], [2, 0, 2], [3, 0, 3]]
    assert batch.groups.tolist() == [3, 2, 1]
    assert batch.to("meta").groups.device.type == "meta"
    some = batch.subset([2, 0])
    assert (some.labels.tolist(), some.groups.tolist()) == ([[3, 0, 3], [1, 0, 1]], [1, 3])
    monkeypatch.setattr(Tensor, "pin_memory", lambda part: part + 1)
    assert batch.pin_memory().groups.tolist() == [4, 3, 2]
    moved = LightningModule().transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved.groups.device.type == "meta"
    assert collate([_sample(1)]).groups is None
