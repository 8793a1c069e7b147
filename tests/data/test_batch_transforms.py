"""A batch is moved as torchvision moves each of its images, each with draws of its own."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from camtrain.batch import Batch, collate
from camtrain.data.batch_transforms import Crops, Flips, drawn_move, drawn_moves, moved_batch
from camtrain.data.transformed_samples import TransformedSamples

COUNT, SIZE = 24, (10, 12)


def samples():
    """Random images with 0 to 3 random boxes, some of them thin or across the border, masks and ignored pixels."""
    random = torch.Generator().manual_seed(0)
    made = []
    for index in range(COUNT):
        corners = torch.rand(index % 4, 2, 2, generator=random) * torch.tensor([13.0, 11.0]) - 0.5
        boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
        image = torch.randint(1, 256, (3, *SIZE), dtype=torch.uint8, generator=random)
        made.append(
            {
                "image": tv_tensors.Image(image),
                "label": index,
                "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=SIZE),
                "mask": tv_tensors.Mask(torch.rand(SIZE, generator=random) < 0.5),
                "ignored": tv_tensors.Mask(torch.rand(SIZE, generator=random) < 0.2),
            }
        )
    return made


class Moved(v2.Transform):
    """What torchvision does to one image with given draws."""

    def __init__(self, top=None, left=None, crop=None, horizontal=False, vertical=False):
        super().__init__()
        self.top, self.left, self.crop, self.horizontal, self.vertical = top, left, crop, horizontal, vertical

    def transform(self, inpt, params):
        if self.crop is not None:
            left, right, top, bottom = self.crop.padding
            inpt = v2.functional.pad(inpt, [left, top, right, bottom])
            inpt = v2.functional.crop(inpt, self.top, self.left, *self.crop.size)
        inpt = v2.functional.horizontal_flip(inpt) if self.horizontal else inpt
        return v2.functional.vertical_flip(inpt) if self.vertical else inpt


def one_by_one(transforms):
    unchanged = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    moved = [
        TransformedSamples([sample], [transform], **unchanged)[0]
        for sample, transform in zip(samples(), transforms, strict=True)
    ]
    return collate(moved)


def assert_equal(batch: Batch, expected: Batch) -> None:
    assert torch.equal(batch.images.float() * (1 / 255), expected.images)
    for name in ("labels", "masks", "ignored"):
        assert torch.equal(getattr(batch, name), getattr(expected, name)), name
        assert getattr(batch, name).dtype == getattr(expected, name).dtype
    assert [each.tolist() for each in batch.boxes] == [each.tolist() for each in expected.boxes]


@pytest.mark.parametrize(
    ("size", "padding"),
    [((10, 12), (0, 0, 0, 0)), ((10, 12), (2, 2, 2, 2)), ((7, 5), (0, 0, 0, 0)), ((9, 13), (1, 2, 3, 4))],
)
def test_crops_are_those_of_each_image(size, padding):
    random = torch.Generator().manual_seed(1)
    rows, columns = (SIZE[0] + sum(padding[2:]) - size[0] + 1, SIZE[1] + sum(padding[:2]) - size[1] + 1)
    tops, lefts = (torch.randint(each, (COUNT,), generator=random) for each in (rows, columns))
    crops = Crops(size, padding, tops, lefts)
    batch = moved_batch(collate(samples()), [crops])
    assert batch.images.is_contiguous()  # another memory format would be another speed and another rounding
    drawn = zip(tops.tolist(), lefts.tolist(), strict=True)
    assert_equal(batch, one_by_one([Moved(top, left, crops) for top, left in drawn]))


@pytest.mark.parametrize("horizontal", [True, False])
def test_flips_are_those_of_each_image(horizontal):
    flipped = torch.arange(COUNT) % 3 == 0
    batch = moved_batch(collate(samples()), [Flips(flipped, horizontal)])
    expected = [Moved(horizontal=each and horizontal, vertical=each and not horizontal) for each in flipped.tolist()]
    assert_equal(batch, one_by_one(expected))


def test_moves_one_after_the_other():
    tops, lefts, flipped = torch.arange(COUNT) % 3, torch.arange(COUNT) % 5, torch.arange(COUNT) % 2 == 0
    crops = Crops((10, 12), (2, 2, 1, 1), tops, lefts)
    batch = moved_batch(collate(samples()), [crops, Flips(flipped)])
    drawn = zip(tops.tolist(), lefts.tolist(), flipped.tolist(), strict=True)
    assert_equal(batch, one_by_one([Moved(top, left, crops, horizontal=flip) for top, left, flip in drawn]))


def test_without_moves_boxes_are_cut_as_those_of_each_image():
    assert_equal(moved_batch(collate(samples()), []), one_by_one([Moved()] * COUNT))


def test_a_batch_without_annotation_and_one_without_boxes():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    flips = Flips(torch.tensor([True, False]))
    plain = moved_batch(Batch(images, torch.tensor([0, 1])), [flips])
    assert (plain.boxes, plain.masks, plain.ignored) == (None, None, None)
    none = moved_batch(Batch(images, boxes=[torch.zeros(0, 4)] * 2), [flips])
    assert [each.shape for each in none.boxes] == [(0, 4), (0, 4)]


def test_the_source_is_left_as_it_was():
    batch = collate(samples())
    moved_batch(batch, [Flips(torch.ones(COUNT, dtype=torch.bool))])
    assert torch.equal(batch.images, collate(samples()).images)
    assert torch.equal(torch.cat(batch.boxes), torch.cat(collate(samples()).boxes))


def draws(transform, count, size=SIZE) -> Tensor:
    torch.manual_seed(0)
    move = drawn_move(transform, count, size)
    return torch.stack([move.tops, move.lefts]) if isinstance(move, Crops) else move.flipped[None]


def test_crops_are_uniform_and_independent():
    tops, lefts = draws(v2.RandomCrop(SIZE, padding=(1, 2)), 9000)
    counts = Counter(zip(tops.tolist(), lefts.tolist(), strict=True))
    assert set(counts) == {(top, left) for top in range(5) for left in range(3)}
    assert sum((count - 600) ** 2 / 600 for count in counts.values()) < 36.1  # chi-squared of 14 degrees, p = 0.001


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", [v2.RandomHorizontalFlip, v2.RandomVerticalFlip])
def test_flips_have_their_probability(kind, probability):
    (flipped,) = draws(kind(probability), 5000)
    assert float(flipped.float().mean()) == pytest.approx(probability, abs=0.02 if 0 < probability < 1 else 0)
    assert drawn_move(kind(), 2, SIZE).horizontal == (kind is v2.RandomHorizontalFlip)


def test_draws_follow_the_seed():
    crop = v2.RandomCrop(SIZE, padding=4)
    assert torch.equal(draws(crop, 50), draws(crop, 50))
    assert not torch.equal(draws(crop, 50)[:, :25], draws(crop, 50)[:, 25:])


class OwnFlip(v2.RandomHorizontalFlip):
    pass


@pytest.mark.parametrize(
    "transform",
    [
        v2.ColorJitter(0.5),
        v2.RandomResizedCrop(8),
        v2.RandomCrop(SIZE, padding=2, fill=7),
        v2.RandomCrop(SIZE, padding=2, fill={tv_tensors.Image: 1}),
        v2.RandomCrop(SIZE, padding=2, padding_mode="reflect"),
        v2.RandomCrop(11),  # higher than the image
        v2.RandomCrop((20, 12), pad_if_needed=True),
        OwnFlip(),
    ],
)
def test_other_transforms_are_not_drawn_by_batch_and_draw_nothing(transform):
    before = torch.get_rng_state()
    assert drawn_moves([v2.RandomCrop(SIZE, padding=4), v2.RandomHorizontalFlip(), transform], 0, SIZE) is None
    assert torch.equal(torch.get_rng_state(), before)


def test_sizes_follow_from_one_transform_to_the_next():
    assert drawn_moves([v2.RandomCrop(8), v2.RandomVerticalFlip(), v2.RandomCrop(8)], 1, SIZE) is not None
    assert drawn_moves([v2.RandomCrop(8), v2.RandomVerticalFlip(), v2.RandomCrop(9)], 1, SIZE) is None
