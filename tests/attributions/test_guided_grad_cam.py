"""`GuidedGradCAM` by hand, against captum, and against its two factors made one by one."""

from __future__ import annotations

import copy

import pytest
import torch
from captum.attr import GuidedGradCam as CaptumGuidedGradCam
from torch import nn

from camtrain.attributions import GuidedBackprop, GuidedGradCAM, guided_grad_cam
from camtrain.cams import GradCAM, resize
from camtrain.networks import CIFARResNet
from tests.attributions.lifelike_network import lifelike_network


def test_hand_values():
    guided = torch.tensor([[[[1.0, -1.0, 2.0, 1.0]], [[0.0, 2.0, 4.0, 3.0]]]])
    # Bilinear interpolation of (0, 4) to four pixels: 0, 1, 3, 4.
    expected = torch.tensor([[[[0.0, -1.0, 6.0, 4.0]], [[0.0, 2.0, 12.0, 12.0]]]])
    assert torch.equal(guided_grad_cam(guided, torch.tensor([[[0.0, 4.0]]])), expected)


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "layer4"), ("resnet18", "layer2"), ("vgg11", "features")])
def test_equals_captum(name, layer):
    network = lifelike_network(name).double()
    images, classes = torch.rand(2, 3, 64, 64).double(), torch.tensor([3, 7])
    # A copy: captum's hooks need ReLUs that do not work in place.
    theirs = copy.deepcopy(network)
    with pytest.warns(UserWarning, match="Setting backward hooks on ReLU activations"):
        expected = CaptumGuidedGradCam(theirs, theirs.get_submodule(layer)).attribute(
            images.clone().requires_grad_(), target=classes, interpolate_mode="bilinear"
        )
    ours = GuidedGradCAM(network, layer)(images, classes)
    scale = expected.abs().amax()
    assert scale > 0
    torch.testing.assert_close(ours / scale, expected.detach() / scale, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        ("mobilenet_v2", "features", 64),
        ("resnet18", "layer3", 64),
        pytest.param("resnet18", "layer4", 224, marks=pytest.mark.slow),
    ],
)
def test_equals_its_factors(name, layer, size):
    network = lifelike_network(name)
    images, classes = torch.rand(2, 3, size, size), torch.tensor([3, 7])
    guided, cams = GuidedBackprop(network)(images, classes), GradCAM(network, layer)(images, classes)
    expected = guided * resize(cams, (size, size)).unsqueeze(1)
    ours = GuidedGradCAM(network, layer)(images, classes)
    scale = expected.abs().amax()
    assert scale > 0
    torch.testing.assert_close(ours / scale, expected / scale, rtol=0, atol=1e-9)


def test_one_pass_and_the_layer_that_is_found():
    torch.manual_seed(0)
    network, images = CIFARResNet(8).eval(), torch.rand(2, 3, 16, 16)
    attribution = GuidedGradCAM(network)
    found = attribution(images)
    assert torch.equal(found, GuidedGradCAM(network, "layer3")(images))
    assert found.abs().amax() > 0
    passes = []
    handle = network.register_forward_hook(lambda *_: passes.append(1))
    attribution(images)
    handle.remove()
    assert len(passes) == 1


def test_wrong_layers():
    class Network(CIFARResNet):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.unused(images)
            return super().forward(images)

    network = Network(8)
    network.unused = nn.Conv2d(3, 4, 1)
    with pytest.raises(ValueError, match="`target_layer`: no module is called 'layer9'"):
        GuidedGradCAM(network, "layer9")
    with pytest.raises(ValueError, match="`target_layer`: the logits do not depend on the output of this layer"):
        GuidedGradCAM(network, "unused")(torch.rand(1, 3, 16, 16))
