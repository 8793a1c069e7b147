"""Methods of other libraries give their own maps as methods of camtrain, and leave no trace."""

from __future__ import annotations

import captum.attr
import numpy as np
import pytest
import pytorch_grad_cam
import torch
import torchcam.methods
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from camtrain.cams import GradCAM, normalize
from camtrain.gradients import Against, Contrast
from camtrain.interop import CaptumAttribution, CaptumLayer, GradCAMMethod, TorchcamMethod, method_of
from camtrain.methods import image_maps
from camtrain.networks import CIFARResNet

LABELS = torch.tensor([1, 3, 0])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=4, width=4).eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


AT_THE_INPUT = {
    "Saliency": ({}, "max"),
    "GuidedBackprop": ({}, "max"),
    "InputXGradient": ({}, "sum"),
    "IntegratedGradients": ({"n_steps": 5}, "sum"),
    "Occlusion": ({"sliding_window_shapes": (3, 8, 8), "strides": (3, 4, 4)}, "sum"),
    "GradientShap": ({"baselines": torch.zeros(2, 3, 16, 16), "n_samples": 3}, "sum"),
}


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize("name", AT_THE_INPUT)
def test_an_attribution_of_captum(network, images, name):
    options, reduction = AT_THE_INPUT[name]
    theirs = getattr(captum.attr, name)(network)
    method = method_of(theirs, seed=3, **options)
    assert isinstance(method, CaptumAttribution)
    assert method.reduction == reduction
    found = method(images, LABELS)
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    direct = theirs.attribute(images.clone().requires_grad_(), target=LABELS, **options).detach()
    assert torch.equal(found, direct)
    assert found.abs().max() > 0
    reduced = direct.abs().amax(1) if reduction == "max" else direct.sum(1)
    low, high = (getattr(reduced, end)(dim=(1, 2), keepdim=True) for end in ("amin", "amax"))
    torch.testing.assert_close(image_maps(network, images, method, LABELS), (reduced - low) / (high - low))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LayerGradCam", {"relu_attributions": True}),
        ("LayerGradientXActivation", {}),
        ("LayerIntegratedGradients", {"n_steps": 4}),
    ],
)
def test_a_layer_of_captum(network, images, name, options):
    theirs = getattr(captum.attr, name)(network, network.layer2)
    method = method_of(theirs, **options)
    assert isinstance(method, CaptumLayer)
    direct = theirs.attribute(images, target=LABELS, **options).detach().sum(dim=1)
    assert torch.equal(method(images, LABELS), direct)
    assert direct.abs().max() > 0


def test_captums_grad_cam_is_ours(network, images):
    theirs = captum.attr.LayerGradCam(network, network.layer2)
    ours = GradCAM(network, "layer2")(images, LABELS)
    torch.testing.assert_close(method_of(theirs, relu_attributions=True)(images, LABELS), ours)


def test_tokens_of_a_layer_of_captum(images):
    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.block, self.head = nn.Conv2d(3, 4, 4, 4), nn.Sequential(nn.Linear(4, 4)), nn.Linear(4, 3)

        def forward(self, images):
            return self.head(self.block(self.embed(images).flatten(2).mT).square().mean(dim=1))

    network = Patches()
    theirs = captum.attr.LayerGradientXActivation(network, network.block)
    direct = theirs.attribute(images, target=1).detach().sum(dim=2).view(3, 4, 4)
    torch.testing.assert_close(method_of(theirs)(images, 1), direct)
    reshaped = method_of(theirs, reshape_transform=lambda found: found.sum(dim=2).view(-1, 4, 4))
    torch.testing.assert_close(reshaped(images, 1), direct)


@pytest.mark.parametrize("options", [{}, {"eigen_smooth": True}, {"aug_smooth": True}])
@pytest.mark.parametrize("name", ["GradCAM", "LayerCAM", "EigenCAM", "GradCAMElementWise"])
def test_a_map_of_pytorch_grad_cam(network, images, name, options):
    theirs = getattr(pytorch_grad_cam, name)(network, [network.layer2])
    method = method_of(theirs, **options)
    assert isinstance(method, GradCAMMethod)
    found = method(images, LABELS)
    direct = theirs(images, [ClassifierOutputTarget(int(label)) for label in LABELS], **options)
    np.testing.assert_array_equal(found.numpy(), direct)
    assert direct.max() > 0.5


def test_a_map_of_pytorch_grad_cam_from_changed_images(network, images):
    theirs = pytorch_grad_cam.ScoreCAM(network, [network.layer2])
    direct = theirs(images, [ClassifierOutputTarget(int(label)) for label in LABELS])
    np.testing.assert_array_equal(method_of(theirs)(images, LABELS).numpy(), direct)


