"""`smooth_grad_cam_plus_plus` by hand and against loops; `SmoothGradCAMPlusPlus` against a loop over noisy images."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from camtrain.cams.grad_cam_plus_plus import GradCAMPlusPlus, grad_cam_plus_plus
from camtrain.cams.smooth_grad_cam_plus_plus import SmoothGradCAMPlusPlus, smooth_grad_cam_plus_plus
from camtrain.gradients import Contrast
from tests.cams.plain_weights import PlainWeights, check_gradients
from tests.cams.random_network import random_network


def test_hand_values():
    activations = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]])  # sums 4 and 2
    first = torch.tensor([[[[2.0, -1.0]], [[1.0, 3.0]]]])
    second = torch.tensor([[[[5.0, 1.0]], [[1.0, 10.0]]]])
    third = torch.tensor([[[[10.0, -1.0]], [[-0.5, 20.0]]]])
    # α: 5 / (10 + 4 · 10) = 0.1; 1 / (2 - 2 · 0.5) = 1 and 10 / (20 + 2 · 20) = 1/6. Weights 0.2 and 1 + 0.5.
    expected = torch.tensor([[[0.2 * 1 + 1.5 * 2, 0.2 * 3]]])
    torch.testing.assert_close(smooth_grad_cam_plus_plus(activations, first, second, third), expected)


def test_equals_the_formula_in_loops():
    activations, *derivatives = _random(2, 3, 4, 5)
    expected = torch.zeros(2, 4, 5, dtype=torch.float64)
    for n in range(2):
        for k in range(3):
            total = sum(activations[n, k, a, b] for a in range(4) for b in range(5))
            weight = 0.0
            for i in range(4):
                for j in range(5):
                    first, second, third = (derivative[n, k, i, j] for derivative in derivatives)
                    weight += second / (2 * second + total * third) * max(first, 0.0)
            expected[n] += weight * activations[n, k]
    cams = smooth_grad_cam_plus_plus(activations, *derivatives)
    torch.testing.assert_close(cams, expected.relu(), rtol=1e-12, atol=1e-14)
    assert expected.amax() > 0


def test_of_one_gradient_equals_grad_cam_plus_plus():
    activations, gradients, *_ = _random(2, 3, 4, 5)
    cams = smooth_grad_cam_plus_plus(activations, gradients, gradients**2, gradients**3)
    torch.testing.assert_close(cams, grad_cam_plus_plus(activations, gradients))


def test_gradcheck():
    arguments = [argument.requires_grad_() for argument in _random(2, 2, 2, 3)]
    assert torch.autograd.gradcheck(smooth_grad_cam_plus_plus, arguments)


@pytest.mark.parametrize(("activation", "first", "second", "third"), [(0, 0, 0, 0), (3, 0, 0, 0), (-1, 1, 2, 1)])
def test_map_without_evidence_is_zeros_with_zero_gradient(activation, first, second, third):
    # In the last case the denominator is 2 · 2 - 4 · 1 = 0.
    values = (activation, first, second, third)
    arguments = [torch.full((1, 2, 2, 2), float(value), requires_grad=True) for value in values]
    cams = smooth_grad_cam_plus_plus(*arguments)
    assert torch.equal(cams, torch.zeros(1, 2, 2))
    for gradient in torch.autograd.grad(cams.sum(), arguments):
        assert torch.equal(gradient, torch.zeros(1, 2, 2, 2))


# Network -----------------------------------------------------------------------------------------


class SmallNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.front = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.middle = nn.Sequential(nn.Conv2d(4, 5, 3, stride=2), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(5 * 9, 6), nn.ReLU(), nn.Linear(6, 3))
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return 5 * self.head(self.middle(self.front(images)))


@pytest.fixture
def network() -> nn.Module:
    return SmallNetwork().double()


@pytest.fixture
def images() -> Tensor:
    values = torch.rand(4, 3, 10, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return values * torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=torch.float64).view(4, 1, 1, 1)


CLASSES = torch.tensor([2, 0, 1, 2])


@pytest.mark.parametrize("max_batch", [1, 3, 4, 7, 8, 100])
@pytest.mark.parametrize("layer", ["front", "middle"])
def test_equals_a_loop_over_noisy_images(network, images, layer, max_batch):
    noise = _noise(5, images)
    expected = []
    for n, image in enumerate(images):
        sums = [0.0, 0.0, 0.0]
        for sample in range(5):
            sigma = 0.2 * (image.max() - image.min())
            _, g = _derivative(network, layer, image + sigma * noise[sample, n], int(CLASSES[n]))
            sums = [total + g ** (m + 1) for m, total in enumerate(sums)]
        first, second, third = (total / 5 for total in sums)
        activations, _ = _derivative(network, layer, image, int(CLASSES[n]))
        denominator = 2 * second + activations.sum(dim=(-2, -1), keepdim=True) * third
        alpha = torch.where(second == 0, 0.0, second / torch.where(second == 0, 1.0, denominator))
        weights = (alpha * first.relu()).sum(dim=(-2, -1), keepdim=True)
        expected.append((weights * activations).sum(dim=0).relu())
    cam = SmoothGradCAMPlusPlus(network, layer, num_samples=5, noise_level=0.2, max_batch=max_batch, seed=3)
    network.batches.clear()
    cams = cam(images, CLASSES)
    torch.testing.assert_close(cams, torch.stack(expected), rtol=1e-9, atol=1e-12)
    assert (cams.flatten(1).amax(dim=1) > 0).all()
    # One pass without noise, then all noisy images, no more than `max_batch` at a time.
    assert network.batches[0] == 4
    assert sum(network.batches[1:]) == 20
    assert max(network.batches[1:]) <= max_batch


def test_is_not_the_mean_of_finished_maps(network, images):
    noise = _noise(5, images)
    spread = images.amax(dim=(1, 2, 3), keepdim=True) - images.amin(dim=(1, 2, 3), keepdim=True)
    finished = [GradCAMPlusPlus(network, "middle")(images + 0.2 * spread * sample, CLASSES) for sample in noise]
    cams = SmoothGradCAMPlusPlus(network, "middle", num_samples=5, noise_level=0.2, seed=3)(images, CLASSES)
    assert not torch.allclose(cams, torch.stack(finished).mean(dim=0), rtol=1e-2)


def test_without_noise_equals_grad_cam_plus_plus(network, images):
    cams = SmoothGradCAMPlusPlus(network, "middle", num_samples=3, noise_level=0)(images, CLASSES)
    torch.testing.assert_close(cams, GradCAMPlusPlus(network, "middle")(images, CLASSES))
    assert cams.amax() > 0


def test_several_layers(network, images):
    options = {"num_samples": 3, "noise_level": 0.0}
    cams = SmoothGradCAMPlusPlus(network, ["front", "middle"], **options)(images, CLASSES)
    torch.testing.assert_close(cams, GradCAMPlusPlus(network, ["front", "middle"])(images, CLASSES))


def test_class_is_chosen_without_noise(network, images):
    with torch.no_grad():
        logits = network(images)
        network.head[-1].bias.sub_((logits.mean(dim=0) / 5) * 0.999)  # close calls, which noise can change
        predicted = network(images).argmax(dim=1)
    cam = SmoothGradCAMPlusPlus(network, "middle", num_samples=8, noise_level=0.5, seed=0)
    of_classes = torch.stack([cam(images, class_idx) for class_idx in range(3)])
    noisy = network(images + _noise(1, images)[0] * 0.5).argmax(dim=1)
    assert not torch.equal(noisy, predicted)
    torch.testing.assert_close(cam(images), of_classes[predicted, torch.arange(4)])
    torch.testing.assert_close(cam(images, Contrast(predicted, against=0)), cam(images, Contrast(against=0)))


def test_seed(network, images):
    def cams(seed: int | None) -> Tensor:
        return SmoothGradCAMPlusPlus(network, "middle", num_samples=2, noise_level=0.3, seed=seed)(images, CLASSES)

    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(cams(1), cams(1))
    assert not torch.allclose(cams(1), cams(2))
    drawn = cams(None)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(cams(None), drawn)
    torch.manual_seed(6)
    assert not torch.allclose(cams(None), drawn)
    assert torch.equal(cams(1), cams(1))


def test_gradcheck_end_to_end():
    check_gradients(
        lambda network, layer, *batch: SmoothGradCAMPlusPlus(
            network, layer, num_samples=3, noise_level=0.2, max_batch=4, seed=0, differentiable=True
        )(*batch)
    )


def test_images_that_require_grad(network, images):
    options = {"num_samples": 3, "seed": 0}
    detached = SmoothGradCAMPlusPlus(network, "middle", **options)(images, CLASSES)
    images.requires_grad_()
    assert not SmoothGradCAMPlusPlus(network, "middle", **options)(images, CLASSES).requires_grad
    cams = SmoothGradCAMPlusPlus(network, "middle", **options, differentiable=True)(images, CLASSES)
    torch.testing.assert_close(cams.detach(), detached)
    (gradient,) = torch.autograd.grad(cams.sum(), images)
    assert (gradient.flatten(1).abs().amax(dim=1) > 0).all()


class Copies:
    """Stands in for `NoisyImages`."""

    def __init__(self, of, num_samples):
        self.of, self.num_samples = of, num_samples

    def __call__(self, images):
        return iter(self.of(images))


def test_noise_is_a_constant_for_the_gradient():
    """Though the brightest and the darkest pixel determine how much of it there is."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    cam = SmoothGradCAMPlusPlus(PlainWeights(), "target", num_samples=3, seed=0, differentiable=True)
    (gradient,) = torch.autograd.grad(cam(images, 1).sum(), images)
    noise = [(noisy - images).detach() for noisy in cam.noisy(images)]
    cam.noisy = Copies(lambda images: [images + each for each in noise], 3)
    torch.testing.assert_close(torch.autograd.grad(cam(images, 1).sum(), images)[0], gradient)


