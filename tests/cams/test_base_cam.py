"""The plumbing of `BaseCAM`: layers, classes, differentiation, and leaving no trace."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.cams import BaseCAM, GradCAM, GradientCAM
from camtrain.gradients import Against, ClassIndex, Contrast
from camtrain.networks import CIFARResNet
from tests.living_things import living_tensors, uncollected


class SmallNetwork(nn.Module):
    """Everything that an explanation could disturb: normalization layers, dropout, an in-place ReLU after `conv2`."""

    def __init__(self, inplace: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.instance_norm = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
        self.dropout = nn.Dropout2d(0.5)
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=inplace)
        self.head = nn.Sequential(nn.Conv2d(6, 5, 3), nn.ReLU(inplace=inplace), nn.Flatten(), nn.Linear(5 * 36, 4))
        self.unused = nn.Conv2d(6, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.dropout(self.instance_norm(self.bn(self.conv1(images)).relu()))
        return self.head(self.relu(self.conv2(features)))


class SignedCAM(GradientCAM):
    """Grad-CAM before its ReLU, so that no map of a random network is zeros."""

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        return 1e3 * (gradients.mean(dim=(-2, -1), keepdim=True) * activations).sum(dim=1)


@pytest.fixture
def network() -> SmallNetwork:
    torch.manual_seed(0)
    return SmallNetwork()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


# Classes -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("double_by_default")
def test_class_idx_int_tensor_or_none(network, images):
    network.eval()
    cam = SignedCAM(network, "conv2")
    of_class = torch.stack([cam(images, class_idx) for class_idx in range(4)])  # (4, 3, 8, 8)
    assert len({tuple(maps.flatten().tolist()) for maps in of_class}) == 4
    each = torch.arange(3)
    for classes in (torch.tensor([2, 0, 3]), torch.tensor([2, 0, 3], dtype=torch.int32), torch.tensor([1, 1, 1])):
        torch.testing.assert_close(cam(images, classes), of_class[classes.long(), each])
    torch.testing.assert_close(cam(images, torch.tensor(2)), of_class[2])


def test_class_idx_none_is_the_predicted_class_of_each_image(network, images):
    network.eval()
    with torch.no_grad():
        network.head[-1].bias.sub_(network(images).mean(dim=0))  # so that the images differ in their classes
        predicted = network(images).argmax(dim=1)
    assert len(predicted.unique()) > 1
    cam = SignedCAM(network, "conv2")
    torch.testing.assert_close(cam(images), cam(images, predicted), rtol=0, atol=0)
    assert not torch.allclose(cam(images), cam(images, (predicted + 1) % 4))


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize("differentiable", [False, True])
def test_each_map_is_that_of_the_image_alone(network, images, differentiable):
    network.eval()
    cam = SignedCAM(network, "conv2", differentiable=differentiable)
    alone = torch.cat([cam(images[n : n + 1], n) for n in range(3)])
    torch.testing.assert_close(cam(images, torch.arange(3)), alone)
    assert alone.flatten(1).abs().amax(dim=1).min() > 0


@pytest.mark.usefixtures("double_by_default")
def test_contrast_and_against_are_the_same_combination_of_maps_as_of_scores(network, images):
    network.eval()
    cam = SignedCAM(network, "conv2")
    of_class = torch.stack([cam(images, class_idx) for class_idx in range(4)])
    torch.testing.assert_close(cam(images, Against(2)), -of_class[2])
    torch.testing.assert_close(cam(images, Contrast(2, 0)), of_class[2] - of_class[0])
    each, labels, others = torch.arange(3), torch.tensor([2, 0, 3]), torch.tensor([1, 3, 3])
    contrast = cam(images, Contrast(labels, others))
    torch.testing.assert_close(contrast, of_class[labels, each] - of_class[others, each])
    assert torch.equal(contrast[2], torch.zeros(8, 8))  # of a class with itself
    with torch.no_grad():
        first, second = network(images).topk(2).indices.unbind(1)
    torch.testing.assert_close(cam(images, Contrast()), of_class[first, each] - of_class[second, each])
    torch.testing.assert_close(cam(images, Against()), -of_class[first, each])


@pytest.mark.parametrize(
    ("class_idx", "message"),
    [
        (4, r"`class_idx`.*0 to 3, got 4"),
        (Contrast(0, 4), r"`class_idx`.*0 to 3, got 4"),
        (Against(torch.tensor([0, 1])), r"`class_idx`.*each of 3 images"),
        (-1, r"`class_idx`.*0 to 3, got -1"),
        (torch.tensor([0, 1, 7]), r"`class_idx`.*0 to 3, got 7"),
        (torch.tensor([0, 1]), r"`class_idx`.*each of 3 images"),
        (torch.zeros(3, 4, dtype=torch.int64), r"`class_idx`.*each of 3 images"),
        (1.0, r"`class_idx`.*integers, got torch.float32"),
        (torch.rand(3), r"`class_idx`.*integers, got torch.float32"),
        (True, r"`class_idx`.*integers, got torch.bool"),
    ],
)
def test_wrong_class_idx(network, images, class_idx, message):
    with pytest.raises(ValueError, match=message):
        SignedCAM(network, "conv2")(images, class_idx)


@pytest.mark.parametrize("output", [lambda x: (x, x), lambda x: x[0]])
def test_network_without_logits(images, output):
    class Network(SmallNetwork):
        def forward(self, images: Tensor) -> Tensor:
            return output(super().forward(images))

    with pytest.raises(ValueError, match=r"`network`: expected \(N, K\) logits, got"):
        SignedCAM(Network(), "conv2")(images)


def test_no_images():
    assert GradCAM(CIFARResNet(8).eval(), "layer2")(torch.zeros(0, 3, 8, 8)).shape == (0, 4, 4)


# Layers ------------------------------------------------------------------------------------------


def test_the_layer_is_found_in_training_mode_too():
    """A single image has one pixel for each channel of the last layer, which has no statistics of its own."""
    torch.manual_seed(0)
    network = CIFARResNet(8, num_classes=3)
    network.layer3.append(nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.BatchNorm2d(64)))
    images = torch.rand(2, 3, 8, 8)
    expected = SignedCAM(network, "layer3.0")(images, 0)
    assert torch.equal(SignedCAM(network)(images, 0), expected)
    assert network.training


def test_the_layer_is_found_for_each_size_of_images():
    torch.manual_seed(0)
    network = CIFARResNet(8).eval()
    method = SignedCAM(network)
    for size, layer in ((16, "layer3"), (4, "layer2"), (16, "layer3")):
        images = torch.rand(1, 3, size, size)
        assert torch.equal(method(images), SignedCAM(network, layer)(images))


def test_target_layer_by_name_by_module_or_found(network, images):
    network.eval()
    by_name = SignedCAM(network, "relu")(images)
    assert by_name.abs().amax() > 0
    assert torch.equal(SignedCAM(network, network.relu)(images), by_name)
    inner = SignedCAM(network, "head.0")(images)
    assert inner.shape == (3, 6, 6)
    assert torch.equal(SignedCAM(network, network.head[0])(images), inner)
    # The last spatial layer is the ReLU of the head.
    assert torch.equal(SignedCAM(network)(images), SignedCAM(network, "head.1")(images))


def test_unknown_name_tells_the_nearest_ones(network):
    with pytest.raises(ValueError, match=r"`target_layer`: no module is called 'conv3'; did you mean .*'conv2'"):
        SignedCAM(network, "conv3")
    with pytest.raises(ValueError, match=r"`target_layer`: no module is called ''"):
        SignedCAM(network, "")


def test_module_of_another_network(network):
    with pytest.raises(ValueError, match=r"`target_layer`: the Conv2d given is not a module of the network"):
        SignedCAM(network, SmallNetwork().conv2)


@pytest.mark.parametrize("target_layer", [3, ["conv2", None], {"conv2"}])
def test_target_layer_of_another_type(network, target_layer):
    with pytest.raises(TypeError, match="`target_layer`: expected a dotted name, a module or None"):
        SignedCAM(network, target_layer)


def test_several_target_layers(network):
    expected = [network.conv2, network.head[0]]
    for target_layer in (["conv2", "head.0"], ("conv2", network.head[0]), [network.conv2, network.head[0]]):
        assert SignedCAM(network, target_layer).layers(torch.zeros(1, 3, 8, 8)) == expected
    with pytest.raises(ValueError, match="`target_layer`: SignedCAM works on one layer, got 2"):
        SignedCAM(network, ["conv2", "head.0"]).layer(torch.zeros(1, 3, 8, 8))
    assert SignedCAM(network, ["conv2"]).layer(torch.zeros(1, 3, 8, 8)) is network.conv2


@pytest.mark.parametrize(
    ("target_layer", "message"),
    [
        ([], "expected at least one layer, got none"),
        (["conv2", "conv2"], "expected different layers, got"),
        (["conv2", "conv3"], "no module is called 'conv3'"),
        ([SmallNetwork().conv2], "the Conv2d given is not a module of the network"),
    ],
)
def test_wrong_target_layers(network, target_layer, message):
    with pytest.raises(ValueError, match=f"`target_layer`: .*{message}"):
        SignedCAM(network, target_layer)


def test_the_same_layer_by_name_and_by_module(network):
    with pytest.raises(ValueError, match="`target_layer`: expected different layers"):
        SignedCAM(network, ["conv2", network.conv2])


def test_layer_without_pixels(network, images):
    with pytest.raises(
        ValueError, match=r"`target_layer`: expected a layer that puts out \(N, C, h, w\), .*, got \(3, 4\)"
    ):
        SignedCAM(network, "head.3")(images)


def test_layer_that_puts_out_a_tuple(images):
    class Pair(nn.Conv2d):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward(images), images

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair(3, 4, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.pair(images)[0].mean(dim=(-2, -1))

    with pytest.raises(ValueError, match=r"`target_layer`: .* got tuple"):
        SignedCAM(Network(), "pair")(images)


def test_layer_that_runs_twice(images):
    network = CIFARResNet(8)
    with pytest.raises(ValueError, match=r"`target_layer`: .*it ran 2 times; choose the block around it"):
        SignedCAM(network, "layer1.0.relu")(images)


def test_layer_that_never_runs(network, images):
    with pytest.raises(ValueError, match=r"`target_layer`: .*it ran 0 times"):
        SignedCAM(network, "unused")(images)


@pytest.mark.parametrize("frozen", [False, True])
def test_layer_that_the_logits_do_not_depend_on(images, frozen):
    class Network(SmallNetwork):
        def forward(self, images: Tensor) -> Tensor:
            self.unused(self.conv2(self.conv1(images)))
            return super().forward(images)

    network = Network().requires_grad_(not frozen)
    with pytest.raises(ValueError, match="`target_layer`: the logits do not depend on"):
        SignedCAM(network, "unused")(images)


def test_found_layer_is_passed_over_where_it_is_reused(images):
    class Tutorial(nn.Module):
        """The classifier of PyTorch's tutorial: one pooling layer, run twice."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, 3)
            self.pool = nn.MaxPool2d(2, 1)
            self.conv2 = nn.Conv2d(4, 5, 3)
            self.fc = nn.Linear(5 * 4, 3)

        def forward(self, images: Tensor) -> Tensor:
            features = self.pool(F.relu(self.conv1(images)))
            return self.fc(self.pool(F.relu(self.conv2(features))).flatten(1))

    torch.manual_seed(0)
    network = Tutorial()
    assert torch.equal(SignedCAM(network)(images), SignedCAM(network, "conv2")(images))


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize("differentiable", [False, True])
def test_inplace_relu_after_the_layer_does_not_corrupt_its_activations(network, images, differentiable):
    reference = SmallNetwork(inplace=False)
    reference.load_state_dict(network.state_dict())
    seen = []
    for model in (network.eval(), reference.eval()):
        cam = _Captured(model, "conv2", differentiable=differentiable)
        activations, gradients = cam(images, 1).unbind(-1)
        seen.append((activations, gradients))
    torch.testing.assert_close(seen[0][0], seen[1][0])
    torch.testing.assert_close(seen[0][1], seen[1][1])
    assert seen[0][0].min() < 0  # otherwise a ReLU has nothing to corrupt


