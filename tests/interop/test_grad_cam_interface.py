"""Methods of camtrain where pytorch-grad-cam's are expected."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_grad_cam
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget
from torch import nn

from camtrain.attributions import SmoothGrad
from camtrain.cams import AblationCAM, EigenCAM, GradCAM, LayerCAM, ScoreCAM
from camtrain.interop import GradCAMInterface
from camtrain.methods import image_maps
from camtrain.networks import CIFARResNet

TARGETS = [ClassifierOutputTarget(each) for each in (1, 3, 0)]
# Their Grad-CAM++ has other weights, and their HiResCAM a ReLU that the paper has not.
PAIRS = [(GradCAM, pytorch_grad_cam.GradCAM), (LayerCAM, pytorch_grad_cam.LayerCAM)]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=4, width=4)


@pytest.fixture
def images():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", [GradCAM, LayerCAM, ScoreCAM, EigenCAM])
def test_maps_are_our_own(network, images, method):
    cam = GradCAMInterface(method, model=network, target_layers=[network.layer2])
    found = cam(input_tensor=images, targets=TARGETS)
    assert found.dtype == np.float32
    own = image_maps(network, images, method(network, "layer2"), torch.tensor([1, 3, 0]))
    np.testing.assert_array_equal(found, own.numpy())
    predicted = image_maps(network, images, method(network, "layer2"))
    np.testing.assert_array_equal(cam(images), predicted.numpy())
    assert network.training  # it is in evaluation mode only inside


def test_attributions_and_built_methods(network, images):
    method = SmoothGrad(network, num_samples=3, seed=0)
    found = GradCAMInterface(method)(images, TARGETS)
    np.testing.assert_array_equal(found, image_maps(network, images, method, torch.tensor([1, 3, 0])).numpy())


@pytest.mark.parametrize("smooth", [{}, {"aug_smooth": True}, {"eigen_smooth": True}])
@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_maps_and_smoothing_are_those_of_pytorch_grad_cam(network, images, ours, theirs, smooth):
    """At a layer of the size of the images, where it does not matter what is resized first."""
    network = network.eval()
    direct = theirs(network, [network.layer1])(images, TARGETS, **smooth)
    found = GradCAMInterface(ours, network, [network.layer1])(images, TARGETS, **smooth)
    if smooth == {"eigen_smooth": True}:
        # The sign of their direction is arbitrary, and what they keep is one side of it.
        sides = [abs(found - direct).max(axis=(1, 2)) < 1e-3]
        assert sum(sides[0]) >= 1
        flipped = (found > 0) & (direct > 0)
        for number, same in enumerate(sides[0]):
            assert same or not flipped[number].any()
    else:
        np.testing.assert_allclose(found, direct, atol=1e-4)


def test_the_only_output_of_a_network_is_yes(images):
    """`ClassifierOutputTarget(0)` is that output, and class 0 of a network with a single logit is "no"."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = nn.Sequential(network[:2], *network[2:], nn.Linear(4, 1)).eval()
    targets = [ClassifierOutputTarget(0)] * 3
    direct = pytorch_grad_cam.GradCAM(network, [network[0]])(images, targets)
    assert direct.max() > 0.9
    np.testing.assert_allclose(GradCAMInterface(GradCAM, network, [network[0]])(images, targets), direct, atol=1e-4)


def test_any_target(network, images):
    softmax = [ClassifierOutputSoftmaxTarget(each) for each in (1, 3, 0)]
    network = network.eval()
    direct = pytorch_grad_cam.GradCAM(network, [network.layer1])(images, softmax)
    found = GradCAMInterface(GradCAM, network, ["layer1"])(images, softmax)
    np.testing.assert_allclose(found, direct, atol=1e-4)
    with pytest.raises(ValueError, match="`targets`: expected one for each of 3 images, got 2"):
        GradCAMInterface(GradCAM, network, ["layer1"])(images, softmax[:2])


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.token = nn.Conv2d(3, 4, 4, 4), nn.Parameter(torch.ones(1, 1, 4))
        self.block, self.head = nn.Sequential(nn.Linear(4, 6), nn.GELU()), nn.Linear(6, 4)

    def forward(self, images):
        patches = self.embed(images).flatten(2).mT
        tokens = self.block(torch.cat([self.token.expand(len(images), -1, -1), patches], dim=1))
        return self.head(tokens.square().mean(dim=1))


def reshape(output):
    return output[:, 1:].mT.reshape(len(output), -1, 4, 4)


@pytest.mark.filterwarnings("ignore:`network`. it cannot be run from the target layer on alone")
def test_reshape_transform(images):
    torch.manual_seed(0)
    network = Tokens().eval()
    cam = GradCAMInterface(GradCAM, network, [network.block], reshape_transform=reshape)
    found = cam(images, TARGETS)
    np.testing.assert_allclose(found, GradCAMInterface(GradCAM, network, [network.block])(images, TARGETS), atol=1e-6)
    theirs = pytorch_grad_cam.GradCAM(network, [network.block], reshape_transform=reshape)(images, TARGETS)
    # Another order of resizing and normalizing, and other pixels at the corners.
    assert np.corrcoef(found.ravel(), theirs.ravel())[0, 1] > 0.99
    mirrored = GradCAMInterface(GradCAM, network, [network.block], reshape_transform=lambda out: reshape(out).flip(-1))
    np.testing.assert_allclose(mirrored(images, TARGETS), found[:, :, ::-1], atol=1e-6)
    with pytest.raises(ValueError, match=r"`reshape_transform`: .*no way back"):
        GradCAMInterface(AblationCAM, network, [network.block], reshape_transform=reshape)(images, TARGETS)
    with pytest.raises(ValueError, match=r"`reshape_transform`: expected \(N, C, h, w\), got \(3, 17, 6\)"):
        GradCAMInterface(GradCAM, network, [network.block], reshape_transform=lambda output: output)(images, TARGETS)


def test_what_does_not_go_together(network, images):
    with pytest.raises(TypeError, match=r"`eigen_smooth`: expected a method from activations and gradients.*ScoreCAM"):
        GradCAMInterface(ScoreCAM, network)(images, eigen_smooth=True)
    with pytest.raises(TypeError, match="`eigen_smooth`: expected False, since SmoothGrad has no channels"):
        GradCAMInterface(SmoothGrad, network)(images, eigen_smooth=True)
    with pytest.raises(TypeError, match="`target_layers`: expected None, since SmoothGrad has no target layer"):
        GradCAMInterface(SmoothGrad, network, [network.layer1])
    with pytest.raises(TypeError, match="`model`: expected the network that the method explains, got None"):
        GradCAMInterface(GradCAM)
    with pytest.raises(TypeError, match="`model`: expected None, since the method is built"):
        GradCAMInterface(GradCAM(network), network)
    with pytest.raises(TypeError, match=r"`method`: expected a class of camtrain.cams or camtrain.attributions"):
        GradCAMInterface("grad_cam", network)
    with GradCAMInterface(GradCAM, network) as cam:
        assert cam(images).shape == (3, 16, 16)
