from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain.gradients import captured_activations


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 9, 2))


def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 5, 5)


@pytest.mark.parametrize("differentiable", [True, False])
def test_captures_what_the_layer_puts_out_before_the_next_one_works_in_place(differentiable):
    model = network()
    with captured_activations(model[0], differentiable=differentiable) as captured:
        output = model(images())
    expected = model[0](images())
    assert (expected < 0).any(), "otherwise the in-place ReLU changes nothing"
    assert torch.equal(captured.activations, expected)
    assert torch.equal(output, model(images())), "capturing changes no result"


@pytest.mark.parametrize("differentiable", [True, False])
def test_the_gradient_at_the_layer(differentiable):
    model = network()
    with captured_activations(model[0], differentiable=differentiable) as captured:
        score = model(images())[:, 1].sum()
    (found,) = torch.autograd.grad(score, captured.activations)
    activations = captured.activations.detach()
    expected = model[3].weight[1].reshape(1, 4, 3, 3) * (activations > 0)
    assert torch.equal(found, expected)


def test_only_a_differentiable_capture_keeps_what_lies_before_the_layer():
    model = network()
    with captured_activations(model[0], differentiable=True) as captured:
        model(images())
    assert torch.autograd.grad(captured.activations.sum(), model[0].weight)[0].abs().sum() > 0
    with captured_activations(model[0], differentiable=False) as captured:
        score = model(images()).sum()
    assert captured.activations.is_leaf
    assert torch.autograd.grad(score, model[0].weight, allow_unused=True)[0] is None


def test_works_where_gradients_are_off():
    model = network()
    with torch.no_grad(), captured_activations(model[0], differentiable=False) as captured:
        model[:1](images())
    assert captured.activations.requires_grad


def test_the_hook_is_removed_also_after_an_error():
    model = network()
    with pytest.raises(RuntimeError, match="inside"), captured_activations(model[0], differentiable=True):
        raise RuntimeError("inside")
    assert not model[0]._forward_hooks


def test_a_layer_that_runs_never_or_twice_or_puts_out_no_map():
    model = network()
    with captured_activations(model[0], differentiable=True) as captured:
        pass
    with pytest.raises(ValueError, match="it ran 0 times"):
        captured.activations
    with captured_activations(model[0], differentiable=True) as captured:
        model(images())
        model(images())
    with pytest.raises(ValueError, match="it ran 2 times; choose the block around it"):
        captured.activations
    with (
        captured_activations(model[3], differentiable=True),
        pytest.raises(ValueError, match=r"puts out \(N, C, h, w\), got \(2, 2\)"),
    ):
        model(images())
