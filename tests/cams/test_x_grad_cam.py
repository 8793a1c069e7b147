"""`x_grad_cam` by hand and against loops; `XGradCAM` against its axiom and pytorch-grad-cam."""

from __future__ import annotations

import pytest
import pytorch_grad_cam
import torch
from torch import Tensor

from camtrain.cams.x_grad_cam import XGradCAM, x_grad_cam
from tests.cams.library_map import library_map
from tests.cams.plain_weights import check_gradients
from tests.cams.random_network import PARITY_CASES, random_network


def test_hand_values():
    activations = torch.tensor([[[[1.0, 2.0], [1.0, 0.0]], [[0.0, 5.0], [0.0, 0.0]]]])
    # Weights 1/4 · 4 + 2/4 · 1 - 1/4 · 2 = 1, and the gradient of the only active pixel, -0.25.
    gradients = torch.tensor([[[[4.0, 1.0], [-2.0, 9.0]], [[7.0, -0.25], [7.0, 7.0]]]])
    assert torch.equal(x_grad_cam(activations, gradients), torch.tensor([[[1.0, 0.75], [1.0, 0.0]]]))


def test_equals_the_formula_in_loops():
    activations, gradients = _random(2, 3, 4, 5)
    expected = torch.zeros(2, 4, 5, dtype=torch.float64)
    for n in range(2):
        for k in range(3):
            total = sum(activations[n, k, a, b] for a in range(4) for b in range(5))
            weight = sum(activations[n, k, i, j] / total * gradients[n, k, i, j] for i in range(4) for j in range(5))
            expected[n] += weight * activations[n, k]
    assert expected.min() < 0 < expected.max()  # both sides of the ReLU are seen
    torch.testing.assert_close(x_grad_cam(activations, gradients), expected.relu(), rtol=1e-12, atol=1e-14)


def test_conservation():
    """The map sums to Σ g A, the first-order share of the score; all positive here, so that the ReLU takes nothing."""
    activations, gradients = _random(2, 3, 4, 5)
    gradients = gradients.abs()
    torch.testing.assert_close(
        x_grad_cam(activations, gradients).sum(dim=(-2, -1)), (activations * gradients).sum(dim=(1, 2, 3))
    )


def test_gradcheck():
    activations, gradients = _random(2, 3, 2, 4)
    assert torch.autograd.gradcheck(x_grad_cam, (activations.requires_grad_(), gradients.requires_grad_()))


def test_gradcheck_end_to_end():
    # Against the class where its map is zeros, as the map has a ReLU.
    check_gradients(lambda network, layer, *batch: XGradCAM(network, layer, differentiable=True)(*batch))


@pytest.mark.parametrize("activation", [0.0, 1e-45])
def test_dead_map_is_zeros_with_zero_gradient(activation):
    activations = torch.full((1, 2, 2, 2), activation, requires_grad=True)
    gradients = torch.ones(1, 2, 2, 2, requires_grad=True)
    cams = x_grad_cam(activations, gradients)
    assert torch.equal(cams, torch.zeros(1, 2, 2))
    for derivative in torch.autograd.grad(cams.sum(), [activations, gradients]):
        assert torch.equal(derivative, torch.zeros(1, 2, 2, 2))


def test_dead_channel_does_not_touch_the_others():
    activations = torch.tensor([[[[0.0, 0.0]], [[1.0, 3.0]]]], requires_grad=True)
    gradients = torch.tensor([[[[5.0, 5.0]], [[2.0, 4.0]]]])
    cams = x_grad_cam(activations, gradients)
    (gradient,) = torch.autograd.grad(cams[0, 0, 0], activations)
    assert torch.equal(cams, torch.tensor([[[3.5, 10.5]]]))  # weight 1/4 · 2 + 3/4 · 4
    # w = (2a + 4b) / (a + b): ∂(w a)/∂a = w + a (2 - w) / (a + b), ∂(w a)/∂b = a (4 - w) / (a + b)
    torch.testing.assert_close(gradient, torch.tensor([[[[0.0, 0.0]], [[3.125, 0.125]]]]))


def test_half_precision_does_not_overflow():
    activations = torch.full((1, 2, 40, 40), 100.0, dtype=torch.float16)  # the sum of a channel is 160000
    gradients = torch.full((1, 2, 40, 40), 0.5, dtype=torch.float16)
    cams = x_grad_cam(activations, gradients)
    torch.testing.assert_close(cams, x_grad_cam(activations.float(), gradients.float()))
    assert cams.amin() > 0


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(("name", "layer", "size"), PARITY_CASES)
def test_equals_pytorch_grad_cam(name, layer, size):
    network = random_network(name)
    images, classes = torch.rand(2, 3, size, size), torch.tensor([3, 7])
    theirs = library_map(pytorch_grad_cam.XGradCAM, network, layer, images, classes)
    ours = XGradCAM(network, layer)(images, classes)
    # Random weights make small maps: the tolerance is relative to the largest value. It is so large because of the 1e-7
    # that the library adds to sums of activations, of which those of VGG are of the order of 0.01.
    scale = theirs.amax()
    assert scale > 0
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-4)


def _random(*shape: int) -> tuple[Tensor, Tensor]:
    """Activations as after a ReLU, though nowhere at its kink, and gradients of both signs."""
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(*shape, dtype=torch.float64, generator=generator)
    return torch.rand(*shape, dtype=torch.float64, generator=generator), gradients
