"""`GuidedBackprop` by hand, against captum where captum is right, and against modules that guide by themselves."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from captum.attr import GuidedBackprop as CaptumGuidedBackprop
from torch import Tensor, nn
from torchvision import models

from camtrain.attributions import GuidedBackprop, InputGradient
from camtrain.gradients import Against
from tests.attributions.lifelike_network import lifelike_network


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        # At -1 the forward gate is closed, at 7 that of ReLU6 alone; at 3 the gradient arrives negative.
        (nn.ReLU(), [0.0, 2.0, 0.0, 4.0]),
        (nn.ReLU(inplace=True), [0.0, 2.0, 0.0, 4.0]),
        (F.relu, [0.0, 2.0, 0.0, 4.0]),
        (nn.ReLU6(), [0.0, 2.0, 0.0, 0.0]),
        (lambda x: x.clamp(min=0), [0.0, 2.0, 0.0, 4.0]),
    ],
)
def test_network_by_hand(activation, expected):
    class Network(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return (activation(images * 1) * torch.tensor([1.0, 2.0, -3.0, 4.0])).sum(dim=(1, 2, 3)).unsqueeze(1)

    image = torch.tensor([-1.0, 2.0, 3.0, 7.0]).view(1, 1, 1, 4)
    assert GuidedBackprop(Network())(image).flatten().tolist() == expected
    # That of the negative score: what is positive there.
    assert GuidedBackprop(Network())(image, Against()).flatten().tolist() == [0.0, 0.0, 3.0, 0.0]


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", 64), ("vgg11", 64), pytest.param("resnet18", 224, marks=pytest.mark.slow)]
)
def test_equals_captum(name, size):
    network = lifelike_network(name)
    images, classes = torch.rand(2, 3, size, size), torch.tensor([3, 7])
    theirs = _of_captum(network, images, classes)
    ours = GuidedBackprop(network)(images, classes)
    scale = theirs.abs().amax()
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-9)
    assert (ours - InputGradient(network)(images, classes)).norm() > 0.5 * ours.norm()


@pytest.mark.usefixtures("double_by_default")
def test_equals_modules_that_guide_by_themselves_where_captum_returns_the_plain_gradient():
    network = lifelike_network("mobilenet_v2")
    images, classes = torch.rand(2, 3, 64, 64), torch.tensor([3, 7])
    ours, plain = GuidedBackprop(network)(images, classes), InputGradient(network)(images, classes)
    scale = plain.abs().amax()
    torch.testing.assert_close(_of_captum(network, images, classes) / scale, plain / scale, rtol=0, atol=1e-9)
    guided = _with_guided_relu6(network)
    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(guided(leaf)[torch.arange(2), classes].sum(), leaf)
    scale = expected.abs().amax()
    torch.testing.assert_close(ours / scale, expected / scale, rtol=0, atol=1e-9)
    assert (ours - plain).norm() > 0.5 * ours.norm()


def _of_captum(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    # A copy: captum's hooks need ReLUs that do not work in place.
    network = copy.deepcopy(network)
    with pytest.warns(UserWarning, match="Setting backward hooks on ReLU activations"):
        return CaptumGuidedBackprop(network).attribute(images.clone().requires_grad_(), target=classes).detach()


class _GuidedReLU6(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(0, 6)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * ((x > 0) & (x < 6) & (gradient > 0))


class _GuidedModule(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _GuidedReLU6.apply(x)


def _with_guided_relu6(network: nn.Module) -> nn.Module:
    network = copy.deepcopy(network)
    replaced = 0
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, _GuidedModule())
                replaced += 1
    assert replaced == 35
    return network


def test_network_without_a_gate():
    with pytest.raises(
        ValueError,
        match=r"`network`: expected a network with ReLUs that can be guided; .* no ReLU-like activation.*Found: .*Gelu",
    ):
        GuidedBackprop(models.convnext_tiny(weights=None, num_classes=2).eval())(torch.rand(1, 3, 32, 32))
