"""`eigen_cam` by hand and against NumPy; `EigenCAM` against pytorch-grad-cam."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from torch import Tensor, nn

from camtrain.cams.eigen_cam import EigenCAM, eigen_cam
from tests.cams.plain_weights import check_gradients
from tests.cams.random_network import PARITY_CASES, random_network


def test_hand_values():
    # All pixels along (1, 2, 2) / 3 with lengths 3, 0, 6 and 9.
    lengths = torch.tensor([[3.0, 0.0], [6.0, 9.0]])
    activations = torch.tensor([1.0, 2.0, 2.0]).view(1, 3, 1, 1) / 3 * lengths
    torch.testing.assert_close(eigen_cam(activations), lengths[None])
    # Centered, the lengths are about their mean of 4.5; the largest, 4.5 and -4.5, tie.
    torch.testing.assert_close(eigen_cam(activations, centered=True).abs(), (lengths - 4.5).abs()[None])


def test_sign_is_that_of_the_pixel_of_largest_magnitude():
    lengths = torch.tensor([[[[1.0, -5.0, 2.0]]]])
    direction = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1) / 5
    for sign in (1, -1):
        torch.testing.assert_close(eigen_cam(sign * direction * lengths), torch.tensor([[[-1.0, 5.0, -2.0]]]))


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (3, 20, 2, 3), (3, 1, 4, 4), (3, 4, 1, 1)])
def test_equals_numpy(shape, centered):
    activations = torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.2
    cams = eigen_cam(activations, centered=centered)
    for image, ours in zip(activations.numpy(), cams.numpy(), strict=True):
        pixels = image.reshape(shape[1], -1).T
        pixels = pixels - pixels.mean(axis=0) if centered else pixels
        eigenvalues, eigenvectors = np.linalg.eigh(pixels.T @ pixels)
        expected = pixels @ eigenvectors[:, -1]
        expected *= np.sign(expected[np.abs(expected).argmax()])
        np.testing.assert_allclose(ours.ravel(), expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose((ours**2).sum(), eigenvalues[-1], rtol=1e-12, atol=1e-14)


def test_not_negative_after_a_relu():
    activations = torch.randn(8, 16, 6, 6, generator=torch.Generator().manual_seed(0)).relu()
    assert eigen_cam(activations).min() >= -1e-5
    assert eigen_cam(activations, centered=True).amin(dim=(-2, -1)).max() < -0.1


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 2, 4), (2, 7, 2, 2), (2, 1, 2, 2)])
def test_gradcheck(shape, centered):
    generator = torch.Generator().manual_seed(0)
    activations = torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda activations: eigen_cam(activations, centered=centered), activations)


def test_gradcheck_where_singular_values_are_zero():
    """Of rank one and two, with more channels than pixels and fewer: torch's own derivative is NaN here."""
    generator = torch.Generator().manual_seed(0)
    for pixels, channels in ((4, 6), (6, 4)):
        for rank in (1, 2):
            factors = [torch.randn(rank, size, dtype=torch.float64, generator=generator) for size in (channels, pixels)]
            activations = (factors[0].T @ factors[1]).view(1, channels, pixels, 1).requires_grad_()
            assert torch.autograd.gradcheck(eigen_cam, activations)


@pytest.mark.parametrize("centered", [False, True])
def test_gradcheck_end_to_end(centered):
    check_gradients(
        lambda network, layer, *batch: EigenCAM(network, layer, centered=centered, differentiable=True)(*batch),
        reaches_behind=False,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("value", "centered"), [(0.0, False), (0.0, True), (0.1, True), (-1e20, True), (1e-30, True)])
def test_dead_or_flat_map_is_zeros_with_zero_gradient(value, centered, dtype):
    flat = value * torch.rand(1, 5, 1, 1, dtype=dtype, generator=torch.Generator().manual_seed(0))
    activations = flat.expand(1, 5, 7, 3).clone().requires_grad_()
    cams = eigen_cam(activations, centered=centered)
    (gradient,) = torch.autograd.grad(cams.sum(), activations)
    assert torch.equal(cams, torch.zeros(1, 7, 3, dtype=dtype))
    assert torch.equal(gradient, torch.zeros(1, 5, 7, 3, dtype=dtype))


