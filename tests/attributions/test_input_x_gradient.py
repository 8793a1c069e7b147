"""`InputXGradient` by hand, against captum, and `gradcheck`."""

from __future__ import annotations

import pytest
import torch
from captum.attr import InputXGradient as CaptumInputXGradient
from torch import nn

from camtrain.attributions import InputXGradient, input_x_gradient
from tests.attributions.lifelike_network import lifelike_network
from tests.attributions.plain_weights import check_gradients


def test_hand_values():
    images, gradients = torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([[[[-3.0, 5.0]]]])
    assert torch.equal(input_x_gradient(images, gradients), torch.tensor([[[[-6.0, 0.0]]]]))


def test_adds_up_to_the_logit_without_biases():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5, bias=False)
    network = nn.Sequential(*layers).double()
    images = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    attributions = InputXGradient(network)(images, 2)
    torch.testing.assert_close(attributions.sum(dim=(1, 2, 3)), network(images)[:, 2].detach())


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize("name", ["resnet18", "vgg11", "mobilenet_v2"])
def test_equals_captum(name):
    network = lifelike_network(name)
    images, classes = torch.randn(2, 3, 64, 64), torch.tensor([3, 7])
    theirs = CaptumInputXGradient(network).attribute(images.clone().requires_grad_(), target=classes).detach()
    ours = InputXGradient(network)(images, classes)
    scale = theirs.abs().amax()
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-9)


def test_gradcheck_end_to_end():
    check_gradients(lambda network: InputXGradient(network, differentiable=True))