class _Captured(GradientCAM):
    """Puts out what a map is made of, (N, C, h, w, 2)."""

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        return torch.stack([activations, gradients], dim=-1)


def test_cannot_be_made_without_a_method(network):
    for base in (BaseCAM, GradientCAM):
        with pytest.raises(TypeError, match="abstract"):
            base(network)


class Mean(BaseCAM):
    """A method that needs no gradient: the mean over the channels, of one layer."""

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        activations, logits = self.activations_and_logits(images)
        assert not torch.is_grad_enabled() or not logits.requires_grad
        return activations.mean(dim=1)


def test_activations_for_a_method_that_needs_no_gradient(network, images):
    network.eval()
    with torch.no_grad():
        features = network.instance_norm(network.bn(network.conv1(images)).relu())
        expected = network.conv2(features)
    assert expected.min() < 0  # the ReLU behind works in place
    assert torch.equal(Mean(network, "conv2")(images, 0), expected.mean(dim=1))
    activations, logits = Mean(network, "conv2").activations_and_logits(images)
    assert torch.equal(activations, expected)
    assert torch.equal(logits, network(images))
    assert not activations.requires_grad
    assert not logits.requires_grad
    with pytest.raises(ValueError, match="`target_layer`: Mean works on one layer, got 2"):
        Mean(network, ["conv1", "conv2"])(images)