@pytest.mark.parametrize("scale", [1e-18, 1e-30])
def test_small_gradients_do_not_underflow(network, images, scale):
    """The map of scale · y is scale times that of y, as long as ΣA times a gradient is small beside 2."""
    options = {"num_samples": 4, "noise_level": 0.2, "seed": 0}
    network.head[-1].weight.data.mul_(1e-9)
    expected = SmoothGradCAMPlusPlus(network, "middle", **options)(images, CLASSES)
    network.head[-1].weight.data.mul_(scale)
    network.float()
    cam = SmoothGradCAMPlusPlus(network, "middle", **options)
    in_float64 = cam.noisy
    cam.noisy = Copies(lambda batch: (noisy.float() for noisy in in_float64(batch.double())), 4)
    cams = cam(images.float(), CLASSES).double()
    torch.testing.assert_close(cams / expected.amax() / scale, expected / expected.amax(), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("double_by_default")
def test_residual_network():
    network = random_network("resnet18")
    images, classes = torch.rand(2, 3, 64, 64), torch.tensor([3, 7])
    noiseless = SmoothGradCAMPlusPlus(network, "layer3", num_samples=2, noise_level=0)(images, classes)
    expected = GradCAMPlusPlus(network, "layer3")(images, classes)
    scale = expected.amax()
    torch.testing.assert_close(noiseless / scale, expected / scale, rtol=0, atol=1e-9)
    # In evaluation mode the size of the passes changes nothing.
    options = {"num_samples": 5, "noise_level": 0.1, "seed": 0}
    one, three = (
        SmoothGradCAMPlusPlus(network, "layer3", max_batch=size, **options)(images, classes) for size in (1, 6)
    )
    torch.testing.assert_close(one / scale, three / scale, rtol=0, atol=1e-9)


def test_no_images(network):
    assert SmoothGradCAMPlusPlus(network, "middle")(torch.zeros(0, 3, 10, 10, dtype=torch.float64)).shape == (0, 3, 3)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"num_samples": 0}, "`num_samples`: expected a positive integer, got 0"),
        ({"num_samples": 2.5}, "`num_samples`: expected a positive integer, got 2.5"),
        ({"max_batch": 0}, "`max_batch`: expected a positive integer, got 0"),
        ({"noise_level": -0.1}, "`noise_level`: expected a finite number of at least 0, got -0.1"),
        ({"noise_level": math.nan}, "`noise_level`: expected a finite number of at least 0, got nan"),
    ],
)
def test_wrong_options(network, option, message):
    with pytest.raises(ValueError, match=message):
        SmoothGradCAMPlusPlus(network, "middle", **option)


def _noise(samples: int, images: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    # One for all images.
    drawn = [torch.randn(images.shape[1:], dtype=images.dtype, generator=generator) for _ in range(samples)]
    return torch.stack(drawn).unsqueeze(1).expand(-1, len(images), -1, -1, -1)


def _derivative(network: SmallNetwork, layer: str, image: Tensor, class_idx: int) -> tuple[Tensor, Tensor]:
    """Activations of one image and the gradient of its class, (C, h, w), through the layers written out."""
    features = network.front(image[None])
    activations = (features if layer == "front" else network.middle(features)).detach().requires_grad_()
    behind = network.middle(activations) if layer == "front" else activations
    (gradient,) = torch.autograd.grad(5 * network.head(behind)[0, class_idx], activations)
    return activations.detach()[0], gradient[0]


def _random(*shape: int) -> list[Tensor]:
    """Activations as after a ReLU, and averages of which the second is positive."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, *shape, dtype=torch.float64, generator=generator)
    return [values[0].abs(), values[1], 1 + values[2].abs(), 0.2 * values[3].abs()]
