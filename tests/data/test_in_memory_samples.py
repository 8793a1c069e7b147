from __future__ import annotations

import pytest
import torch
from torchvision import tv_tensors

from camtrain.data.in_memory_samples import InMemorySamples


def test_samples_are_rows_of_the_arrays():
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).reshape(2, 3, 4, 5)
    boxes = torch.tensor([[0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 5.0, 4.0]])
    masks = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0)) > 0.5
    sample = InMemorySamples(images, torch.tensor([3, 8]), boxes, masks)[1]
    assert torch.equal(sample["image"], images[1])
    assert (sample["label"], type(sample["label"])) == (8, int)
    assert sample["boxes"].tolist() == [[1.0, 0.0, 5.0, 4.0]]
    assert sample["boxes"].canvas_size == (4, 5)
    assert torch.equal(sample["mask"], masks[1])
    assert [type(sample[key]) for key in ("image", "boxes", "mask")] == [
        tv_tensors.Image,
        tv_tensors.BoundingBoxes,
        tv_tensors.Mask,
    ]


def test_lengths_must_agree():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"`labels`: expected one per image, 2, got 3"):
        InMemorySamples(images, torch.zeros(3))
    with pytest.raises(ValueError, match=r"`masks`: expected one per image, 2, got 1"):
        InMemorySamples(images, torch.zeros(2), masks=torch.zeros(1, 4, 4, dtype=torch.bool))
