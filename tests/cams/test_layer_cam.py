"""`layer_cam` and its pyramid by hand and against loops; `LayerCAM` against pytorch-grad-cam and its own formula."""

from __future__ import annotations

import math

import pytest
import pytorch_grad_cam
import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.cams.layer_cam import LayerCAM, layer_cam, layer_cam_pyramid
from tests.cams.library_map import library_map
from tests.cams.plain_weights import check_gradients
from tests.cams.random_network import PARITY_CASES, random_network


def test_hand_values():
    activations = torch.tensor([[[[1.0, 2.0], [3.0, -4.0]], [[1.0, 1.0], [0.0, 5.0]]]])
    gradients = torch.tensor([[[[4.0, 0.0], [-1.0, 2.0]], [[-1.0, 3.0], [7.0, 1.0]]]])
    # 4, 0 + 3, 0, and -8 + 5 below the ReLU
    assert torch.equal(layer_cam(activations, gradients), torch.tensor([[[4.0, 3.0], [0.0, 0.0]]]))


def test_equals_the_formula_in_loops():
    activations, gradients = _random(2, 3, 4, 5)
    expected = torch.zeros(2, 4, 5, dtype=torch.float64)
    for n in range(2):
        for i in range(4):
            for j in range(5):
                value = sum(max(gradients[n, k, i, j], 0.0) * activations[n, k, i, j] for k in range(3))
                expected[n, i, j] = max(value, 0.0)
    torch.testing.assert_close(layer_cam(activations, gradients), expected, rtol=1e-12, atol=1e-14)
    assert 0 < (expected > 0).sum() < expected.numel()  # both sides of the ReLU are seen


def test_gradcheck():
    activations, gradients = _random(2, 3, 2, 4)
    assert torch.autograd.gradcheck(layer_cam, (activations.requires_grad_(), gradients.requires_grad_()))


@pytest.mark.parametrize("layers", [["target"], ["stem", "target"]])
def test_gradcheck_end_to_end(layers):
    check_gradients(lambda network, _layer, *batch: LayerCAM(network, layers, differentiable=True)(*batch))


def test_dead_map():
    activations = torch.zeros(1, 2, 3, 3, requires_grad=True)
    gradients = torch.zeros(1, 2, 3, 3, requires_grad=True)
    cams = layer_cam(activations, gradients)
    assert torch.equal(cams, torch.zeros(1, 3, 3))
    for derivative in torch.autograd.grad(cams.sum(), [activations, gradients]):
        assert torch.equal(derivative, torch.zeros(1, 2, 3, 3))


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(("name", "layer", "size"), PARITY_CASES)
def test_equals_pytorch_grad_cam(name, layer, size):
    network = random_network(name)
    images, classes = torch.rand(2, 3, size, size), torch.tensor([3, 7])
    theirs = library_map(pytorch_grad_cam.LayerCAM, network, layer, images, classes)
    ours = LayerCAM(network, layer)(images, classes)
    # Random weights make small maps: the tolerance of 1e-9 is relative to the largest value.
    scale = theirs.amax()
    assert scale > 0
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-9)


# Pyramid -----------------------------------------------------------------------------------------


def test_pyramid_by_hand():
    shallow = torch.zeros(1, 4, 4)
    shallow[0, 0, 0], shallow[0, 1, 2] = 8.0, 2.0
    middle = torch.tensor([[[0.0, 3.0], [0.0, 0.0]]])
    deep = torch.tensor([[[5.0]]])
    # Without the deep one, nothing is four times as small as the largest: the shallow one is not lifted.
    expected = torch.maximum(shallow / 8, _upsampled(middle, 4) / 3 / _upsampled(middle / 3, 4).amax())
    torch.testing.assert_close(layer_cam_pyramid([shallow, middle]), expected)
    # With it, the shallow map is lifted: 2 of 8 becomes tanh(2 · 1/4). The deep map is 1 everywhere.
    lifted = torch.zeros(1, 4, 4)
    lifted[0, 0, 0], lifted[0, 1, 2] = math.tanh(2.0), math.tanh(0.5)
    torch.testing.assert_close(layer_cam_pyramid([shallow, 0 * middle, 0 * deep]), lifted)
    assert torch.equal(layer_cam_pyramid([shallow, middle, deep]), torch.ones(1, 4, 4))