# Differentiation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layer", ["layer1", "layer2.0", "layer3"])
def test_gradient_of_a_penalty_reaches_stem_and_head_as_finite_differences_say(layer, training):
    torch.manual_seed(0)
    network = CIFARResNet(8, num_classes=3, width=4).double().train(training)
    images, classes = torch.rand(3, 3, 12, 12, dtype=torch.float64), torch.tensor([0, 2, 1])
    with torch.no_grad():  # statistics and biases as after some training, not zeros and ones
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    coefficients = torch.randn(GradCAM(network, layer)(images, classes).shape, dtype=torch.float64)

    def penalty(differentiable: bool) -> Tensor:
        cams = GradCAM(network, layer, differentiable=differentiable)(images, classes)
        assert (cams > 0).float().mean() > 0.1
        return 1e3 * (coefficients * cams).sum()

    parameters = dict(network.named_parameters())
    gradients = dict(
        zip(
            parameters,
            torch.autograd.grad(penalty(True), list(parameters.values()), allow_unused=True, materialize_grads=True),
            strict=True,
        )
    )
    for name in ("conv1.weight", "layer1.0.bn2.bias", "layer2.0.conv1.weight", "layer3.0.conv2.weight", "fc.weight"):
        # Behind pooling and a linear layer the gradient of the logit depends on the linear layer alone, so that nothing
        # else behind the target layer gets a gradient: there is nothing else behind `layer3`.
        index = int(gradients[name].abs().argmax())
        analytic = gradients[name].flatten()[index]
        assert analytic.abs() > 1e-3, name
        numeric = _finite_difference(lambda: penalty(False), parameters[name], index)
        torch.testing.assert_close(
            analytic, numeric, rtol=1e-5, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert torch.equal(
        gradients["fc.bias"], torch.zeros(3, dtype=torch.float64)
    )  # no gradient of a logit depends on it


def _finite_difference(value, parameter: Tensor, index: int, step: float = 1e-6) -> Tensor:
    entry = parameter.detach().view(-1)
    original = float(entry[index])
    values = []
    for shifted in (original + step, original - step):
        entry[index] = shifted
        values.append(value())
    entry[index] = original
    return (values[0] - values[1]) / (2 * step)


def test_gradient_reaches_the_images(network, images):
    images = images.requires_grad_()
    cams = SignedCAM(network.eval(), "conv2", differentiable=True)(images, 0)
    (gradient,) = torch.autograd.grad(cams.sum(), images)
    assert (gradient.flatten(1).abs().amax(dim=1) > 0).all()


def test_maps_are_detached_unless_differentiable(network, images):
    network.eval()
    detached = SignedCAM(network, "conv2")(images.requires_grad_(), 0)
    assert not detached.requires_grad
    attached = SignedCAM(network, "conv2", differentiable=True)(images, 0)
    assert attached.requires_grad
    assert torch.equal(detached, attached.detach())
    assert images.grad is None


def test_frozen_network(network, images):
    network.eval()
    expected = SignedCAM(network, "conv2")(images, 0)
    network.requires_grad_(False)
    for differentiable in (False, True):
        cams = SignedCAM(network, "conv2", differentiable=differentiable)(images, 0)
        assert torch.equal(cams.detach(), expected)
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.usefixtures("double_by_default")
def test_frozen_layers_before_the_target_layer_leave_the_head_trainable(network, images):
    network.eval()
    head = network.head[0].weight
    cam = SignedCAM(network, "conv2", differentiable=True)
    (expected,) = torch.autograd.grad(cam(images, 0).sum(), head)
    assert expected.abs().amax() > 0
    for module in (network.conv1, network.bn, network.instance_norm, network.conv2):
        module.requires_grad_(False)
    (gradient,) = torch.autograd.grad(cam(images, 0).sum(), head)
    torch.testing.assert_close(gradient, expected)


# Where it is called ------------------------------------------------------------------------------


@pytest.mark.parametrize("target_layer", ["conv2", None])
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_inside_no_grad_and_inference_mode(network, images, context, target_layer):
    network.eval()
    classes = torch.tensor([2, 0, 3])
    expected = SignedCAM(network, target_layer)(images, classes)
    with context():
        batch = images + 0  # inside inference mode: an inference tensor
        labels = classes + 0
        assert batch.is_inference() == (context is torch.inference_mode)
        cam = SignedCAM(network, target_layer)
        assert torch.equal(cam(batch, labels), expected)
        assert torch.equal(cam(batch, 0), SignedCAM(network, target_layer)(batch, torch.zeros(3, dtype=torch.int64)))
        assert cam(batch).shape == expected.shape
        differentiable = SignedCAM(network, target_layer, differentiable=True)(batch, labels)
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (context is torch.inference_mode)
    assert torch.equal(differentiable.detach(), expected)
    (gradient,) = torch.autograd.grad(differentiable.sum(), network.conv1.weight)
    assert gradient.abs().amax() > 0


def test_after_a_pass_without_gradients_under_autocast(images):
    # Autocast keeps the weights that it cast: those of a pass without gradients must not cut the graph of the map.
    torch.manual_seed(0)
    network = CIFARResNet(8).eval()
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            network(images)
        cams = SignedCAM(network, differentiable=True)(images)
    stem, head = torch.autograd.grad(cams.sum(), [network.conv1.weight, network.fc.weight])
    assert stem.abs().amax() > 0
    assert head.abs().amax() > 0


@pytest.mark.usefixtures("double_by_default")
def test_a_network_that_turns_gradients_off_for_its_backbone(images):
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 3)

        def forward(self, images: Tensor) -> Tensor:
            with torch.no_grad():
                features = self.backbone(images)
            return self.head(features.relu().flatten(1))

    torch.manual_seed(0)
    network = Frozen()
    activations = network.backbone(images).detach()
    gradients = network.head.weight[1].detach().view(1, 4, 6, 6) * (activations > 0)
    expected = 1e3 * (gradients.mean(dim=(-2, -1), keepdim=True) * activations).sum(dim=1)
    for differentiable in (False, True):
        cams = SignedCAM(network, "backbone", differentiable=differentiable)(images, 1)
        torch.testing.assert_close(cams.detach(), expected)


