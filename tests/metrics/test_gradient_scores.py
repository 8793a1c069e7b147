"""The noise of the input gradient, and its agreement with the guided gradient."""

from __future__ import annotations

import pytest
import torch

from camtrain.metrics import GradientNoise, GuidedAgreement, gradient_noise, guided_agreement
from camtrain.regularizers import InterpretableGradient


def loop_noise(gradient):
    """The noise of one gradient, pixel by pixel."""
    variation = total = 0.0
    for channel in gradient.double().tolist():
        for i, line in enumerate(channel):
            for j, value in enumerate(line):
                total += abs(value)
                variation += abs(channel[i + 1][j] - value) if i + 1 < len(channel) else 0.0
                variation += abs(line[j + 1] - value) if j + 1 < len(line) else 0.0
    return variation / (4 * total)


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e20])
def test_noise_is_that_of_a_loop_whatever_the_scale(scale):
    gradients = torch.randn(3, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    assert gradient_noise(scale * gradients).tolist() == pytest.approx(
        [loop_noise(each) for each in gradients], rel=1e-5
    )


@pytest.mark.parametrize("scale", [1e-44, 2e38])
def test_noise_of_what_float32_hardly_holds(scale):
    """In float32 the sum of these values is infinite, or keeps no digits."""
    signs = torch.randn(1, 3, 7, 9, generator=torch.Generator().manual_seed(0)).sign()
    assert gradient_noise(scale * signs).tolist() == pytest.approx([loop_noise(signs[0])], rel=1e-5)


def test_noise_by_hand():
    checkers = torch.where((torch.arange(16).view(16, 1) + torch.arange(16)) % 2 == 0, 1.0, -1.0)
    # 16 rows and columns have 15 differences of 2 in each direction: 2 · 2 · 15/16 / 4.
    assert gradient_noise(checkers.view(1, 1, 16, 16)).tolist() == pytest.approx([15 / 16])
    assert gradient_noise(torch.ones(1, 3, 16, 16)).tolist() == [0.0]
    # The noise hardly depends on the size of the image.
    noise = [float(gradient_noise(torch.randn(1, 3, size, size))) for size in (64, 256)]
    assert noise[0] == pytest.approx(noise[1], rel=0.03)


def test_a_gradient_of_zero_is_not_counted():
    metric = GradientNoise()
    metric.update(torch.cat([torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)]))
    assert int(metric.counted) == 1
    assert float(metric.compute()) == 0


def test_agreement_is_one_minus_the_loss():
    generator = torch.Generator().manual_seed(1)
    gradients, guided = torch.randn(2, 6, 3, 5, 5, generator=generator)
    gradients[0] = 0
    guided[1] = 0
    gradients[2] *= 1e-9
    gradients[3] *= 1e6
    distances = InterpretableGradient("cosine")(gradients, guided)
    torch.testing.assert_close(guided_agreement(gradients, guided), 1 - distances, rtol=1e-5, atol=1e-6)
    assert guided_agreement(gradients, guided)[:3].tolist() == [0, 0, 0]
    metric = GuidedAgreement()
    metric.update(gradients, guided)
    assert float(metric.compute()) == pytest.approx(1 - float(distances.mean()), abs=1e-6)


@pytest.mark.parametrize("score", [GradientNoise, GuidedAgreement])
def test_bad_input_is_named(score):
    bad = torch.full((1, 3, 4, 4), torch.nan)
    with pytest.raises(ValueError, match="`input_gradients`: expected finite values"):
        score().update(*([bad] if score is GradientNoise else [bad, bad]))
    flat = torch.zeros(3, 4, 4)
    with pytest.raises(
        ValueError, match=r"`input_gradients`: expected a floating-point tensor of shape \(N, C, H, W\)"
    ):
        score().update(*([flat] if score is GradientNoise else [flat, flat]))