@pytest.mark.parametrize(
    ("sides", "lifted"),
    [
        ([224, 112, 56, 28, 14], [True, True, True, False, False]),  # the first three of five stages, as in the paper
        ([56, 28, 14, 7], [True, True, False, False]),  # stages two to five, as of a ResNet
        ([32, 16, 8], [True, False, False]),
        ([14, 14], [False, False]),
    ],
)
def test_which_maps_are_shallow(sides, lifted):
    # One map at a time has evidence, the half of its maximum everywhere but at one pixel in the corner.
    for layer, is_lifted in enumerate(lifted):
        maps = [torch.zeros(1, side, side) for side in sides]
        maps[layer] += 1.0
        maps[layer][:, 0, 0] = 2.0
        pyramid = layer_cam_pyramid(maps)
        assert pyramid.shape == (1, sides[0], sides[0])
        torch.testing.assert_close(pyramid[0, -1, -1], torch.tensor(math.tanh(1.0) if is_lifted else 0.5))


def test_pyramid_each_image_by_itself():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(3, side, side + 1, generator=generator) * torch.tensor([1.0, 1e-6, 1e6]).view(3, 1, 1)
            for side in (12, 6, 3)]  # fmt: skip
    together = layer_cam_pyramid(maps, gamma=3.0)
    for n in range(3):
        resized = [_upsampled(cams[n : n + 1], 12, 13) for cams in maps]
        shares = [cams / cams.amax() for cams in resized]
        expected = torch.maximum(torch.maximum(torch.tanh(3.0 * shares[0]), shares[1]), shares[2])
        torch.testing.assert_close(together[n : n + 1], expected)
    assert together.amax() == 1


def test_pyramid_gradcheck():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(2, side, side, dtype=torch.float64, generator=generator, requires_grad=True) for side in (5, 2)]
    assert torch.autograd.gradcheck(lambda *maps: layer_cam_pyramid(maps), maps)


@pytest.mark.parametrize("value", [0.0, 1e-45])
def test_dead_layer_of_a_pyramid_adds_nothing_and_gets_no_gradient(value):
    dead = torch.full((1, 8, 8), value, requires_grad=True)
    alive = torch.tensor([[[1.0, 0.0], [0.0, 4.0]]], requires_grad=True)
    pyramid = layer_cam_pyramid([dead, alive])
    of_dead, of_alive = torch.autograd.grad(pyramid.square().sum(), [dead, alive])
    expected = _upsampled(alive, 8)
    torch.testing.assert_close(pyramid, expected / expected.amax())
    assert torch.equal(of_dead, torch.zeros(1, 8, 8))
    assert of_alive.isfinite().all()
    both = [torch.zeros(1, 4, 4, requires_grad=True), torch.zeros(1, 2, 2, requires_grad=True)]
    pyramid = layer_cam_pyramid(both)
    assert torch.equal(pyramid, torch.zeros(1, 4, 4))
    assert all(torch.equal(g, torch.zeros_like(g)) for g in torch.autograd.grad(pyramid.sum(), both))


def test_pyramid_of_small_maps_in_half_precision():
    maps = [torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[4.0]]])]
    # 2e-5 is below the smallest normal number of float16.
    pyramid = layer_cam_pyramid([(1e-5 * cams).half() for cams in maps])
    torch.testing.assert_close(pyramid, layer_cam_pyramid(maps), rtol=0, atol=0.01)


@pytest.mark.usefixtures("double_by_default")
def test_pyramid_of_a_network():
    network = random_network("resnet18")
    images, classes = torch.rand(2, 3, 64, 64), torch.tensor([3, 7])
    layers = ["layer1", "layer2", "layer3", "layer4"]
    single = [LayerCAM(network, layer)(images, classes) for layer in layers]
    assert [tuple(cams.shape[1:]) for cams in single] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    resized = [_upsampled(cams, 16) for cams in single]
    shares = [cams / cams.amax(dim=(-2, -1), keepdim=True) for cams in resized]
    expected = torch.stack([torch.tanh(2 * shares[0]), torch.tanh(2 * shares[1]), *shares[2:]]).amax(dim=0)
    torch.testing.assert_close(LayerCAM(network, layers)(images, classes), expected, rtol=0, atol=1e-9)
    steeper = LayerCAM(network, layers, gamma=4.0)(images, classes)
    assert (steeper >= expected - 1e-5).all()
    assert (steeper > expected + 1e-2).any()


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan])
def test_wrong_gamma(gamma):
    with pytest.raises(ValueError, match="`gamma`: expected a positive, finite number, got"):
        LayerCAM(random_network("resnet18"), gamma=gamma)


def _upsampled(cams: Tensor, height: int, width: int | None = None) -> Tensor:
    size = (height, width or height)
    return F.interpolate(cams[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _random(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, *shape, dtype=torch.float64, generator=generator).unbind(0)