def test_two_equal_directions_give_one_of_them_and_finite_gradients():
    activations = torch.eye(2).view(1, 2, 1, 2).requires_grad_()
    cams = eigen_cam(activations)
    (gradient,) = torch.autograd.grad(cams.sum(), activations)
    torch.testing.assert_close(torch.linalg.vector_norm(cams), torch.tensor(1.0))
    assert gradient.isfinite().all()


def test_second_derivative_is_refused():
    activations = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with pytest.raises(RuntimeError, match="eigen_cam: its gradient cannot be differentiated again"):
        torch.autograd.grad(eigen_cam(activations).sum(), activations, create_graph=True)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale(scale):
    activations = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    # The products are rounded by 6e-8, and the decomposition of 16 pixels makes some hundred times that of it at most.
    torch.testing.assert_close(eigen_cam(scale * activations) / scale, eigen_cam(activations), rtol=1e-4, atol=1e-5)


def test_image_that_is_not_finite_is_nan_and_leaves_the_others():
    activations = torch.rand(3, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = eigen_cam(activations)
    activations[0, 2, 1, 1], activations[2, 0, 0, 0] = math.nan, math.inf
    cams = eigen_cam(activations)
    assert cams[0].isnan().all()
    assert cams[2].isnan().all()
    assert torch.equal(cams[1], expected[1])


def test_half_precision():
    activations = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    cams = eigen_cam(activations)
    assert cams.dtype == torch.float32
    torch.testing.assert_close(cams, eigen_cam(activations.float()))


def test_no_images():
    assert eigen_cam(torch.zeros(0, 5, 4, 3)).shape == (0, 4, 3)


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(("name", "layer", "size"), PARITY_CASES)
def test_centered_equals_pytorch_grad_cam_but_for_its_sign(name, layer, size):
    # Theirs has the sign that the decomposition happens to give.
    network = random_network(name)
    images = torch.rand(2, 3, size, size)
    theirs = torch.from_numpy(get_2d_projection(_captured(network, layer, images).numpy()))
    ours = EigenCAM(network, layer, centered=True)(images)
    scale = theirs.abs().amax(dim=(-2, -1), keepdim=True)
    sign = (ours * theirs).sum(dim=(-2, -1), keepdim=True).sign()
    # It rounds its projections to float32, by 6e-8 of each at most.
    torch.testing.assert_close(ours / scale, sign * theirs / scale, rtol=0, atol=1e-7)


@pytest.mark.usefixtures("double_by_default")
def test_uncentered_network():
    network = random_network("resnet18")
    images = torch.rand(2, 3, 64, 64)
    pixels = _captured(network, "layer2", images).flatten(2).mT.double().numpy()
    _, _, vectors = np.linalg.svd(pixels)
    expected = np.abs(np.einsum("npc,nc->np", pixels, vectors[:, 0])).reshape(2, 8, 8)
    ours = EigenCAM(network, "layer2")(images)
    np.testing.assert_allclose(ours.numpy() / expected.max(), expected / expected.max(), rtol=0, atol=1e-9)


def test_class_has_no_effect_but_is_checked():
    network = random_network("resnet18")
    cam, images = EigenCAM(network, "layer4"), torch.rand(2, 3, 64, 64)
    assert torch.equal(cam(images, 3), cam(images))
    with pytest.raises(ValueError, match="`class_idx`: expected classes from 0 to 9, got 10"):
        cam(images, 10)


def test_several_layers():
    with pytest.raises(ValueError, match="`target_layer`: EigenCAM works on one layer, got 2"):
        EigenCAM(random_network("resnet18"), ["layer3", "layer4"])(torch.rand(1, 3, 64, 64))


def _captured(network: nn.Module, layer: str, images: Tensor) -> Tensor:
    outputs: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    with torch.no_grad():
        network(images)
    handle.remove()
    return outputs[0]
