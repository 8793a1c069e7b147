"""`grad_cam_plus_plus` by hand, against loops and the derivatives of exp(S); `GradCAMPlusPlus` against its peers."""

from __future__ import annotations

import pytest
import pytorch_grad_cam
import torch
from torch import Tensor, nn

from camtrain.cams.grad_cam_plus_plus import GradCAMPlusPlus, grad_cam_plus_plus
from tests.cams.library_map import library_map
from tests.cams.plain_weights import check_gradients
from tests.cams.random_network import PARITY_CASES, random_network


def test_hand_values():
    activations = torch.tensor(
        [
            [[[1.0, 2.0], [3.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]],  # sums 6 and 2
            [[[2.0, 0.0], [0.0, 2.0]], [[0.0, 4.0], [0.0, 0.0]]],  # sums 4 and 4
        ]
    )
    gradients = torch.tensor(
        [
            # 1 / (2 + 6) + 3 / (2 + 18) = 0.275, and 2 / (2 + 4) = 1 / 3
            [[[1.0, 0.0], [3.0, -5.0]], [[-1.0, 2.0], [0.0, 0.0]]],
            # 0.5 / (2 + 2) = 0.125, and nothing positive
            [[[0.5, 0.0], [0.0, -0.5]], [[-1.0, 0.0], [-2.0, 0.0]]],
        ]
    )
    first, second, third = 0.275, 1 / 3, 0.125
    expected = torch.tensor(
        [
            [[first, 2 * first + second], [3 * first + second, 0.0]],
            [[2 * third, 0.0], [0.0, 2 * third]],
        ]
    )
    torch.testing.assert_close(grad_cam_plus_plus(activations, gradients), expected)


def test_sum_of_activations_is_taken_before_it_meets_the_gradient():
    # A = (1, 3), g = (1, 2): denominators 2 + 4·1 and 2 + 4·2. With Σ A g³ = 25 they would be 2 + 25 and 2 + 25 / 4.
    cams = grad_cam_plus_plus(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[1.0, 2.0]]]]))
    torch.testing.assert_close(cams, (1 / 6 + 2 / 10) * torch.tensor([[[1.0, 3.0]]]))


def test_equals_the_formula_in_loops():
    activations, gradients = _random(2, 3, 4, 5)
    expected = torch.zeros(2, 4, 5, dtype=torch.float64)
    for n in range(2):
        for k in range(3):
            total = sum(activations[n, k, a, b] for a in range(4) for b in range(5))
            weight = 0.0
            for i in range(4):
                for j in range(5):
                    g = gradients[n, k, i, j]
                    weight += g**2 / (2 * g**2 + total * g**3) * max(g, 0.0)
            # The gradient of the third channel is negative everywhere but at a pixel, so that the maps differ.
            expected[n] += weight * activations[n, k]
    torch.testing.assert_close(grad_cam_plus_plus(activations, gradients), expected.relu(), rtol=1e-12, atol=1e-14)
    assert expected.amax() > 0


