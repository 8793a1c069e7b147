from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camtrain.gradients import guided_gradient, input_gradient


def leaf(value=1.0, dtype=torch.float16):
    return torch.full((1, 1, 1, 2), value, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_bit_for_bit_autograds(dtype):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).to(dtype)
    images = torch.randn(2, 3, 8, 8, dtype=dtype, requires_grad=True)
    loss = F.cross_entropy(network(images), torch.tensor([0, 4]))
    found = input_gradient(loss, images)
    assert found.dtype == dtype
    assert torch.equal(found, torch.autograd.grad(loss, images)[0])
    assert images.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_create_graph_trains_through_the_gradient(dtype):
    images = leaf(2.0, dtype)
    gradient = input_gradient((images**3).sum(), images, create_graph=True)  # 3 x²
    assert torch.autograd.grad(gradient.sum(), images)[0].tolist() == [[[[12.0, 12.0]]]]  # 6 x
    assert not input_gradient((images**3).sum(), images).requires_grad


def chain(images, *factors):
    for factor in factors:
        images = images * factor
    return images.sum()


def test_a_small_half_precision_gradient_survives():
    images = leaf()
    loss = chain(images, 1e-4, 1e-4)  # float16 has nothing between 0 and 6e-8
    assert torch.autograd.grad(loss, images, retain_graph=True)[0].tolist() == [[[[0.0, 0.0]]]]
    found = input_gradient(loss, images)
    assert found.dtype == torch.float32
    assert found.flatten().tolist() == pytest.approx([1e-8, 1e-8], rel=1e-2)


@pytest.mark.parametrize("factors", [(10.0, 100.0), (300.0, 100.0), (50.0, 1.0)])
def test_the_scale_is_reduced_where_it_overflows(factors):
    images = leaf()
    loss = chain(images, *factors)
    assert torch.autograd.grad(loss * 2.0**12, images, retain_graph=True)[0].isinf().all()
    expected = factors[0] * factors[1]
    assert input_gradient(loss, images).flatten().tolist() == pytest.approx([expected, expected], rel=1e-3)


def test_a_gradient_that_is_not_finite_stays_so():
    images = leaf(0.0)
    assert input_gradient(images.sqrt().sum(), images).isinf().all()


def test_the_guided_gradient_is_scaled_as_well():
    images = leaf()
    loss = chain(images.relu(), 1e-4, 1e-4)
    assert guided_gradient(loss, images).flatten().tolist() == pytest.approx([1e-8, 1e-8], rel=1e-2)


def test_float16_autocast_is_half_precision_too():
    network = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(3)))
    images = torch.ones(1, 1, requires_grad=True)
    with torch.no_grad():
        for layer in network:
            layer.weight.fill_(1e-3)
    with torch.autocast("cpu", torch.float16):
        loss = network(images).float().sum()
        assert torch.autograd.grad(loss, images, retain_graph=True)[0].item() == 0
        found = input_gradient(loss, images)
    assert found.item() == pytest.approx(1e-9, rel=1e-2)


def test_bfloat16_comes_back_in_float32():
    images = leaf(1.0, torch.bfloat16)
    found = input_gradient(chain(images, 1e-20), images)  # as wide a range as float32: nothing to scale
    assert found.dtype == torch.float32
    assert found.flatten().tolist() == pytest.approx([1e-20, 1e-20], rel=1e-2)


def test_bad_arguments():
    images = leaf(1.0, torch.float32)
    with pytest.raises(ValueError, match="`loss` was not computed from `images`"):
        input_gradient(leaf(1.0, torch.float32).sum(), images)
    with pytest.raises(ValueError, match="require grad"):
        input_gradient(images.sum(), images.detach())
    with pytest.raises(ValueError, match="0-dim"):
        input_gradient(images * 2, images)
    with pytest.raises(ValueError, match="with a graph"):
        input_gradient(images.detach().sum(), images)
