"""`cam` by hand; `CAM` against the logits it explains, Grad-CAM, and networks whose head is another one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.cams import GradCAM
from camtrain.cams.cam import CAM, cam
from camtrain.gradients import Against, Contrast
from tests.cams.plain_weights import Convolution
from tests.cams.random_network import random_network


def test_hand_values():
    activations = torch.tensor(
        [
            [[[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 5.0]]],
            [[[2.0, 0.0], [0.0, 1.0]], [[0.0, 4.0], [0.0, 0.0]]],
        ]
    )
    cams = cam(activations, torch.tensor([[2.0, -1.0], [0.5, 1.0]]))
    assert torch.equal(cams, torch.tensor([[[1.0, 4.0], [6.0, 3.0]], [[1.0, 4.0], [0.0, 0.5]]]))


def test_gradcheck():
    generator = torch.Generator().manual_seed(0)
    activations = torch.randn(2, 3, 2, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    weights = torch.randn(2, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(cam, (activations, weights))


class GapAndLinear(nn.Module):
    """Two fixed features of the image, averaged, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        self.fc = nn.Linear(2, 3)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, -1.0]]).view(2, 3, 1, 1))
            self.fc.weight.copy_(torch.tensor([[4.0, 8.0], [-4.0, 4.0], [0.0, -8.0]]))
            self.fc.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.between(self.features(images)))

    def between(self, features: Tensor) -> Tensor:
        return features.mean(dim=(-2, -1))


IMAGE = torch.tensor([[[[1.0, 2.0], [0.0, 0.0]], [[0.0, 1.0], [3.0, 0.0]], [[0.0, 2.0], [1.0, 0.0]]]])
# Features: A_0 = [[1, 2], [0, 0]] and A_1 = [[0, -1], [2, 0]]; their means are 0.75 and 0.25; logits 5, -1, -2.


@pytest.mark.parametrize(
    ("class_idx", "expected"),
    [
        (0, [[4.0, 0.0], [16.0, 0.0]]),  # 4 A_0 + 8 A_1
        (1, [[-4.0, -12.0], [8.0, 0.0]]),  # -4 A_0 + 4 A_1
        (2, [[0.0, 8.0], [-16.0, 0.0]]),  # -8 A_1
        (torch.tensor([2]), [[0.0, 8.0], [-16.0, 0.0]]),
        (None, [[4.0, 0.0], [16.0, 0.0]]),  # the predicted class is 0
        (Against(2), [[0.0, -8.0], [16.0, 0.0]]),
        (Contrast(0, against=2), [[4.0, -8.0], [32.0, 0.0]]),
        (Contrast(), [[8.0, 12.0], [8.0, 0.0]]),  # the runner-up is 1
    ],
)
def test_network_by_hand(class_idx, expected):
    assert torch.equal(CAM(GapAndLinear(), "features")(IMAGE, class_idx), torch.tensor([expected]))


class PlainHead(nn.Module):
    """Weights that are plain tensors, so that `gradcheck` can put others in their place."""

    def __init__(self, stem: Tensor, target: Tensor, head: Tensor) -> None:
        super().__init__()
        self.stem, self.target, self.head = Convolution(stem), Convolution(target), nn.Linear(3, 4).double()
        del self.head.weight
        self.head.weight = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.target(self.stem(images)).mean(dim=(-2, -1)))


def test_gradcheck_end_to_end():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=generator)
    weights = [torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)
               for shape in ((2, 3, 3, 3), (3, 2, 3, 3), (4, 3))]  # fmt: skip

    def of_weights(*weights: Tensor) -> Tensor:
        return CAM(PlainHead(*weights), "target", differentiable=True)(images, Contrast(torch.tensor([2, 0]), 1))

    gradients = torch.autograd.grad(of_weights(*weights).square().sum(), weights)
    assert all(gradient.abs().amax() > 1e-3 for gradient in gradients)
    assert torch.autograd.gradcheck(of_weights, weights)


def test_dead_map():
    network = GapAndLinear()
    cams = CAM(network, "features", differentiable=True)(0 * IMAGE, 0)
    (gradient,) = torch.autograd.grad(cams.sum(), network.fc.weight)
    assert torch.equal(cams, torch.zeros(1, 2, 2))
    assert torch.equal(gradient, torch.zeros(3, 2))


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [("resnet18", "layer4", 64), ("mobilenet_v2", "features", 64), ("shufflenet_v2_x0_5", None, 64),
     ("efficientnet_b0", None, 64), ("googlenet", None, 64), ("resnet18", "layer4", 224)],
)  # fmt: skip
def test_mean_is_the_logit_without_its_bias_and_positive_part_is_grad_cam(name, layer, size):
    network = random_network(name)
    images, classes = torch.rand(2, 3, size, size), torch.tensor([3, 7])
    cams = CAM(network, layer)(images, classes)
    with torch.no_grad():
        logits = network(images)[torch.arange(2), classes]
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    scale = cams.abs().amax()
    torch.testing.assert_close(
        cams.mean(dim=(-2, -1)) / scale, (logits - head.bias.detach()[classes]) / scale, rtol=0, atol=1e-9
    )
    pixels = cams.shape[-2] * cams.shape[-1]
    assert pixels > 1
    grad_cams = GradCAM(network, layer)(images, classes)
    torch.testing.assert_close(cams.relu() / scale, pixels * grad_cams / scale, rtol=0, atol=1e-9)


