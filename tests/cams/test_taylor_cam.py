"""Taylor-CAM by hand, against the Hessian in loops, and what its score has to be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models import VisionTransformer

from camtrain.cams.taylor_cam import TaylorCAM, interaction_effects, marginal_map, taylor_cam
from camtrain.gradients import Contrast
from tests.cams.plain_weights import PlainWeights
from tests.cams.random_network import random_network

# The formula -------------------------------------------------------------------------------------


def test_hand_values():
    activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # 2 channels, 2 positions
    cross_derivatives = torch.tensor([[[[[1.0, 0.0]], [[2.0, 5.0]]], [[[-1.0, 4.0]], [[0.5, 7.0]]]]])  # of positions j
    effects = interaction_effects(activations, cross_derivatives)
    # j = 0: 1·1 + 3·2 and 2·0 + 0·5; j = 1: 1·(-1) + 3·0.5 and 2·4 + 0·7.
    assert torch.equal(effects, torch.tensor([[[[7.0, 0.0]], [[0.5, 8.0]]]]))
    pairs = taylor_cam(effects.view(1, 1, 2, 1, 2))
    assert torch.equal(pairs.view(2, 2), torch.tensor([[98.0, 0.25], [0.25, 128.0]]))
    assert torch.equal(marginal_map(pairs), torch.tensor([[[0.25, 0.25]]]))


def test_gradchecks():
    generator = torch.Generator().manual_seed(0)
    activations, effects = torch.randn(2, 3, 2, 2, generator=generator), torch.randn(2, 2, 3, 2, 3, generator=generator)
    cross_derivatives = torch.randn(2, 4, 3, 2, 2, generator=generator)
    both = activations.double().requires_grad_(), cross_derivatives.double().requires_grad_()
    assert torch.autograd.gradcheck(interaction_effects, both)
    assert torch.autograd.gradcheck(taylor_cam, effects.double().requires_grad_())
    assert torch.autograd.gradcheck(marginal_map, effects.double().requires_grad_())


class Behind(nn.Module):
    """A target layer that changes nothing, and any function behind it."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.target, self.function = nn.Identity(), function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(self.target(images))


def test_network_by_hand():
    # y = A_0 A_1 + A_2³ of the first channel, next to each other in one row: ∂²y/∂A_0∂A_1 = 1 and ∂²y/∂A_2² = 6 A_2.
    network = Behind(lambda a: (a[:, 0, 0, 0] * a[:, 0, 0, 1] + a[:, 0, 0, 2] ** 3).unsqueeze(1))
    image = torch.tensor([[3.0, 5.0, 2.0], [7.0, 7.0, 7.0], [9.0, 9.0, 9.0]]).view(1, 3, 1, 3)
    cam = TaylorCAM(network, "target", score="logit")
    # D_01 = 3, D_10 = 5, D_22 = 2 · 12.
    expected = torch.tensor([[0.0, 34.0, 0.0], [34.0, 0.0, 0.0], [0.0, 0.0, 2 * 24.0**2]])
    assert torch.equal(cam.pairs(image, 0).view(3, 3), expected)
    assert torch.equal(cam(image, 0), torch.tensor([[[34.0, 34.0, 0.0]]]))


# Against the Hessian -----------------------------------------------------------------------------

SCORES = {
    "probability": lambda logits, class_idx: logits.softmax(dim=1)[0, class_idx],
    "log_probability": lambda logits, class_idx: logits.log_softmax(dim=1)[0, class_idx],
    "logit": lambda logits, class_idx: logits[0, class_idx],
}


def _pairs_in_loops(behind: Callable[[Tensor], Tensor], activations: Tensor, score: str, class_idx: int) -> Tensor:
    """(h, w, h, w) of one image, from its whole Hessian."""
    _, channels, height, width = activations.shape
    hessian = torch.autograd.functional.hessian(lambda a: SCORES[score](behind(a), class_idx), activations)
    size = channels, height * width
    hessian, activations = hessian.reshape(*size, *size), activations.reshape(size)
    pairs = torch.zeros(height * width, height * width, dtype=activations.dtype)
    for i in range(height * width):
        for j in range(height * width):
            one = sum(activations[k, i] * hessian[k, i, m, j] for k in range(channels) for m in range(channels))
            other = sum(activations[k, j] * hessian[k, j, m, i] for k in range(channels) for m in range(channels))
            pairs[i, j] = one**2 + other**2
    return pairs.view(height, width, height, width)