@pytest.mark.parametrize("layer", ["_orig_mod.layer2", None])
@pytest.mark.parametrize("differentiable", [False, True])
def test_a_compiled_network_is_run_as_the_plain_one(images, layer, differentiable):
    torch.manual_seed(0)
    network = CIFARResNet(8).eval()
    expected = SignedCAM(network, layer and "layer2", differentiable=differentiable)(images, 0)
    compiled = torch.compile(network, backend="eager")
    compiled(images)  # hooks that come later are ignored
    found = SignedCAM(compiled, layer, differentiable=differentiable)(images, 0)
    assert torch.equal(found, expected)
    assert found.requires_grad == differentiable


def test_small_gradients_survive_in_half_precision():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2), nn.Linear(2, 2, bias=False))
    images = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        network[2].weight.mul_(1e-4)
        network[3].weight.mul_(1e-3)  # the gradient is of the order of 1e-8: float16 has nothing below 6e-8
    expected = SignedCAM(network, "0")(images, 0)
    assert expected.abs().amax() > 0
    with torch.autocast("cpu", torch.float16):
        found = SignedCAM(network, "0")(images, 0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02 * float(expected.abs().amax()))


# Left as found -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target_layer", ["conv2", ["head.0", "conv1"], None])
@pytest.mark.parametrize("context", [nullcontext, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("differentiable", [False, True])
def test_left_as_found(network, images, target_layer, context, differentiable):
    _disturb(network)
    before = _trace(network)
    with context():
        GradCAM(network, target_layer, differentiable=differentiable)(images)
        assert torch.equal(images, torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)))
    _assert_same(before, _trace(network))


