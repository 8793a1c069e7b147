"""Noise on images: one for all of them, scaled to each, a copy at a time."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from camtrain.gradients import NoisyImages


def test_the_noise_is_shared_and_scaled_to_the_range_of_each_image():
    images = torch.rand(3, 3, 4, 4, dtype=torch.float64) * torch.tensor([1.0, 5.0, 0.0]).view(3, 1, 1, 1)
    generator = torch.Generator().manual_seed(7)
    for noisy in NoisyImages(0.2, num_samples=4, seed=7)(images):
        epsilon = torch.randn(3, 4, 4, dtype=torch.float64, generator=generator)
        for image, found in zip(images, noisy, strict=True):
            torch.testing.assert_close(found, image + 0.2 * (image.max() - image.min()) * epsilon)


def test_a_batch_is_its_images_one_by_one_and_copies_come_as_they_are_needed():
    images, noisy = torch.rand(2, 3, 4, 4), NoisyImages(0.1, num_samples=5, seed=1)
    together = list(noisy(images))
    assert len(together) == 5
    alone = [torch.cat(pair) for pair in zip(noisy(images[:1]), noisy(images[1:]), strict=True)]
    assert torch.equal(torch.stack(together), torch.stack(alone))
    assert torch.equal(torch.stack(list(islice(noisy(images), 2))), torch.stack(together[:2]))


def test_without_a_seed_it_is_torchs_generator():
    images = torch.rand(1, 3, 2, 2)
    torch.manual_seed(3)
    (found,) = NoisyImages(1.0, num_samples=1)(images)
    torch.manual_seed(3)
    torch.testing.assert_close(found, images + (images.max() - images.min()) * torch.randn(3, 2, 2))


def test_the_graph_goes_through_the_images_alone():
    images = torch.rand(1, 3, 2, 2, requires_grad=True)
    (noisy,) = NoisyImages(1.0, num_samples=1, seed=0)(images)
    (gradient,) = torch.autograd.grad(noisy.sum(), images)
    assert torch.equal(gradient, torch.ones_like(images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((-0.1, 2), "`noise_level`: expected a finite number of at least 0, got -0.1"),
        ((float("nan"), 2), "`noise_level`: .* got nan"),
        ((0.1, 0), "`num_samples`: expected a positive integer, got 0"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        NoisyImages(*settings)