@pytest.mark.parametrize("name", ["GradCAM", "GradCAMpp", "LayerCAM", "XGradCAM", "ScoreCAM"])
def test_a_map_of_torchcam(network, images, name):
    theirs = getattr(torchcam.methods, name)(network, "layer2")
    method = method_of(theirs)
    assert isinstance(method, TorchcamMethod)
    found = method(images, LABELS)
    direct = theirs(LABELS.tolist(), network(images))[0]
    assert torch.equal(found, direct)
    assert direct.max() > 0.9


def test_layers_of_torchcam_are_fused(network, images):
    theirs = torchcam.methods.LayerCAM(network, ["layer2", "layer3"])
    direct = theirs.fuse_cams(theirs(LABELS.tolist(), network(images)))
    assert torch.equal(method_of(theirs)(images, LABELS), direct)


@pytest.mark.parametrize("library", ["pytorch_grad_cam", "torchcam"])
def test_other_questions_than_a_class(network, images, library):
    if library == "torchcam":
        theirs = torchcam.methods.GradCAM(network, "layer1")  # of the size of the images
    else:
        theirs = pytorch_grad_cam.GradCAM(network, [network.layer1])
    method, ours = method_of(theirs), GradCAM(network, "layer1")
    for question in (None, Contrast(LABELS, 2), Against(1), lambda output: output[:, 1] - output[:, 2]):
        theirs_normalized = method(images, question)
        own = normalize(ours(images, question))
        assert own.max() == 1
        torch.testing.assert_close(normalize(theirs_normalized), own, atol=1e-4, rtol=0)


def test_a_single_logit(images):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))
    both = torch.tensor([1, 0, 1])
    own = GradCAM(network, "1")(images, both)
    found = method_of(torchcam.methods.GradCAM(network, "1"), normalized=False)(images, both)
    torch.testing.assert_close(found, own)
    with pytest.raises(ValueError, match=r"captum explains classes of several logits, got Tensor of a single logit"):
        method_of(captum.attr.Saliency(network))(images, both)


def test_captum_says_what_it_cannot_explain(network, images):
    with pytest.raises(ValueError, match=r"`class_idx`: captum explains classes of several logits, got Contrast; give"):
        method_of(captum.attr.Saliency(network))(images, Contrast(1, 2))


def test_a_function_given_to_captum(network, images):
    theirs = captum.attr.Saliency(lambda images: network(images).softmax(dim=1))
    with pytest.raises(TypeError, match="`network`: expected the module that the Saliency explains"):
        method_of(theirs)
    found = method_of(theirs, network)(images, LABELS)
    assert torch.equal(found, theirs.attribute(images.clone().requires_grad_(), target=LABELS))


@pytest.mark.parametrize(
    "made",
    [
        lambda network: captum.attr.Saliency(network),
        lambda network: captum.attr.NoiseTunnel(captum.attr.Saliency(network)),
        lambda network: pytorch_grad_cam.GradCAM(network, [network.layer2]),
        lambda network: pytorch_grad_cam.RandomCAM(network, [network.layer2]),
        lambda network: torchcam.methods.LayerCAM(network, "layer2"),
    ],
)
def test_leaves_no_trace_and_repeats(network, images, made):
    method = method_of(made(network))
    network.train()
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    gradients = [parameter.grad for parameter in network.parameters()]
    statistics = network.bn1.running_mean.clone()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    with torch.inference_mode():
        first = method(images, LABELS)
        torch.rand(3)
        assert torch.equal(method(images, LABELS), first)
    torch.set_rng_state(states[0])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert network.training
    assert torch.equal(network.bn1.running_mean, statistics)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert parameter.grad is gradient
        assert (gradient == 1).all()


def test_pytorch_grad_cam_keeps_nothing_of_further_passes(network, images):
    theirs = pytorch_grad_cam.GradCAM(network, [network.layer2])
    method = method_of(theirs)
    method(images, LABELS)
    network(images).sum().backward()
    assert len(theirs.activations_and_grads.activations) == len(theirs.activations_and_grads.gradients) == 0
    direct = theirs(images, [ClassifierOutputTarget(1)] * 3)  # works as before
    np.testing.assert_array_equal(method(images, 1).numpy(), direct)


def test_after_a_with_statement(network, images):
    with pytorch_grad_cam.GradCAM(network, [network.layer2]) as first, torchcam.methods.LayerCAM(network) as second:
        methods = method_of(first), method_of(second)
    for method in methods:
        with pytest.raises(ValueError, match="its hooks were removed at the end of its `with` statement"):
            method(images, 1)


def test_what_is_none(network):
    with pytest.raises(TypeError, match="`found`: expected an object of captum, pytorch-grad-cam or torchcam, got 'x'"):
        method_of("x")
    with pytest.raises(TypeError, match="got the class Saliency"):
        method_of(captum.attr.Saliency)
    with pytest.raises(TypeError, match="`target`: expected none"):
        method_of(captum.attr.Saliency(network), target=3)
