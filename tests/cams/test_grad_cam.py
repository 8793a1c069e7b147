"""`grad_cam` by hand and against loops; `GradCAM` against Zhou's CAM, autograd by hand, and captum."""

from __future__ import annotations

import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn
from torchvision import models

from camtrain.cams import GradCAM, grad_cam
from camtrain.networks import CIFARResNet
from tests.lean_vgg import lean_vgg11


def test_hand_values():
    activations = torch.tensor(
        [
            [[[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0], [0.0, 5.0]]],
            [[[2.0, 0.0], [0.0, 1.0]], [[0.0, 4.0], [0.0, 0.0]]],
        ]
    )
    gradients = torch.tensor(
        [
            [[[4.0, 0.0], [0.0, 0.0]], [[-1.0, -2.0], [-2.0, -3.0]]],  # weights 1 and -2
            [[[0.5, 0.5], [0.5, 0.5]], [[1.0, 1.0], [0.0, 0.0]]],  # weights 0.5 and 0.5
        ]
    )
    expected = torch.tensor([[[0.0, 0.0], [3.0, 0.0]], [[1.0, 2.0], [0.0, 0.5]]])
    assert torch.equal(grad_cam(activations, gradients), expected)


def test_equals_the_formula_in_loops():
    activations, gradients = torch.randn(2, 3, 4, 5, 2, dtype=torch.float64, generator=_generator()).unbind(-1)
    expected = torch.zeros(2, 4, 5, dtype=torch.float64)
    for n in range(2):
        for i in range(4):
            for j in range(5):
                value = sum(
                    sum(gradients[n, k, a, b] for a in range(4) for b in range(5)) / 20 * activations[n, k, i, j]
                    for k in range(3)
                )
                expected[n, i, j] = max(value, torch.tensor(0.0))
    torch.testing.assert_close(grad_cam(activations, gradients), expected, rtol=1e-12, atol=1e-14)
    assert 0 < (expected > 0).sum() < expected.numel()  # both sides of the ReLU are seen


def test_gradcheck():
    activations, gradients = torch.randn(2, 3, 2, 4, 2, dtype=torch.float64, generator=_generator()).unbind(-1)
    assert torch.autograd.gradcheck(grad_cam, (activations.requires_grad_(), gradients.requires_grad_()))


class GapAndLinear(nn.Module):
    """Two fixed features of the image, averaged, and a linear layer: the network of Zhou's CAM."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        self.fc = nn.Linear(2, 3)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, -1.0]]).view(2, 3, 1, 1))
            self.fc.weight.copy_(torch.tensor([[4.0, 8.0], [-4.0, 4.0], [0.0, -8.0]]))
            self.fc.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(images).mean(dim=(-2, -1)))


IMAGE = torch.tensor([[[[1.0, 2.0], [0.0, 0.0]], [[0.0, 1.0], [3.0, 0.0]], [[0.0, 2.0], [1.0, 0.0]]]])
# Features: A_0 = [[1, 2], [0, 0]] and A_1 = [[0, -1], [2, 0]]; their means are 0.75 and 0.25; logits 5, -1, -2.


@pytest.mark.parametrize(
    ("class_idx", "expected"),
    [
        (0, [[1.0, 0.0], [4.0, 0.0]]),  # A_0 + 2 A_1 = [[1, 0], [4, 0]]
        (1, [[0.0, 0.0], [2.0, 0.0]]),  # -A_0 + A_1 = [[-1, -3], [2, 0]]
        (2, [[0.0, 2.0], [0.0, 0.0]]),  # -2 A_1 = [[0, 2], [-4, 0]]
        (None, [[1.0, 0.0], [4.0, 0.0]]),  # the predicted class is 0
    ],
)
def test_network_by_hand(class_idx, expected):
    cams = GradCAM(GapAndLinear(), "features")(IMAGE, class_idx)
    assert torch.equal(cams, torch.tensor([expected]))


def test_is_zhous_cam_over_hw_behind_pooling_and_one_linear_layer():
    torch.manual_seed(0)
    network = CIFARResNet(8, num_classes=4).double().eval()
    images = torch.rand(3, 3, 20, 12, dtype=torch.float64)
    with torch.no_grad():
        stages = nn.Sequential(network.conv1, network.bn1, network.relu, network.layer1, network.layer2, network.layer3)
        activations = stages(images)  # (3, 64, 5, 3)
    positive = 0
    for class_idx in range(4):
        zhou = torch.einsum("k,nkij->nij", network.fc.weight[class_idx].detach(), activations)
        cams = GradCAM(network, "layer3")(images, class_idx)
        torch.testing.assert_close(cams, zhou.relu() / (5 * 3), rtol=1e-10, atol=1e-14)
        positive += int((cams > 0).sum())
    assert positive > 0


def test_equals_autograd_through_the_layers_behind_written_out():
    torch.manual_seed(0)
    network = CIFARResNet(8, num_classes=4).double().eval()
    images, classes = torch.rand(3, 3, 16, 16, dtype=torch.float64), torch.tensor([3, 0, 1])
    front = nn.Sequential(network.conv1, network.bn1, network.relu, network.layer1)
    behind = nn.Sequential(network.layer2, network.layer3, network.avgpool, nn.Flatten(1), network.fc)
    expected = []
    for image, label in zip(images, classes, strict=True):
        activations = front(image[None]).detach().requires_grad_()
        (gradients,) = torch.autograd.grad(behind(activations)[0, label], activations)
        alpha = gradients[0].sum(dim=(-2, -1)) / 256
        expected.append((alpha[:, None, None] * activations[0]).sum(0).clamp(min=0).detach())
    cams = GradCAM(network, "layer1")(images, classes)
    torch.testing.assert_close(cams, torch.stack(expected), rtol=1e-9, atol=1e-14)
    assert cams.amax() > 0


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(
    ("name", "layers"),
    [("resnet18", ["layer4", "layer2"]), ("vgg11", ["features", "features.8"]), ("mobilenet_v2", ["features"])],
)
def test_equals_captum(name, layers):
    torch.manual_seed(0)
    network = (lean_vgg11() if name == "vgg11" else models.get_model(name, num_classes=10)).eval()
    images, classes = torch.rand(2, 3, 64, 64), torch.tensor([3, 7])
    for layer in layers:
        theirs = LayerGradCam(network, network.get_submodule(layer)).attribute(
            images, target=classes, relu_attributions=True
        )
        ours = GradCAM(network, layer)(images, classes)
        # Random weights make small maps: the tolerance of 1e-9 is relative to the largest value.
        scale = theirs.abs().amax()
        assert scale > 0
        torch.testing.assert_close(ours / scale, theirs.detach().squeeze(1) / scale, rtol=0, atol=1e-9)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