@pytest.mark.parametrize("behind", ["linear", "relu"])
def test_equals_the_derivatives_of_the_exponential_score_by_autograd(behind):
    """Equations 1, 5 and 10 of the paper, with ∂²Y/∂A² and ∂³Y/∂A³ of Y = exp(S) as autograd has them."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Conv2d(2, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4, 3)]
    if behind == "linear":
        layers[2:] = [nn.Flatten(), nn.Linear(2 * 9, 3)]
    network = nn.Sequential(*layers).double()
    image, class_idx = torch.rand(1, 3, 5, 5, dtype=torch.float64), 1
    with torch.no_grad():
        network[-1].weight.mul_(3)
    activations = network[:2](image).detach().requires_grad_()
    score = network[2:](activations)[0, class_idx].exp()  # Y
    (first,) = torch.autograd.grad(score, activations, create_graph=True)
    second, third = torch.zeros(18, dtype=torch.float64), torch.zeros(18, dtype=torch.float64)
    for pixel in range(18):
        (row,) = torch.autograd.grad(first.flatten()[pixel], activations, create_graph=True)
        second[pixel] = row.flatten()[pixel]
        third[pixel] = torch.autograd.grad(row.flatten()[pixel], activations, retain_graph=True)[0].flatten()[pixel]
    second, third = second.detach().view_as(first), third.view_as(first)
    denominator = 2 * second + activations.detach().sum(dim=(-2, -1), keepdim=True) * third
    alpha = second / torch.where(denominator == 0, 1.0, denominator)
    weights = (alpha * first.detach().relu()).sum(dim=(-2, -1), keepdim=True)
    expected = (weights * activations.detach()).sum(dim=1).relu()
    ours = GradCAMPlusPlus(network, "1")(image, class_idx)
    torch.testing.assert_close(score.detach() * ours, expected, rtol=1e-10, atol=1e-14)
    assert (expected > 1e-3).any()
    assert score < 0.9 or score > 1.1  # the factor that is left out of our map can be seen


def test_gradcheck():
    activations, gradients = _random(2, 3, 2, 4)
    assert torch.autograd.gradcheck(grad_cam_plus_plus, (activations.requires_grad_(), gradients.requires_grad_()))


def test_gradcheck_end_to_end():
    check_gradients(lambda network, layer, *batch: GradCAMPlusPlus(network, layer, differentiable=True)(*batch))


@pytest.mark.parametrize(
    ("activation", "gradient", "expected"),
    [
        (0.0, 0.0, 0.0),  # dead
        (0.0, 1.0, 0.0),
        (3.0, 0.0, 0.0),  # 0 / 0 in the formula as it stands
        (3.0, -1.0, 0.0),
        (-1.0, 0.5, 0.0),  # the denominator is 2 - 4 · 0.5 = 0
    ],
)
def test_map_without_evidence_is_zeros_with_zero_gradient(activation, gradient, expected):
    activations = torch.full((1, 2, 2, 2), activation, requires_grad=True)
    gradients = torch.full((1, 2, 2, 2), gradient, requires_grad=True)
    cams = grad_cam_plus_plus(activations, gradients)
    assert torch.equal(cams, torch.full((1, 2, 2), expected))
    for derivative in torch.autograd.grad(cams.sum(), [activations, gradients]):
        assert torch.equal(derivative, torch.zeros(1, 2, 2, 2))


def test_small_gradients_do_not_underflow():
    activations, gradients = _random(2, 3, 4, 5)
    gradients = 1e-20 * gradients  # g² and g³ are zero in float32
    ours = grad_cam_plus_plus(activations.float(), gradients.float())
    torch.testing.assert_close(1e20 * ours.double(), 1e20 * _formula(activations, gradients), rtol=1e-5, atol=0)
    assert ours.amax() > 0


def test_half_precision_does_not_overflow():
    activations = torch.full((1, 2, 40, 40), 100.0, dtype=torch.float16)  # the sum of a channel is 160000
    gradients = torch.full((1, 2, 40, 40), 0.5, dtype=torch.float16)
    cams = grad_cam_plus_plus(activations, gradients)
    torch.testing.assert_close(cams, grad_cam_plus_plus(activations.float(), gradients.float()))
    assert cams.amin() > 0


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(("name", "layer", "size"), PARITY_CASES)
def test_equals_the_formula_in_float64(name, layer, size):
    # pytorch-grad-cam adds 1e-6 to a denominator of the size of g², which for most networks is much smaller than that.
    network = random_network(name)
    images, classes = torch.rand(2, 3, size, size), torch.tensor([3, 7])
    ours = GradCAMPlusPlus(network, layer)(images, classes)
    activations, gradients = _captured(network, layer, images, classes)
    expected = _formula(activations.double(), gradients.double())
    scale = expected.amax()
    torch.testing.assert_close(ours.double() / scale, expected / scale, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize(("name", "layer", "size"), PARITY_CASES)
def test_equals_pytorch_grad_cam_where_gradients_are_not_small(name, layer, size):
    network = random_network(name)
    images, classes = torch.rand(2, 3, size, size), torch.tensor([3, 7])
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    largest = _captured(network, layer, images, classes)[1].abs().amax()
    head.weight.data.mul_(1e6 / largest)  # what pytorch-grad-cam adds to the denominator is then nothing beside g²
    theirs = library_map(pytorch_grad_cam.GradCAMPlusPlus, network, layer, images, classes)
    ours = GradCAMPlusPlus(network, layer)(images, classes)
    scale = theirs.amax()
    assert scale > 0
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-9)


def _captured(network: nn.Module, layer: str, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Activations and gradients, by a hook and autograd alone."""
    outputs: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    logits = network(images)
    handle.remove()
    (gradients,) = torch.autograd.grad(logits[torch.arange(len(images)), classes].sum(), outputs)
    return outputs[0].detach(), gradients


def _formula(activations: Tensor, gradients: Tensor) -> Tensor:
    """Equation 19 as it stands, at unit scale of the gradients, of which the map is no homogeneous function."""
    denominator = 2 * gradients**2 + activations.sum(dim=(-2, -1), keepdim=True) * gradients**3
    alpha = torch.where(gradients == 0, 0.0, gradients**2 / torch.where(denominator == 0, 1.0, denominator))
    weights = (alpha * gradients.relu()).sum(dim=(-2, -1), keepdim=True)
    return (weights * activations).sum(dim=1).relu()


def _random(*shape: int) -> tuple[Tensor, Tensor]:
    """Activations as after a ReLU, though nowhere at its kink, and gradients of both signs."""
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(*shape, dtype=torch.float64, generator=generator)
    return torch.rand(*shape, dtype=torch.float64, generator=generator), gradients
