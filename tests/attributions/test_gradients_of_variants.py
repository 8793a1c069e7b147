"""`gradients_of_variants`: order, classes, bounds, and that variants are drawn only as they are needed."""

from __future__ import annotations

import pytest
import torch

from camtrain.attributions.gradients_of_variants import gradients_of_variants
from camtrain.gradients import Contrast


@pytest.mark.parametrize("max_batch", [1, 2, 3, 4, 6, 7, 100])
def test_every_variant_of_every_image_once_with_its_class_and_no_pass_too_large(max_batch):
    images, count = torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1, 1), 5
    classes, against = torch.tensor([1, 2, 3]), torch.tensor([7, 8, 9])
    sizes = []

    def gradient(batch, class_idx):
        sizes.append(len(batch))
        both = 100 * class_idx.class_idx + 1000 * class_idx.against
        return batch + both.view(-1, 1, 1, 1)

    groups = list(
        gradients_of_variants(gradient, (images + k for k in range(count)), Contrast(classes, against), max_batch)
    )
    expected = torch.stack([images + k + (100 * classes + 1000 * against).view(3, 1, 1, 1) for k in range(count)])
    assert torch.equal(torch.cat(groups), expected)
    assert max(sizes) <= max_batch
    assert sum(sizes) == 3 * count
    if max_batch >= 3:  # full passes
        assert len(sizes) == -(-count // (max_batch // 3))


def test_variants_are_drawn_as_they_are_needed():
    drawn = []

    def variants():
        for k in range(6):
            drawn.append(k)
            yield torch.zeros(2, 1, 1, 1)

    groups = gradients_of_variants(lambda batch, _: batch, variants(), 0, max_batch=4)
    next(groups)
    assert drawn == [0, 1]
    next(groups)
    assert drawn == [0, 1, 2, 3]


def test_no_images():
    groups = list(gradients_of_variants(lambda batch, _: batch, [torch.zeros(0, 3, 4, 4)] * 3, 0, max_batch=2))
    assert torch.cat(groups).shape == (3, 0, 3, 4, 4)
