"""The plumbing that all attributions share: classes, graphs, evaluation loops, and leaving no trace."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camtrain.attributions import (
    GuidedBackprop,
    GuidedGradCAM,
    InputGradient,
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
)
from camtrain.gradients import Against, Contrast
from camtrain.methods import method_class
from tests.living_things import living_tensors, uncollected

METHODS = {
    "input_gradient": InputGradient,
    "input_x_gradient": InputXGradient,
    "guided_backprop": GuidedBackprop,
    "guided_grad_cam": lambda network, **options: GuidedGradCAM(network, "conv2", **options),
    "smooth_grad": lambda network, **options: SmoothGrad(network, num_samples=3, seed=0, **options),
    "smooth_grad_variance": lambda network, **options: SmoothGrad(
        network, num_samples=3, noise_level=0.5, statistic="variance", seed=0, **options
    ),
    "integrated_gradients": lambda network, **options: IntegratedGradients(
        network, num_steps=3, tolerance=None, **options
    ),
    "integrated_gradients_adaptive": lambda network, **options: IntegratedGradients(
        network, num_steps=2, tolerance=1.0, max_steps=18, **options
    ),
}
DIFFERENTIABLE = [name for name in METHODS if not name.startswith("guided")]


class SmallNetwork(nn.Module):
    """Everything that an explanation could disturb: normalization layers, dropout, in-place ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.instance_norm = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
        self.dropout = nn.Dropout2d(0.25)
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        # A curved layer, so that a gradient depends on the biases too.
        self.head = nn.Sequential(nn.Conv2d(6, 5, 3), nn.ReLU(inplace=True), nn.Tanh(), nn.Flatten(), nn.Linear(180, 4))

    def forward(self, images: Tensor) -> Tensor:
        features = self.dropout(self.instance_norm(self.bn(self.conv1(images)).relu()))
        return self.head(self.relu(self.conv2(features)))


@pytest.fixture
def network() -> SmallNetwork:
    torch.manual_seed(1)
    network = SmallNetwork().eval()
    network.instance_norm.running_var.mul_(0.25)
    with torch.no_grad():  # attributions well above the tolerances of comparisons
        network.conv2.weight.mul_(2)
        network.head[0].weight.mul_(2)
        network.head[-1].weight.mul_(40)
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        network.head[-1].bias.sub_(network(images).mean(dim=0))  # so that the images differ in their classes
    return network


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


# Classes -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("double_by_default")
def test_class_idx_int_tensor_or_none(method, network, images):
    attribution = method(network)
    of_class = torch.stack([attribution(images, class_idx) for class_idx in range(4)])  # (4, 3, 3, 8, 8)
    assert of_class.flatten(2).abs().amax(dim=2).min() > 1e-3
    assert len({tuple(values.flatten().tolist()) for values in of_class}) == 4
    each = torch.arange(3)
    for classes in (torch.tensor([2, 0, 3]), torch.tensor([2, 0, 3], dtype=torch.int32)):
        torch.testing.assert_close(attribution(images, classes), of_class[classes.long(), each])
    predicted = network(images).argmax(dim=1)
    assert len(predicted.unique()) > 1
    torch.testing.assert_close(attribution(images), of_class[predicted, each])


@pytest.mark.usefixtures("double_by_default")
def test_each_image_is_explained_as_if_it_were_alone(method, network, images):
    attribution = method(network)
    alone = torch.cat([attribution(images[n : n + 1], n) for n in range(3)])
    torch.testing.assert_close(attribution(images, torch.arange(3)), alone)


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize("name", ["input_gradient", "input_x_gradient", "smooth_grad", "integrated_gradients"])
def test_contrast_is_the_difference_and_against_the_negative_where_the_method_is_linear(name, network, images):
    attribution = METHODS[name](network)
    one, two = attribution(images, 1), attribution(images, torch.tensor([0, 2, 3]))
    torch.testing.assert_close(attribution(images, Contrast(1, torch.tensor([0, 2, 3]))), one - two)
    torch.testing.assert_close(attribution(images, Against(1)), -one)


