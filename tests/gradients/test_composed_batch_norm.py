from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camtrain.gradients.composed_batch_norm import ComposedBatchNorm, composed_batch_norm


def case(affine=True, shape=(4, 3, 2, 5)):
    torch.manual_seed(0)
    images = (2 + 3 * torch.randn(shape)).double().requires_grad_()
    weight, bias = (torch.randn(3).double().requires_grad_() if affine else None for _ in range(2))
    return images, torch.randn(3).double(), torch.rand(3).double() + 0.5, weight, bias


def derivatives(function, images, mean, variance, weight, bias, training):
    """The output, and the first and second derivatives of a scalar of it."""
    output = function(images, mean.clone(), variance.clone(), weight, bias, training, 0.1, 1e-3)
    torch.manual_seed(1)
    inputs = [each for each in (images, weight, bias) if each is not None]
    first = torch.autograd.grad((output.sin() * torch.randn_like(output)).sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs, allow_unused=True)
    return [output, *first, *(each for each in second if each is not None)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 6), (4, 3, 2, 5)])
def test_value_and_derivatives_are_those_of_torch(shape, affine, training):
    given = case(affine, shape)
    composed, native = (derivatives(each, *given, training) for each in (composed_batch_norm, F.batch_norm))
    assert len(composed) == len(native)
    for found, expected in zip(composed, native, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_the_third_derivative(training):
    images, mean, variance, weight, _ = case(shape=(3, 3, 2))

    def second(images, weight):
        output = composed_batch_norm(images, mean, variance, weight, None, training)
        (first,) = torch.autograd.grad(output.sin().sum(), images, create_graph=True)
        return torch.autograd.grad(first.square().sum(), (images, weight), create_graph=True)

    assert torch.autograd.gradcheck(second, (images, weight))


@pytest.mark.parametrize("call", [nn.BatchNorm2d(3), lambda images: F.batch_norm(images, None, None, training=True)])
def test_the_context_replaces_modules_and_functions(call):
    images = torch.rand(2, 3, 4, 4, requires_grad=True)
    with ComposedBatchNorm():
        output = call(images)
    names, nodes = set(), [output.grad_fn]
    while nodes:
        node = nodes.pop()
        names.add(type(node).__name__)
        nodes += [each for each, _ in node.next_functions if each is not None]
    assert not [name for name in names if "BatchNorm" in name]
    assert "BatchNorm" in type(call(images).grad_fn).__name__, "outside it is torch's own again"


def test_the_function_below_the_functional_one():
    images, mean, variance, weight, bias = case()
    arguments = images, weight, bias, mean, variance, False, 0.1, 1e-3, False
    with ComposedBatchNorm():
        output = torch.batch_norm(*arguments)
    torch.testing.assert_close(output, torch.batch_norm(*arguments))
    assert "BatchNorm" not in type(output.grad_fn).__name__


def test_nothing_is_updated():
    layer, images = nn.BatchNorm2d(3), torch.rand(2, 3, 4, 4)
    with ComposedBatchNorm():
        layer(images)
    assert torch.equal(layer.running_mean, torch.zeros(3))
    assert torch.equal(layer.running_var, torch.ones(3))


def test_half_precision_keeps_its_precision_and_computes_in_another():
    layer, images = nn.BatchNorm2d(3), 100 + torch.rand(2, 3, 4, 4)
    with ComposedBatchNorm():
        output = layer(images.bfloat16())
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output, layer(images.bfloat16()))
