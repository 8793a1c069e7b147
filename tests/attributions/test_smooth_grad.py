"""`SmoothGrad` in closed form, against captum with the same noise, and what its noise depends on."""

from __future__ import annotations

import pytest
import torch
from captum.attr import NoiseTunnel, Saliency
from torch import Tensor, nn

from camtrain.attributions import InputGradient, SmoothGrad, gradient_statistic
from camtrain.networks import CIFARResNet
from tests.attributions.lifelike_network import lifelike_network
from tests.attributions.plain_weights import check_gradients

CAPTUM_NAMES = {"mean": "smoothgrad", "square": "smoothgrad_sq", "variance": "vargrad"}


@pytest.mark.parametrize("sizes", [[6], [1] * 6, [1, 2, 3], [4, 2]])
def test_statistics_of_groups_of_any_sizes(sizes):
    gradients = torch.randn(6, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = {
        "mean": gradients.mean(dim=0),
        "square": gradients.square().mean(dim=0),
        "variance": gradients.var(dim=0, correction=0),
    }
    for statistic, values in expected.items():
        found = gradient_statistic(gradients.split(sizes), statistic)
        torch.testing.assert_close(found, values, rtol=1e-12, atol=1e-14)


def test_variance_does_not_cancel():
    gradients = 1e4 + torch.randn(100, 50, generator=torch.Generator().manual_seed(0))
    exact = gradients.double().var(dim=0, correction=0).float()
    # Neighboring numbers of float32 at 1e4 are 1e-3 apart: a mean and a deviation from it, of the order of 1, are right
    # to that, and so is the variance to a few of that.
    torch.testing.assert_close(gradient_statistic(gradients.split(7), "variance"), exact, rtol=1e-2, atol=0)
    naive = gradients.square().mean(dim=0) - gradients.mean(dim=0).square()
    assert ((naive - exact).abs() / exact).amax() > 1


@pytest.mark.parametrize("statistic", CAPTUM_NAMES)
def test_gradcheck_of_statistics(statistic):
    gradients = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: gradient_statistic(values.split(2), statistic), gradients)


