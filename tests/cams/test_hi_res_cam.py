"""`hi_res_cam` by hand and against loops; `HiResCAM` against its faithfulness and pytorch-grad-cam."""

from __future__ import annotations

import pytest
import pytorch_grad_cam
import torch
from torch import nn

from camtrain.cams.hi_res_cam import HiResCAM, hi_res_cam
from tests.cams.library_map import library_map
from tests.cams.plain_weights import check_gradients
from tests.cams.random_network import PARITY_CASES, random_network


def test_hand_values():
    activations = torch.tensor([[[[1.0, 2.0], [3.0, 0.0]], [[1.0, 1.0], [0.0, 5.0]]]])
    gradients = torch.tensor([[[[4.0, 0.0], [-1.0, 2.0]], [[-1.0, -2.0], [7.0, 0.5]]]])
    assert torch.equal(hi_res_cam(activations, gradients), torch.tensor([[[3.0, -2.0], [-3.0, 2.5]]]))


def test_equals_the_formula_in_loops():
    activations, gradients = _random(2, 3, 4, 5)
    expected = torch.zeros(2, 4, 5, dtype=torch.float64)
    for n in range(2):
        for k in range(3):
            for i in range(4):
                for j in range(5):
                    expected[n, i, j] += activations[n, k, i, j] * gradients[n, k, i, j]
    torch.testing.assert_close(hi_res_cam(activations, gradients), expected, rtol=1e-12, atol=1e-14)


def test_gradcheck():
    activations, gradients = _random(2, 3, 2, 4)
    assert torch.autograd.gradcheck(hi_res_cam, (activations.requires_grad_(), gradients.requires_grad_()))


def test_gradcheck_end_to_end():
    check_gradients(lambda network, layer, *batch: HiResCAM(network, layer, differentiable=True)(*batch))


def test_dead_map():
    activations = torch.zeros(1, 2, 3, 3, requires_grad=True)
    cams = hi_res_cam(activations, torch.zeros(1, 2, 3, 3))
    (gradient,) = torch.autograd.grad(cams.sum(), activations)
    assert torch.equal(cams, torch.zeros(1, 3, 3))
    assert torch.equal(gradient, torch.zeros(1, 2, 3, 3))


@pytest.mark.parametrize("pooling", [nn.Identity(), nn.AdaptiveAvgPool2d(1)])
def test_sums_to_the_logit_without_its_bias_where_one_linear_layer_follows(pooling):
    torch.manual_seed(0)
    features = 4 * (1 if isinstance(pooling, nn.AdaptiveAvgPool2d) else 6 * 6)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), pooling, nn.Flatten(), nn.Linear(features, 5)).double()
    images, classes = torch.rand(3, 3, 8, 8, dtype=torch.float64), torch.tensor([4, 0, 2])
    cams = HiResCAM(network, "1")(images, classes)
    expected = network(images)[torch.arange(3), classes] - network[-1].bias[classes]
    torch.testing.assert_close(cams.sum(dim=(-2, -1)), expected.detach(), rtol=1e-10, atol=1e-12)
    assert cams.min() < 0 < cams.max()


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(("name", "layer", "size"), PARITY_CASES)
def test_equals_pytorch_grad_cam(name, layer, size):
    network = random_network(name)
    images, classes = torch.rand(2, 3, size, size), torch.tensor([3, 7])
    theirs = library_map(pytorch_grad_cam.HiResCAM, network, layer, images, classes)
    ours = HiResCAM(network, layer)(images, classes).relu()  # theirs has a ReLU, the paper has none
    # Random weights make small maps: the tolerance of 1e-9 is relative to the largest value.
    scale = theirs.amax()
    assert scale > 0
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-9)


def _random(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, *shape, dtype=torch.float64, generator=generator).unbind(0)
