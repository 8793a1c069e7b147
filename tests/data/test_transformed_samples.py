"""Boxes and masks move with their image."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms
from torchvision import tv_tensors
from torchvision.transforms import v2

from camtrain.data.transformed_samples import TransformedSamples
from camtrain.messages import DataError
from camtrain.metrics.tight_box import tight_box


def sample(boxes=((10, 6, 25, 18),), size=(32, 40)):
    """A black image on which the boxes are painted white."""
    image = torch.zeros(3, *size, dtype=torch.uint8)
    mask = torch.zeros(size, dtype=torch.bool)
    for x0, y0, x1, y1 in boxes:
        image[:, y0:y1, x0:x1] = 255
        mask[y0:y1, x0:x1] = True
    coordinates = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {
        "image": tv_tensors.Image(image),
        "label": 3,
        "boxes": tv_tensors.BoundingBoxes(coordinates, format="XYXY", canvas_size=size),
        "mask": tv_tensors.Mask(mask),
    }


def transformed(transform, **kwargs):
    return TransformedSamples([sample(**kwargs)], transform, mean=(0.0,) * 3, std=(1.0,) * 3)[0]


def test_flip_by_hand():
    after = transformed([v2.RandomHorizontalFlip(p=1.0)])
    assert after["boxes"].tolist() == [[15.0, 6.0, 30.0, 18.0]]
    assert torch.equal(tight_box(after["mask"]), after["boxes"].as_subclass(torch.Tensor))


@pytest.mark.parametrize(
    ("transform", "tolerance"),
    [
        (v2.RandomHorizontalFlip(), 0.0),
        (v2.RandomVerticalFlip(), 0.0),
        (v2.RandomCrop(24), 0.0),
        (v2.RandomCrop((32, 40), padding=6), 0.0),
        (v2.CenterCrop(20), 0.0),
        (v2.Resize((64, 80)), 1.0),
        (v2.RandomResizedCrop(48, scale=(0.5, 1.0)), 1.5),
        (v2.Compose([v2.RandomResizedCrop(30, scale=(0.5, 1.0)), v2.RandomHorizontalFlip()]), 1.0),
    ],
)
def test_box_and_mask_still_frame_the_paint(transform, tolerance):
    torch.manual_seed(0)
    for _ in range(20):
        after = transformed([transform])
        paint = tight_box(after["image"].mean(0) > 0.5)
        assert paint.shape == (1, 4)  # none of these can lose the rectangle
        assert (after["boxes"] - paint).abs().max() <= tolerance
        assert (tight_box(after["mask"]) - paint).abs().max() <= tolerance


def test_boxes_are_clamped_and_those_cropped_away_dropped():
    # the middle 20 columns and 16 rows: x from 10 to 30, y from 8 to 24
    boxes = ((0, 0, 12, 10), (0, 0, 10, 32), (31, 9, 35, 12), (20, 10, 40, 12))
    after = transformed([v2.CenterCrop((16, 20))], boxes=boxes)
    assert after["boxes"].tolist() == [[0.0, 0.0, 2.0, 2.0], [10.0, 2.0, 20.0, 4.0]]


def test_a_sliver_of_less_than_a_pixel_is_dropped():
    after = transformed([v2.CenterCrop((32, 20)), v2.Resize((16, 10))], boxes=((0, 0, 11, 32), (0, 0, 12, 32)))
    assert after["boxes"].tolist() == [[0.0, 0.0, 1.0, 16.0]]


def test_image_without_boxes_passes_every_default_transform():
    transform = [v2.Resize(24), v2.RandomCrop(24, padding=3), v2.RandomHorizontalFlip(), v2.RandomResizedCrop(16)]
    after = transformed(transform, boxes=())
    assert after["boxes"].shape == (0, 4)
    assert not after["mask"].any()


def test_normalization_by_hand():
    image = tv_tensors.Image(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1).repeat(1, 2, 2))
    after = TransformedSamples([{"image": image, "label": 3}], [], mean=(0.5, 0.2, 0.6), std=(0.25, 0.1, 0.2))[0]
    assert after["image"].dtype == torch.float32
    torch.testing.assert_close(after["image"][:, 0, 0].as_subclass(torch.Tensor), torch.tensor([-2.0, 0.0, 2.0]))
    assert after["label"] == 3


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16])
def test_integers_of_which_255_is_not_white_are_refused(dtype):
    image = tv_tensors.Image(torch.full((3, 2, 2), 200, dtype=dtype))
    samples = TransformedSamples([{"image": image, "label": 3}], [], mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(DataError, match=f"holds {dtype}, of which the largest number is white; expected uint8"):
        samples[0]


@pytest.mark.parametrize(("white", "dtype"), [(65535, torch.uint16), (1, torch.bool)])
def test_other_types_have_their_whole_range(white, dtype):
    image = tv_tensors.Image(torch.full((3, 1, 1), white, dtype=dtype))
    after = TransformedSamples([{"image": image, "label": 3}], [], mean=(0.0,) * 3, std=(1.0,) * 3)[0]
    assert after["image"].flatten().tolist() == [1, 1, 1]


def test_mask_stays_bool_and_untouched_by_normalization():
    after = transformed([])
    assert after["mask"].dtype == torch.bool
    assert torch.equal(after["mask"], sample()["mask"])


def test_source_is_left_as_it_was():
    source = [sample()]
    TransformedSamples(source, [v2.RandomHorizontalFlip(p=1.0)], mean=(0.5,) * 3, std=(0.5,) * 3)[0]
    assert source[0]["boxes"].tolist() == sample()["boxes"].tolist()
    assert torch.equal(source[0]["image"], sample()["image"])


def test_transforms_of_the_first_version_are_refused():
    with pytest.raises(TypeError, match=r"`transform`: expected transforms of torchvision.transforms.v2.* got .*Crop"):
        TransformedSamples([sample()], [torchvision.transforms.RandomCrop(4)], mean=(0.5,) * 3, std=(0.5,) * 3)


def test_iteration_ends():
    assert len(list(TransformedSamples([sample()] * 3, [], mean=(0.5,) * 3, std=(0.5,) * 3))) == 3


def test_an_image_is_normalized_as_torchvision_does():
    torch.manual_seed(0)
    image = tv_tensors.Image(torch.randint(256, (3, 5, 7), dtype=torch.uint8))
    mean, std = [0.1, 0.5, 0.9], [0.2, 0.3, 0.4]
    expected = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])(image)
    found = TransformedSamples([{"image": image, "label": 0}], [], mean, std)[0]["image"]
    assert type(found) is tv_tensors.Image
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ([0.0, 0.0, 7.0, 5.0], [0.0, 0.0, 7.0, 5.0]),  # the whole image: width 7, height 5
        ([0.0, 0.0, 5.0, 7.0], [0.0, 0.0, 5.0, 5.0]),  # two pixels below the image
        ([-1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 3.0, 4.0]),
        ([1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]),  # one pixel
        ([1.0, 1.0, 1.5, 2.0], None),  # half a pixel
        ([7.0, 0.0, 9.0, 5.0], None),  # beside the image
    ],
)
def test_boxes_at_the_border(box, kept):
    boxes = tv_tensors.BoundingBoxes([box], format="XYXY", canvas_size=(5, 7))
    image = tv_tensors.Image(torch.zeros(3, 5, 7, dtype=torch.uint8))
    found = TransformedSamples([{"image": image, "label": 0, "boxes": boxes}], [], (0.5,) * 3, (0.5,) * 3)[0]["boxes"]
    assert found.tolist() == ([] if kept is None else [kept])


@pytest.mark.parametrize(("channels", "numbers"), [(3, 1), (4, 3), (1, 3)])
def test_mean_and_std_of_other_channels_are_refused(channels, numbers):
    image = tv_tensors.Image(torch.zeros(channels, 4, 4, dtype=torch.uint8))
    samples = TransformedSamples([{"image": image, "label": 0}], [], (0.5,) * numbers, (0.5,) * numbers)
    message = f"cannot be transformed: it has {channels} channels, and `mean` and `std` are those of {numbers}"
    with pytest.raises(DataError, match=message):
        samples[0]