@pytest.mark.parametrize("name", ["guided_backprop", "guided_grad_cam", "smooth_grad_variance"])
def test_contrast_and_against_are_scores_of_their_own_where_it_is_not(name, network, images):
    attribution = METHODS[name](network)
    assert attribution(images, Contrast(1, 0)).abs().amax() > 0
    assert not torch.allclose(attribution(images, Contrast(1, 0)), attribution(images, 1) - attribution(images, 0))


@pytest.mark.parametrize(
    ("class_idx", "message"),
    [
        (4, r"`class_idx`.*0 to 3, got 4"),
        (torch.tensor([0, 1]), r"`class_idx`.*each of 3 images"),
        (torch.rand(3), r"`class_idx`.*integers, got torch.float32"),
    ],
)
def test_wrong_class_idx(method, network, images, class_idx, message):
    with pytest.raises(ValueError, match=message):
        method(network)(images, class_idx)


# Images and networks -----------------------------------------------------------------------------


def test_no_images(method, network):
    network.instance_norm = nn.Identity()  # torch's own works on one image at least
    assert method(network)(torch.zeros(0, 3, 8, 8)).shape == (0, 3, 8, 8)


def test_integer_images(method, network):
    with pytest.raises(TypeError, match=r"`images`: expected floating-point .*got torch.uint8"):
        method(network)(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_network_without_logits(method, network, images):
    network.head.append(nn.Unflatten(1, (2, 2)))
    with pytest.raises(ValueError, match=r"`network`: expected \(N, K\) logits, got"):
        method(network)(images)


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("name", ["input_gradient", "smooth_grad", "integrated_gradients"])
def test_logits_that_do_not_depend_on_the_images(name, trainable, network, images):
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.requires_grad_(trainable)

        def forward(self, images: Tensor) -> Tensor:
            return self.network(images.detach())

    with pytest.raises(ValueError, match="`network`: expected logits in one graph with the images"):
        METHODS[name](Detached())(images)


def test_frozen_network(method, network, images):
    expected = method(network)(images, 0)
    network.requires_grad_(False)
    assert torch.equal(method(network)(images, 0), expected)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_flat_images_and_a_dead_network(method, network):
    nn.init.constant_(network.conv2.bias, -100.0)
    attributions = method(network)(torch.full((1, 3, 8, 8), 0.5), 0)
    assert torch.equal(attributions, torch.zeros(1, 3, 8, 8))


# Graphs ------------------------------------------------------------------------------------------


def test_detached_by_default(method, network, images):
    images.requires_grad_()
    attributions = method(network)(images, 0)
    assert not attributions.requires_grad
    assert images.requires_grad
    assert images.grad is None


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_differentiable_is_the_same_and_its_gradient_reaches_head_stem_and_images(name, network, images):
    expected = METHODS[name](network)(images, 0)
    attributions = METHODS[name](network, differentiable=True)(images.requires_grad_(), 0)
    torch.testing.assert_close(attributions.detach(), expected)
    wanted = {"images": images, "stem": network.conv1.weight, "middle": network.conv2.weight}
    wanted |= {"bias": network.conv1.bias, "head": network.head[-1].weight}
    gradients = torch.autograd.grad(attributions.square().sum(), list(wanted.values()))
    for wanted_name, gradient in zip(wanted, gradients, strict=True):
        assert gradient.abs().amax() > 0, wanted_name


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_of_a_penalty_is_what_finite_differences_say(name, network, images):
    network, images = network.double(), images.double()
    coefficients = torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    classes = torch.tensor([2, 0, 1])

    def penalty(differentiable: bool) -> Tensor:
        return (coefficients * METHODS[name](network, differentiable=differentiable)(images, classes)).sum()

    for parameter in (network.conv1.weight, network.conv2.weight, network.head[-1].weight):
        (gradients,) = torch.autograd.grad(penalty(True), parameter)
        index = int(gradients.abs().argmax())
        assert gradients.flatten()[index].abs() > 1e-6
        entry, step = parameter.detach().view(-1), 1e-6
        original = float(entry[index])
        values = []
        for shifted in (original + step, original - step):
            entry[index] = shifted
            values.append(penalty(False))
        entry[index] = original
        torch.testing.assert_close(
            gradients.flatten()[index], (values[0] - values[1]) / (2 * step), rtol=1e-5, atol=1e-9
        )


@pytest.mark.parametrize("name", ["guided_backprop", "guided_grad_cam"])
def test_guided_methods_cannot_be_differentiable(name, network):
    with pytest.raises(ValueError, match=r"`differentiable`: expected False.*not the derivative of any function"):
        METHODS[name](network, differentiable=True)


# Evaluation loops --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_in_evaluation_loops(mode, method, network, images):
    expected = method(network)(images, torch.tensor([1, 2, 0]))
    with mode():
        batch, classes = images * 1, torch.tensor([1, 2, 0])
        assert batch.is_inference() == (mode is torch.inference_mode)
        attributions = method(network)(batch, classes)
        assert not torch.is_grad_enabled()
    assert not attributions.is_inference()
    assert torch.equal(attributions, expected)


# Leaving no trace --------------------------------------------------------------------------------


# With dropout no score is a function of the image, so that nothing can be complete.
@pytest.mark.filterwarnings("ignore:integrated gradients")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_leaves_the_network_and_the_generator_as_found(method, network, images, training, fails):
    network.train(training)
    network.head[1].eval()
    network.conv1.weight.requires_grad_(False)
    network.conv2.weight.grad = torch.full_like(network.conv2.weight, 0.5)
    network.bn.running_mean.add_(0.25)
    before = _trace(network)
    attribution = method(network)
    if fails:
        with pytest.raises(ValueError, match="`class_idx`"):
            attribution(images, 9)
    else:
        attribution(images, 1)
    after = _trace(network)
    assert before.keys() == after.keys()
    for name, value in before.items():
        same = torch.equal(value, after[name]) if isinstance(value, Tensor) else value == after[name]
        assert same, name


def _trace(network: nn.Module) -> dict[str, object]:
    trace: dict[str, object] = {"random state": torch.get_rng_state(), "gradients": torch.is_grad_enabled()}
    for name, module in network.named_modules():
        for attribute, value in vars(module).items():
            if attribute.endswith("hooks"):
                trace[f"{name}.{attribute}"] = list(value.values())
            elif isinstance(value, (bool, int, float, str)):
                trace[f"{name}.{attribute}"] = value
    for name, parameter in network.named_parameters():
        trace[name], trace[f"{name}.requires_grad"] = parameter.detach().clone(), parameter.requires_grad
        trace[f"{name}.grad"] = None if parameter.grad is None else parameter.grad.clone()
    return trace | {f"buffer {name}": buffer.clone() for name, buffer in network.named_buffers()}


def test_leaves_the_images_alone(method, network, images):
    before = images.clone()
    method(network)(images, 1)
    assert torch.equal(images, before)
    assert not images.requires_grad


@pytest.mark.parametrize("name", METHODS)
def test_keeps_no_tensors(name, network, images):
    attribution = METHODS[name](network, **({"differentiable": True} if name in DIFFERENTIABLE else {}))
    with uncollected():
        attribution(images, 0)
        before = living_tensors()
        for _ in range(3):
            attribution(images, 0)
        assert living_tensors() == before


@pytest.mark.parametrize(
    "name", ["integrated_gradients", "input_x_gradient", "gradient_shap", "deep_lift", "occlusion"]
)
def test_attributions_that_add_up_to_a_score_are_summed_with_their_sign(name):
    """Evidence against the class is no evidence for it."""
    assert method_class(name).reduction == "sum"
