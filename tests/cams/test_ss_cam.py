"""`SSCAM` in loops over draws, against what noise does to a linear network, and against `ScoreCAM` without noise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.cams.score_cam import ScoreCAM
from camtrain.cams.ss_cam import SSCAM
from tests.cams.flat_channels import FlatChannels, images_and_needed

VARIANTS = ["class_probability", "algorithm_1"]
KINDS = ["activation", "input"]


def _in_loops(images: Tensor, label: int, noise_on: str, variant: str, samples: int, std: float, seed: int) -> Tensor:
    """One pass for each draw of each channel of each image."""
    network = FlatChannels()
    generator = torch.Generator().manual_seed(seed)
    seeds = torch.randint(2**62, (6, samples), generator=generator)
    cams = []
    for image in images:
        (activations,) = network.target(network.stem(image[None]))
        baseline = network(torch.zeros_like(image)[None])[0, label]
        scores = torch.zeros(6, dtype=torch.float64)
        for k, channel in enumerate(activations):
            if float(channel.max()) == float(channel.min()):
                continue
            up = F.interpolate(channel[None, None], size=image.shape[-2:], mode="bilinear", align_corners=False)[0]
            mask = (up - up.min()) / (up.max() - up.min())
            for s in range(samples):
                generator.manual_seed(int(seeds[k, s]))
                if noise_on == "activation":
                    masked = image * (mask + std * torch.randn(mask.shape, dtype=torch.float64, generator=generator))
                else:
                    masked = image * mask + std * torch.randn(image.shape, dtype=torch.float64, generator=generator)
                logits = network(masked[None])[0]
                score = logits.softmax(0)[label] if variant == "class_probability" else logits[label] - baseline
                scores[k] += score / samples
        weights = scores if variant == "class_probability" else scores.softmax(0)
        cams.append((weights[:, None, None] * activations).sum(0).clamp(min=0))
    return torch.stack(cams)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("noise_on", KINDS)
@pytest.mark.parametrize("max_batch", [1, 7, 1000])
def test_equals_loops(noise_on, variant, max_batch):
    images, _ = images_and_needed()
    with torch.no_grad():
        expected = _in_loops(images, 1, noise_on, variant, samples=5, std=0.7, seed=3)
    maps = SSCAM(
        FlatChannels(), "target", noise_on=noise_on, variant=variant, num_samples=5, noise_std=0.7, seed=3,
        max_batch=max_batch,
    )  # fmt: skip
    torch.testing.assert_close(maps(images, 1), expected, rtol=1e-9, atol=1e-12)
    other = SSCAM(FlatChannels(), "target", noise_on=noise_on, variant=variant, num_samples=5, noise_std=0.7, seed=4)
    assert not torch.allclose(other(images, 1), expected, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("noise_on", KINDS)
def test_is_score_cam_without_noise(noise_on, variant):
    network, (images, _) = FlatChannels(), images_and_needed()
    cams = SSCAM(network, "target", noise_on=noise_on, variant=variant, num_samples=2, noise_std=1e-9)(images)
    torch.testing.assert_close(cams, ScoreCAM(network, "target", variant=variant)(images), rtol=1e-6, atol=1e-8)


class Linear(nn.Module):
    """One feature of the image, as large as it, and a logit that is linear in the image."""

    def __init__(self) -> None:
        super().__init__()
        self.feature = nn.Conv2d(3, 1, 1, bias=False)
        self.register_buffer("weights", torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: Tensor) -> Tensor:
        feature = self.feature(images)
        return (images * self.weights).flatten(1).sum(dim=1, keepdim=True) + 0 * feature.mean()


@pytest.mark.parametrize("noise_on", KINDS)
def test_noise_has_the_variance_that_it_is_said_to_have(noise_on):
    torch.manual_seed(0)
    network, images = Linear().eval(), torch.rand(1, 3, 4, 5)
    seen: list[Tensor] = []
    network.register_forward_hook(lambda *arguments: seen.append(arguments[2].squeeze(1).clone()))
    SSCAM(network, "feature", noise_on=noise_on, num_samples=4000, noise_std=0.3, seed=0, max_batch=500)(images, 0)
    scores = torch.cat(seen[1:])
    assert scores.shape == (4000,)
    feature = network.feature(images).detach()[0, 0]
    mask = (feature - feature.min()) / (feature.max() - feature.min())
    mean = (network.weights * images[0] * mask).sum()
    # The same draw for the three colors of a pixel, or one for each.
    of_pixels = (network.weights * images[0]).sum(dim=0) if noise_on == "activation" else network.weights
    deviation = 0.3 * of_pixels.square().sum().sqrt()
    assert abs(float(scores.mean() - mean)) < 4 * float(deviation) / 4000**0.5
    assert abs(float(scores.std() / deviation) - 1) < 0.05
    # Draws are independent of one another.
    centered = scores - scores.mean()
    assert abs(float((centered[1:] * centered[:-1]).mean() / centered.square().mean())) < 0.07


def test_seed_of_the_global_generator_whose_state_is_left_as_found():
    network, (images, _) = FlatChannels(), images_and_needed()
    maps = SSCAM(network, "target", num_samples=3)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = maps(images)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(maps(images), first, rtol=0, atol=0)
    torch.rand(1)
    assert not torch.allclose(maps(images), first)
    seeded = SSCAM(network, "target", num_samples=3, seed=1)
    expected = seeded(images)
    torch.rand(1)
    torch.testing.assert_close(seeded(images), expected, rtol=0, atol=0)


@pytest.mark.parametrize("noise_on", KINDS)
def test_draws_depend_neither_on_the_other_images_nor_on_num_channels(noise_on):
    network, (images, _) = FlatChannels(), images_and_needed()
    options = {"noise_on": noise_on, "num_samples": 3, "seed": 0}
    maps = SSCAM(network, "target", **options)
    alone = torch.cat([maps(images[n : n + 1], 2) for n in range(3)])
    torch.testing.assert_close(maps(images, 2), alone)
    with torch.no_grad():
        _, full = maps.activations_and_weights(images, 2)
        _, weights = SSCAM(network, "target", num_channels=2, **options).activations_and_weights(images, 2)
    kept = weights > 0
    assert 0 < kept.sum() < (full > 0).sum()
    torch.testing.assert_close(weights[kept], full[kept])


@pytest.mark.parametrize("max_batch", [4, 1000])
def test_rows(max_batch):
    network, (images, needed) = FlatChannels(), images_and_needed()
    passes: list[int] = []
    network.register_forward_hook(lambda *arguments: passes.append(len(arguments[2])))
    SSCAM(network, "target", num_samples=3, max_batch=max_batch)(images)
    full, rest = divmod(3 * sum(needed), max_batch)
    assert passes == [3] + [max_batch] * full + ([rest] if rest else [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"differentiable": True}, "`differentiable`: expected False, got True; the weights of SSCAM are scores"),
        ({"noise_on": "both"}, "`noise_on`: expected one of activation, input, got 'both'"),
        ({"num_samples": 0}, "`num_samples`: expected a positive integer, got 0"),
        ({"noise_std": 0.0}, "`noise_std`: expected a positive, finite number, got 0.0"),
        ({"noise_std": float("nan")}, "`noise_std`: expected a positive, finite number, got nan"),
        ({"variant": "ss_cam_1"}, "`variant`: expected one of class_probability, algorithm_1, got 'ss_cam_1'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        SSCAM(FlatChannels(), "target", **options)