def test_channels_last():
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm, self.head = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6), nn.Linear(6, 5)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.norm(self.embed(images).permute(0, 2, 3, 1)).mean(dim=(1, 2)))

    torch.manual_seed(0)
    network, images = Network(), torch.rand(2, 3, 16, 24)
    cams = CAM(network, "norm")(images, 3)
    with torch.no_grad():
        expected = torch.einsum(
            "k,nijk->nij", network.head.weight[3], network.norm(network.embed(images).movedim(1, -1))
        )
    torch.testing.assert_close(cams, expected)


def test_under_autocast():
    network = random_network("resnet18")
    images = torch.rand(2, 3, 64, 64)
    expected = CAM(network, "layer4")(images, 3)
    with torch.autocast("cpu", torch.bfloat16):
        cams = CAM(network, "layer4")(images, 3)
    assert (cams - expected).abs().amax() < 0.1 * expected.abs().amax()


# Networks whose logits are something else ----------------------------------------------------------


class ReLUBetween(GapAndLinear):
    def between(self, features: Tensor) -> Tensor:
        return features.relu().mean(dim=(-2, -1))


class MaxPooling(GapAndLinear):
    def between(self, features: Tensor) -> Tensor:
        return features.amax(dim=(-2, -1))


class DropoutBetween(GapAndLinear):
    def between(self, features: Tensor) -> Tensor:
        return F.dropout(features.mean(dim=(-2, -1)), 0.5, self.training)


class Temperature(GapAndLinear):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / 2


class WithoutLinear(GapAndLinear):
    def forward(self, images: Tensor) -> Tensor:
        weight = self.fc.weight
        return F.conv2d(self.features(images), weight[:, :, None, None]).mean(dim=(-2, -1))


class Flattened(GapAndLinear):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 3)

    def between(self, features: Tensor) -> Tensor:
        return features.flatten(1)


class TwoLinear(GapAndLinear):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(2, 2)

    def between(self, features: Tensor) -> Tensor:
        return self.hidden(features.mean(dim=(-2, -1)))


NOT_THE_AVERAGE = r"`target_layer`: the input of the head 'fc' is not the average .* off by .*; use GradCAM"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (ReLUBetween, NOT_THE_AVERAGE),
        (MaxPooling, NOT_THE_AVERAGE),
        (DropoutBetween, NOT_THE_AVERAGE),
        (TwoLinear, NOT_THE_AVERAGE),
        (Temperature, "`network`: its logits are not the output of an nn.Linear"),
        (WithoutLinear, "`network`: its logits are not the output of an nn.Linear"),
        (Flattened, r"`target_layer`: expected a layer with 8 channels, .* the head 'fc', got 2"),
    ],
)
def test_another_head(network, message):
    torch.manual_seed(0)
    network = network()
    with pytest.raises(ValueError, match=message):
        CAM(network, "features")(IMAGE, 0)
    assert not any(module._forward_hooks for module in network.modules())


def test_dropout_in_evaluation_mode_and_a_relu_that_does_nothing_do_not_matter():
    expected = CAM(GapAndLinear(), "features")(IMAGE, 0)
    assert torch.equal(CAM(DropoutBetween().eval(), "features")(IMAGE, 0), expected)
    positive = IMAGE * torch.tensor([1.0, 1.0, 0.0]).view(1, 3, 1, 1)
    expected = CAM(GapAndLinear(), "features")(positive, 0)
    assert torch.equal(CAM(ReLUBetween(), "features")(positive, 0), expected)


def test_wrong_layer():
    with pytest.raises(ValueError, match=r"`target_layer`: expected a layer with 512 channels.*'fc'.*got 256"):
        CAM(random_network("resnet18"), "layer3")(torch.rand(1, 3, 64, 64))


def test_several_layers():
    with pytest.raises(ValueError, match="`target_layer`: CAM works on one layer, got 2"):
        CAM(random_network("resnet18"), ["layer3", "layer4"])(torch.rand(1, 3, 64, 64))


def test_hooks_of_the_user_stay():
    network, seen = GapAndLinear(), []
    network.fc.register_forward_hook(lambda *_: seen.append(1))
    CAM(network, "features")(IMAGE, 0)
    network(IMAGE)
    assert len(seen) == 2
    assert len(network.fc._forward_hooks) == 1


def test_no_images():
    assert CAM(GapAndLinear(), "features")(torch.zeros(0, 3, 4, 5)).shape == (0, 4, 5)