@pytest.mark.parametrize(
    ("activation", "score"),
    [*((nn.GELU, score) for score in SCORES), (nn.ReLU, "probability"), (nn.ReLU, "log_probability")],
)
def test_equals_the_hessian_in_loops(activation, score):
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Softplus())
    behind = nn.Sequential(nn.Conv2d(4, 5, 2), activation(), nn.Flatten(), nn.Linear(10, 3))
    network = nn.Sequential(stem, behind).double()
    images, classes = torch.randn(2, 3, 5, 7, dtype=torch.float64), torch.tensor([2, 0])
    cam = TaylorCAM(network, "0", score=score)
    pairs = cam.pairs(images, classes)
    expected = torch.stack(
        [_pairs_in_loops(behind, stem(images[n : n + 1]).detach(), score, int(classes[n])) for n in range(2)]
    )
    assert pairs.shape == (2, 2, 3, 2, 3)
    assert expected.amax() > 1e-7
    torch.testing.assert_close(pairs, expected, rtol=1e-9, atol=1e-16)
    assert torch.equal(pairs, pairs.permute(0, 3, 4, 1, 2))
    flat = pairs.reshape(2, 6, 6).clone()
    flat.diagonal(dim1=1, dim2=2).zero_()
    torch.testing.assert_close(cam(images, classes), flat.sum(dim=2).view(2, 2, 3), rtol=1e-12, atol=1e-16)


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(
    ("name", "layer", "behind"),
    [
        ("resnet18", "layer3", lambda net: nn.Sequential(net.layer4, net.avgpool, nn.Flatten(1), net.fc)),
        (
            "vgg11",
            "features.15",
            lambda net: nn.Sequential(net.features[16:], net.avgpool, nn.Flatten(1), net.classifier),
        ),
        (
            "mobilenet_v2",
            "features.13",
            lambda net: nn.Sequential(net.features[14:], nn.AdaptiveAvgPool2d(1), nn.Flatten(1), net.classifier),
        ),
    ],
)
def test_equals_products_with_the_hessian_of_the_layers_behind(name, layer, behind):
    network = random_network(name)
    images = torch.rand(1, 3, 32, 32)
    seen = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: seen.append(output.clone()))
    with torch.no_grad():
        network(images)
    handle.remove()
    (activations,) = seen
    (_, _, height, width), effects = activations.shape, []
    for row in range(height):
        for column in range(width):
            direction = torch.zeros_like(activations)
            direction[:, :, row, column] = 1
            _, product = torch.autograd.functional.hvp(
                lambda a: behind(network)(a).softmax(dim=1)[0, 4], activations, direction
            )
            effects.append((activations * product).sum(dim=1))
    effects = torch.stack(effects, dim=1).view(1, height, width, height, width)
    expected = effects**2 + effects.permute(0, 3, 4, 1, 2) ** 2
    pairs = TaylorCAM(network, layer).pairs(images, 4)
    scale = expected.amax()
    assert scale > 0
    torch.testing.assert_close(pairs / scale, expected / scale, rtol=0, atol=1e-9)