class Cubes(nn.Module):
    """y = Σ x³/3, whose gradient is x²; remembers what it was run on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach())
        return (images**3 / 3).sum(dim=(1, 2, 3)).unsqueeze(1)


def test_closed_form():
    images = torch.tensor([[0.0, 1.0], [-1.0, 3.0]], dtype=torch.float64).view(2, 1, 1, 2)
    sigma = torch.tensor([0.1, 0.4], dtype=torch.float64).view(2, 1, 1, 1)  # ranges 1 and 4
    # (x + ε)² has mean x² + σ², mean square x⁴ + 6x²σ² + 3σ⁴, and variance 4x²σ² + 2σ⁴.
    expected = {
        "mean": images**2 + sigma**2,
        "square": images**4 + 6 * images**2 * sigma**2 + 3 * sigma**4,
        "variance": 4 * images**2 * sigma**2 + 2 * sigma**4,
    }
    for statistic, values in expected.items():
        found = SmoothGrad(Cubes(), num_samples=5000, noise_level=0.1, statistic=statistic, max_batch=10_000, seed=0)(
            images, 1
        )
        torch.testing.assert_close(found, values, rtol=0.08, atol=1e-4)


@pytest.mark.usefixtures("double_by_default")
def test_no_noise_is_the_input_gradient():
    torch.manual_seed(0)
    network, images = CIFARResNet(8).eval(), torch.rand(2, 3, 16, 16)
    expected = InputGradient(network)(images)
    torch.testing.assert_close(SmoothGrad(network, noise_level=0.0, num_samples=3)(images), expected)
    flat = torch.full((1, 3, 16, 16), 0.25)  # whose range is zero
    torch.testing.assert_close(SmoothGrad(network, num_samples=3)(flat), InputGradient(network)(flat))


def test_noise():
    network, images = Cubes(), torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    images[1] *= 10
    SmoothGrad(network, num_samples=7, noise_level=0.2, max_batch=6, seed=0)(images)
    clean, *passes = network.seen
    assert torch.equal(clean, images)
    assert [len(batch) for batch in passes] == [6, 6, 6, 3]
    noise = torch.cat(passes).view(7, 3, 3, 16, 16) - images
    spans = images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3))
    scaled = noise / (0.2 * spans.view(3, 1, 1, 1))
    assert abs(float(scaled.mean())) < 0.05
    assert abs(float(scaled.std()) - 1) < 0.03
    torch.testing.assert_close(scaled, scaled[:, :1].expand_as(scaled), rtol=0, atol=1e-4)  # the same for each image
    flat = scaled[:, 0].flatten(1)
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().amax() < 0.2  # another one for each sample


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize("seed", [None, 3])
def test_attributions_depend_on_the_seed_and_not_on_the_size_of_a_pass(seed):
    torch.manual_seed(0)
    network, images = CIFARResNet(8).eval(), torch.rand(3, 3, 16, 16)
    expected = SmoothGrad(network, num_samples=5, seed=seed)(images)
    for max_batch in (1, 2, 4, 100):
        found = SmoothGrad(network, num_samples=5, max_batch=max_batch, seed=seed)(images)
        torch.testing.assert_close(found, expected)
    assert torch.equal(SmoothGrad(network, num_samples=5, seed=seed)(images), expected)
    torch.rand(1)
    assert torch.equal(SmoothGrad(network, num_samples=5, seed=seed)(images), expected) == (seed is not None)
    assert not torch.allclose(SmoothGrad(network, num_samples=5, seed=4)(images), expected)


def test_class_is_that_of_the_clean_image():
    class Threshold(nn.Module):
        """Class 1 has the larger logit only very near to the clean image."""

        def forward(self, images: Tensor) -> Tensor:
            mean = images.mean(dim=(1, 2, 3))
            return torch.stack([3 * mean, 5 * mean - 1e4 * (images - 0.5).square().mean(dim=(1, 2, 3)).detach()], dim=1)

    images = torch.full((1, 3, 4, 4), 0.5)
    images[0, 0, 0, 0], images[0, 0, 0, 1] = 0.501, 0.499  # a range that is not zero
    attributions = SmoothGrad(Threshold(), noise_level=100.0, num_samples=4, seed=0)(images)
    torch.testing.assert_close(attributions, torch.full_like(images, 5 / 48))


@pytest.mark.parametrize(
    ("name", "size", "statistic"),
    [
        pytest.param("resnet18", 32, "mean", marks=pytest.mark.slow),
        ("resnet18", 32, "square"),
        ("resnet18", 32, "variance"),
        pytest.param("vgg11", 64, "mean", marks=pytest.mark.slow),
        ("mobilenet_v2", 32, "mean"),
        pytest.param("resnet18", 224, "mean", marks=pytest.mark.slow),
    ],
)
def test_equals_captum_with_the_same_noise(name, size, statistic, double_by_default):
    network = lifelike_network(name)
    images, classes = torch.randn(2, 3, size, size), torch.tensor([3, 7])
    spans = images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3))
    torch.manual_seed(5)
    ours = SmoothGrad(network, num_samples=3, noise_level=0.1, statistic=statistic)(images, classes)
    for n in range(2):  # one by one, since captum draws other noise for the second image of a batch
        torch.manual_seed(5)
        theirs = NoiseTunnel(Saliency(network)).attribute(
            images[n : n + 1].clone(),
            nt_type=CAPTUM_NAMES[statistic],
            nt_samples=3,
            stdevs=0.1 * float(spans[n]),
            target=int(classes[n]),
            abs=False,
        )
        scale = theirs.abs().amax()
        torch.testing.assert_close(ours[n] / scale, theirs[0] / scale, rtol=0, atol=1e-9)


@pytest.mark.parametrize("statistic", ["mean", "variance"])
def test_gradcheck_end_to_end(statistic):
    def method(network: nn.Module) -> SmoothGrad:
        return SmoothGrad(
            network, num_samples=3, noise_level=0.3, statistic=statistic, max_batch=4, seed=0, differentiable=True
        )

    check_gradients(method, of_images=False)  # the scale of the noise counts as constant


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise_level": -0.1}, "`noise_level`: expected a finite number of at least 0, got -0.1"),
        ({"noise_level": float("nan")}, "`noise_level`: expected a finite number of at least 0, got nan"),
        ({"num_samples": 0}, "`num_samples`: expected a positive integer, got 0"),
        ({"max_batch": 0.5}, "`max_batch`: expected a positive integer, got 0.5"),
        ({"statistic": "median"}, "`statistic`: expected 'mean', 'square' or 'variance', got 'median'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SmoothGrad(Cubes(), **arguments)