def test_left_as_found_after_training_on_the_map(network, images):
    """A backward through a differentiable map accumulates gradients, and changes nothing else."""
    _disturb(network)
    before = _trace(network)
    SignedCAM(network, "conv2", differentiable=True)(images, 0).sum().backward()
    after = _trace(network)
    assert not torch.equal(after.pop("conv2.weight.grad"), before.pop("conv2.weight.grad"))
    for trace in (before, after):
        for name in [name for name in trace if name.endswith((".grad", ".grad is"))]:
            del trace[name]
    _assert_same(before, after)


@pytest.mark.parametrize(
    ("target_layer", "class_idx", "message"),
    [
        ("conv2", 9, "`class_idx`: expected classes from 0"),
        ("head.3", 0, "`target_layer`: expected a layer that puts out"),
        ("unused", 0, "`target_layer`: .* runs once"),
        (["conv1", "unused"], 0, "`target_layer`: .* runs once"),
        (["conv2", "head.3"], Contrast(), "`target_layer`: expected a layer that puts out"),
        ("bn", torch.rand(3), "`class_idx`: expected integers"),
        (None, 9, "`class_idx`: expected classes from 0"),
    ],
)
def test_left_as_found_after_an_error(network, images, target_layer, class_idx, message):
    _disturb(network)
    before = _trace(network)
    with pytest.raises(ValueError, match=message):
        GradCAM(network, target_layer)(images, class_idx)
    _assert_same(before, _trace(network))