class Tiny(VisionTransformer):
    """Two blocks, 2 × 2 patches and a class token."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(16, 8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3)
        nn.init.normal_(self.heads.head.weight)
        self.double().eval()


def test_vision_transformer():
    network, images, seen = Tiny(), torch.randn(1, 3, 16, 16, dtype=torch.float64), []
    block = network.encoder.layers.encoder_layer_1
    handle = block.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].clone()))
    with torch.no_grad():
        network(images)
    handle.remove()
    (tokens,) = seen

    def behind(activations: Tensor) -> Tensor:
        patches = activations.flatten(2).transpose(1, 2)
        normalized = torch.cat([block.ln_1(tokens[:, :1]), patches], dim=1)
        x = tokens + block.self_attention(normalized, normalized, normalized, need_weights=False)[0]
        return network.heads(network.encoder.ln(x + block.mlp(block.ln_2(x)))[:, 0])

    with sdpa_kernel(SDPBackend.MATH):
        activations = block.ln_1(tokens)[:, 1:].transpose(1, 2).reshape(1, 8, 2, 2).detach()
        expected = _pairs_in_loops(behind, activations, "probability", 1)
    pairs = TaylorCAM(network, "encoder.layers.encoder_layer_1.ln_1").pairs(images, 1)
    assert expected.amax() > 1e-9
    torch.testing.assert_close(pairs[0], expected, rtol=1e-9, atol=1e-16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layer_in_front_of_a_layer_norm_has_no_effects_but_rounding(dtype):
    network, images = Tiny().to(dtype), torch.randn(2, 3, 16, 16, dtype=dtype)
    for score in ("probability", "logit"):
        with pytest.raises(ValueError, match=r"`target_layer`: the score does not change if .* a LayerNorm follows"):
            TaylorCAM(network, "encoder.layers.encoder_layer_0", score=score)(images)


# Scores ------------------------------------------------------------------------------------------


def _small_network(activation: nn.Module, *head: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 6, 2), activation, *head, nn.Flatten()
    return nn.Sequential(*layers, nn.LazyLinear(5)).double().eval()


def test_on_a_network_of_relus_the_class_counts_for_the_probability_alone():
    network, images = _small_network(nn.ReLU()), torch.randn(2, 3, 7, 7, dtype=torch.float64)
    network(images)
    of_class = torch.stack([TaylorCAM(network, "1")(images, class_idx) for class_idx in range(5)])
    assert len({tuple(cams.flatten().tolist()) for cams in of_class}) == 5
    of_class = torch.stack([TaylorCAM(network, "1", score="log_probability")(images, c) for c in range(5)])
    assert of_class.amax() > 1e-9
    torch.testing.assert_close(of_class, of_class[:1].expand_as(of_class), rtol=1e-9, atol=0)
    smooth = _small_network(nn.GELU())
    smooth(images)
    of_class = torch.stack([TaylorCAM(smooth, "1", score="log_probability")(images, c) for c in range(5)])
    assert not torch.allclose(of_class, of_class[:1].expand_as(of_class))


@pytest.mark.parametrize("head", [(), (nn.AdaptiveAvgPool2d(1),), (nn.MaxPool2d(2),)])
def test_logit_that_is_linear_piece_by_piece_raises(head):
    network, images = _small_network(nn.ReLU(), *head), torch.randn(2, 3, 7, 7, dtype=torch.float64)
    network(images)
    for layer in ("1", "2", "3"):  # before convolution and ReLU, before the ReLU, where the logits are linear
        cam = TaylorCAM(network, layer, score="logit")
        for call in (cam, cam.pairs):
            with pytest.raises(ValueError, match=r"`score`: the second derivative of the logit is zero"):
                call(images, 1)
        with pytest.raises(ValueError, match=r"Use score='probability', or a network with smooth activations"):
            cam(images)
        assert TaylorCAM(network, layer)(images, 1).amax() > 0


def test_contrast_of_log_probabilities_is_one_of_logits():
    network, images = _small_network(nn.ReLU()), torch.randn(2, 3, 7, 7, dtype=torch.float64)
    network(images)
    with pytest.raises(ValueError, match="`score`: the second derivative of the log_probability is zero"):
        TaylorCAM(network, "1", score="log_probability")(images, Contrast(0, 1))
    assert TaylorCAM(network, "1")(images, Contrast(0, 1)).amax() > 0


def test_behind_average_pooling_and_a_linear_layer_pairs_say_no_more_than_positions():
    network = _small_network(nn.GELU(), nn.AdaptiveAvgPool2d(1))
    images = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    network(images)
    pairs = TaylorCAM(network, "3").pairs(images, 1).view(2, 9, 9)
    of_positions = pairs.diagonal(dim1=1, dim2=2) / 2
    assert of_positions.amax() > 1e-9
    torch.testing.assert_close(pairs, of_positions.unsqueeze(1) + of_positions.unsqueeze(2), rtol=1e-9, atol=0)


def test_a_certain_class_has_a_map_of_zeros():
    network, images = _small_network(nn.ReLU()), torch.randn(2, 3, 7, 7, dtype=torch.float64)
    network(images)
    with torch.no_grad():
        network[-1].bias[3] += 1e4
    assert torch.equal(TaylorCAM(network, "1")(images, 3), torch.zeros(2, 3, 3, dtype=torch.float64))


def test_dead_layer():
    network, images = _small_network(nn.ReLU()), torch.randn(1, 3, 7, 7, dtype=torch.float64)
    network(images)
    nn.init.constant_(network[0].bias, -100.0)
    cams = TaylorCAM(network, "1", differentiable=True)(images, 3)
    assert torch.equal(cams, torch.zeros_like(cams))
    gradients = torch.autograd.grad(cams.sum(), list(network.parameters()), allow_unused=True, materialize_grads=True)
    assert all(torch.equal(gradient, torch.zeros_like(gradient)) for gradient in gradients)


# Plumbing ----------------------------------------------------------------------------------------


def test_gradcheck_end_to_end():
    network = PlainWeights()
    images = torch.rand(1, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def of_weights(stem: Tensor, target: Tensor, behind: Tensor, head: Tensor) -> Tensor:
        network.stem.weight, network.target.weight, network.behind.weight, network.head = stem, target, behind, head
        return TaylorCAM(network, "target", score="logit", differentiable=True)(images, 2)

    convolutions = network.stem.weight, network.target.weight, network.behind.weight
    weights = [weight.clone().requires_grad_() for weight in (*convolutions, network.head)]
    cams = of_weights(*weights)
    assert cams.amin() > 1e-3
    for gradient in torch.autograd.grad(cams.sum(), weights):
        assert gradient.abs().amax() > 1e-3
    assert torch.autograd.gradcheck(of_weights, weights)


def test_pairs_can_be_trained_and_are_detached_by_default():
    torch.manual_seed(0)
    network = _small_network(nn.ReLU())
    images = torch.randn(2, 3, 7, 7, dtype=torch.float64)
    network(images)
    detached = TaylorCAM(network, "1").pairs(images, 1)
    assert not detached.requires_grad
    attached = TaylorCAM(network, "1", differentiable=True).pairs(images, 1)
    torch.testing.assert_close(attached.detach(), detached)
    weights = [network[0].weight, network[2].weight, network[-1].weight]
    for weight, gradient in zip(weights, torch.autograd.grad(attached.sum(), weights), strict=True):
        index = int(gradient.abs().argmax())
        entry, step, values = weight.detach().view(-1), 1e-6, []
        original = float(entry[index])
        for shifted in (original + step, original - step):
            entry[index] = shifted
            values.append(TaylorCAM(network, "1").pairs(images, 1).sum())
        entry[index] = original
        torch.testing.assert_close(gradient.flatten()[index], (values[0] - values[1]) / (2 * step), rtol=1e-4, atol=0)


def test_each_map_is_that_of_the_image_alone():
    network, images = _small_network(nn.GELU()), torch.randn(3, 3, 7, 7, dtype=torch.float64)
    network(images)
    cam, classes = TaylorCAM(network, "1"), torch.tensor([4, 0, 2])
    alone = torch.cat([cam.pairs(images[n : n + 1], int(classes[n])) for n in range(3)])
    torch.testing.assert_close(cam.pairs(images, classes), alone)
    torch.testing.assert_close(cam(images), cam(images, network(images).argmax(dim=1)))


def test_no_images_and_one_position():
    network = Behind(lambda a: a.square().mean(dim=(2, 3)))
    cam = TaylorCAM(network, "target", score="logit")
    assert cam(torch.zeros(0, 3, 4, 5)).shape == (0, 4, 5)
    assert cam.pairs(torch.zeros(0, 3, 4, 5)).shape == (0, 4, 5, 4, 5)
    assert cam.pairs(torch.ones(1, 3, 1, 1), 0).item() == 2 * 2.0**2
    assert cam(torch.ones(1, 3, 1, 1), 0).item() == 0  # no pair


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_pairs_in_evaluation_loops_leave_no_trace(mode):
    class Network(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(F.dropout(images, 0.1))

    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(36, 3)
    network, state = Network(*layers), torch.get_rng_state()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with mode():
        pairs = TaylorCAM(network, "1").pairs(torch.ones(2, 3, 5, 5), torch.tensor([0, 1]))
    assert pairs.amax() > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_wrong_arguments():
    network = _small_network(nn.ReLU())
    with pytest.raises(ValueError, match="`score`: expected 'probability', 'log_probability' or 'logit', got 'loss'"):
        TaylorCAM(network, "1", score="loss")
    with pytest.raises(ValueError, match="`target_layer`: no module is called 'layer9'"):
        TaylorCAM(network, "layer9")
    with pytest.raises(ValueError, match="`target_layer`: TaylorCAM works on one layer, got 2"):
        TaylorCAM(network, ["0", "1"])(torch.zeros(1, 3, 7, 7).double())
    detached = Behind(lambda a: torch.ones(len(a), 2) * nn.Parameter(torch.ones(2)))
    with pytest.raises(ValueError, match="`target_layer`: the logits do not depend on the output of this layer"):
        TaylorCAM(detached, "target")(torch.zeros(1, 3, 7, 7))
