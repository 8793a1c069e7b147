"""`InputGradient` by hand, against captum, and `gradcheck`."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Saliency
from torch import nn

from camtrain.attributions import InputGradient, saliency_map
from tests.attributions.lifelike_network import lifelike_network
from tests.attributions.plain_weights import check_gradients


def test_network_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, -1.0, 0.0], [0.0, 2.0, 1.0]]).view(2, 3, 1, 1))
        network[3].weight.copy_(torch.tensor([[1.0, 3.0, -1.0, 2.0], [0.0, -1.0, 5.0, 1.0]]))
    image = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, -3.0]]).view(1, 3, 1, 2)
    # Features (1, -1) and (2, -1) of the two pixels: the ReLU passes those of the first pixel alone.
    # Class 0: weights 1 and -1 there: 1 · (1, -1, 0) - 1 · (0, 2, 1). Class 1: 0 and 5.
    expected = {0: [1.0, -3.0, -1.0], 1: [0.0, 10.0, 5.0]}
    for class_idx, values in expected.items():
        gradient = InputGradient(network)(image, class_idx)
        assert torch.equal(gradient[0, :, 0, 0], torch.tensor(values))
        assert torch.equal(gradient[0, :, 0, 1], torch.zeros(3))
    assert torch.equal(InputGradient(network)(image), InputGradient(network)(image, 1))  # logits -1 and 10


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", 64), ("vgg11", 64), ("mobilenet_v2", 64), pytest.param("resnet18", 224, marks=pytest.mark.slow)],
)
def test_equals_captum(name, size):
    network = lifelike_network(name)
    images, classes = torch.rand(2, 3, size, size), torch.tensor([3, 7])
    theirs = Saliency(network).attribute(images.clone().requires_grad_(), target=classes, abs=False)
    ours = InputGradient(network)(images, classes)
    scale = theirs.abs().amax()
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-9)
    theirs = Saliency(network).attribute(images.clone().requires_grad_(), target=classes).amax(dim=1)
    torch.testing.assert_close(saliency_map(ours) / scale, theirs / scale, rtol=0, atol=1e-9)


def test_gradcheck_end_to_end():
    check_gradients(lambda network: InputGradient(network, differentiable=True))