@pytest.mark.parametrize("target_layer", ["conv2", None])
def test_left_as_found_after_an_error_of_the_network(network, images, target_layer):
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    _disturb(network)
    network.head[3].register_forward_pre_hook(fail)
    before = _trace(network)
    with pytest.raises(RuntimeError, match="out of memory"):
        GradCAM(network, target_layer)(images, 0)
    _assert_same(before, _trace(network))


def test_network_is_run_in_the_mode_it_is_in(network, images):
    cam = SignedCAM(network, "conv2")
    in_evaluation = SignedCAM(network.eval(), "conv2")(images, 0)
    network.train()
    torch.manual_seed(3)
    first, again = cam(images, 0), cam(images, 0)
    # The same random state gives the same dropout masks, and the map is another one than that of evaluation.
    assert torch.equal(first, again)
    assert not torch.allclose(first, in_evaluation)
    torch.manual_seed(4)
    assert not torch.allclose(first, cam(images, 0))


def test_hooks_of_the_user_stay_and_fire(network, images):
    shapes = []
    network.conv2.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
    GradCAM(network.eval(), "conv2")(images)
    assert shapes == [(3, 6, 8, 8)]


@pytest.mark.parametrize("differentiable", [False, True])
def test_memory_is_flat(network, images, differentiable):
    network.train()
    cam = GradCAM(network, "conv2", differentiable=differentiable)
    with uncollected():
        cam(images)
        before = living_tensors()
        for _ in range(100):
            cam(images)
        assert living_tensors() == before


def _disturb(network: nn.Module) -> None:
    """Mixed modes, a frozen parameter, a gradient, a hook of the user's, running statistics that are not the first."""
    network.train()
    network.bn.eval()
    network.head[1].eval()
    network.conv1.weight.requires_grad_(False)
    network.conv2.weight.grad = torch.full_like(network.conv2.weight, 0.5)
    network.relu.register_forward_hook(lambda *_: None)
    for module in (network.bn, network.instance_norm):
        module.running_mean.add_(0.25)
    # A second BatchNorm in training mode, for the first is in evaluation mode.
    network.head.insert(1, nn.BatchNorm2d(5))


def _trace(network: nn.Module) -> dict[str, object]:
    """Everything about a network, and around it, that an explanation could change."""
    trace: dict[str, object] = {
        "random state": torch.get_rng_state(),
        "gradients enabled": torch.is_grad_enabled(),
        "modules": [name for name, _ in network.named_modules()],
    }
    for name, module in network.named_modules():
        for attribute, value in vars(module).items():
            if attribute.endswith("hooks"):
                trace[f"{name}.{attribute}"] = list(value.values())
            elif isinstance(value, (bool, int, float, str)):
                trace[f"{name}.{attribute}"] = value
    for name, parameter in network.named_parameters():
        trace[name] = parameter.detach().clone()
        trace[f"{name} is"] = id(parameter)
        trace[f"{name}.requires_grad"] = parameter.requires_grad
        trace[f"{name}.grad"] = None if parameter.grad is None else parameter.grad.clone()
        trace[f"{name}.grad is"] = id(parameter.grad)
    for name, buffer in network.named_buffers():
        trace[name] = buffer.clone()
        trace[f"{name} is"] = id(buffer)
    return trace


def _assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    assert list(before) == list(after)
    for name, value in before.items():
        same = torch.equal(value, after[name]) if isinstance(value, Tensor) else value == after[name]
        assert same, f"{name} was {value}, is {after[name]}"
