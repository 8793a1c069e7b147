"""What all methods have in common: the call, batches, no trace, and what can be trained through."""

from __future__ import annotations

import random
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camtrain.attributions import BaseAttribution
from camtrain.gradients import Against, Contrast
from camtrain.methods import METHODS, Method, method_named
from camtrain.networks import AttentionBranchHead
from tests.living_things import living_tensors, living_things, uncollected

NOT_DIFFERENTIABLE = {
    "score_cam": "scores of one further forward pass per channel",
    "ss_cam": "scores of one further forward pass per channel",
    "ablation_cam": "scores of one further forward pass per channel",
    "guided_backprop": "not the derivative of any function",
    "guided_grad_cam": "not the derivative of any function",
}
"""The reason that is named, by method."""

DIFFERENTIABLE = [name for name in METHODS if name not in NOT_DIFFERENTIABLE]
VARIANTS = [(name, False) for name in METHODS] + [(name, True) for name in DIFFERENTIABLE]
VARIANT_NAMES = [f"{name}-{'differentiable' if differentiable else 'plain'}" for name, differentiable in VARIANTS]
LAST_LAYER_ONLY = ("cam",)
CLASS_DOES_NOT_MATTER = ("eigen_cam", "attention_map")
SQUARES_THE_SCORE = ("taylor_cam",)

STATM = Path("/proc/self/statm")


class TrippedError(Exception):
    """Out of the network."""


class Tripwire(nn.Module):
    """Passes on what it gets; counts the passes forward and back, and from one of them on raises an error in each."""

    def __init__(self) -> None:
        super().__init__()
        # A list, so that counting changes no attribute.
        self.state: list[float] = [0, float("inf")]

    def arm(self, fails_at: float) -> None:
        self.state[:] = 0, fails_at

    @property
    def passes(self) -> int:
        return int(self.state[0])

    def forward(self, features: Tensor) -> Tensor:
        state = self.state

        def count(*_: Any) -> None:
            state[0] += 1
            if state[0] > state[1]:
                raise TrippedError

        count()
        if features.requires_grad:
            features.register_hook(count)
        return features


class Network(nn.Module):
    """Everything that a method could disturb, and a head that CAM knows: normalization, dropout, in-place ReLUs."""

    def __init__(self, stride: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
        )
        self.dropout = nn.Dropout2d(0.25)
        self.middle = nn.Sequential(nn.Conv2d(4, 6, 3, stride, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.tripwire = Tripwire()
        self.last = nn.Sequential(nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(inplace=True))
        self.head = nn.Linear(5, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.attended(self.tripwire(self.middle(self.dropout(self.stem(images)))), images)
        return self.head(self.last(features).mean(dim=(-2, -1)))

    def attended(self, features: Tensor, images: Tensor) -> Tensor:
        return features


class NetworkWithHead(Network):
    """With an attention head, for the method that needs one."""

    def __init__(self, stride: int = 2) -> None:
        super().__init__(stride)
        self.attention_head = AttentionBranchHead(channels=6, num_classes=4, width=4, blocks=1)
        self.attention_head.classifier.requires_grad_(False)  # its logits, which this network has no use for

    def attended(self, features: Tensor, images: Tensor) -> Tensor:
        return features * (1 + self.attention_head(features, images).attention)


def make_network(name: str, stride: int = 2, *, training: bool = False) -> Network:
    """For a method; with gradients, hooks, statistics and modes as in the middle of somebody's training."""
    torch.manual_seed(3)
    network = NetworkWithHead(stride) if name == "attention_map" else Network(stride)
    with torch.no_grad():
        network(3 * torch.rand(8, 3, 32, 32))  # statistics that are not the first
        network.head.weight.mul_(8)
        network.eval()
        network.head.bias.sub_(network(make_images()).mean(dim=0))  # so that the images differ in their classes
    network.train(training)
    network.middle[2].train(not training)
    network.stem[0].bias.requires_grad_(False)
    network.last[0].weight.grad = torch.full_like(network.last[0].weight, 0.5)
    network.middle.register_forward_hook(lambda *_: None)
    network.last.register_forward_pre_hook(lambda *_: None)
    network.head.weight.register_hook(lambda gradient: None)
    network.head.bias.register_post_accumulate_grad_hook(lambda parameter: None)
    return network


def make_images(size: int = 8, count: int = 3) -> Tensor:
    """No two alike in color."""
    generator = torch.Generator().manual_seed(1)
    return 3 * torch.rand(count, 3, size, size, generator=generator) - torch.rand(count, 3, 1, 1, generator=generator)


def make_method(name: str, network: nn.Module, layer: str | None = "middle", **options: Any) -> Method:
    """With few samples and steps, and fewer images in a pass than there are in all."""
    layer = "last" if layer == "middle" and name in LAST_LAYER_ONLY else layer
    settings: dict[str, Any] = {"num_samples": 3, "num_steps": 3, "tolerance": None, "max_batch": 4} | options
    if not settings.get("differentiable"):
        settings.pop("differentiable", None)
    return method_named(name, network, layer, **settings)


# The call ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_one_calling_convention(name):
    network, images = make_network(name).double(), make_images().double()
    method = make_method(name, network, seed=0)
    with torch.no_grad():
        ranked = network(images).argsort(dim=1, descending=True)
    predicted, runner_up, labels = ranked[:, 0], ranked[:, 1], ranked[:, 2]
    assert len(labels.unique()) > 1
    of_class = torch.stack([method(images, class_idx) for class_idx in range(4)])
    each = torch.arange(len(images))
    of_labels, of_predicted = method(images, labels), method(images)
    torch.testing.assert_close(of_labels, of_class[labels, each])
    torch.testing.assert_close(of_predicted, of_class[predicted, each])
    contrast, against = method(images, Contrast(labels)), method(images, Against(labels))
    torch.testing.assert_close(contrast, method(images, Contrast(labels, predicted)))
    torch.testing.assert_close(method(images, Contrast()), method(images, Contrast(predicted, runner_up)))
    torch.testing.assert_close(method(images, Against()), method(images, Against(predicted)))
    height, width = images.shape[-2:] if isinstance(method, BaseAttribution) else (4, 4)
    for maps in (of_labels, of_predicted, contrast, against):
        assert maps.shape == (len(images), *((3,) if isinstance(method, BaseAttribution) else ()), height, width)
        assert maps.dtype == torch.float64
        assert not maps.requires_grad
    different = {tuple(maps.flatten().tolist()) for maps in (of_labels, of_predicted, contrast, against)}
    assert len(different) == (1 if name in CLASS_DOES_NOT_MATTER else 3 if name in SQUARES_THE_SCORE else 4)
    with pytest.raises(ValueError, match=r"`class_idx`: expected classes from 0 to 3, got 4"):
        method(images, 4)
    with pytest.raises(TypeError, match=r"`class_idx`"):
        method(images, "cat")


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_is_its_images_one_by_one(name):
    network, images = make_network(name).double(), make_images().double()
    method = make_method(name, network, seed=0)
    labels = torch.tensor([2, 0, 3])
    for choice in (
        lambda _: None,
        lambda at: Against(labels[at]),
        lambda at: Contrast(labels[at]),
        lambda at: labels[at],
    ):
        alone = torch.cat([method(images[at], choice(at)) for at in (slice(n, n + 1) for n in range(3))])
        torch.testing.assert_close(method(images, choice(slice(None))), alone)
    assert len(alone.flatten(1).unique(dim=0)) == 3


# No trace ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "context", [nullcontext, pytest.param(torch.no_grad, marks=pytest.mark.slow), torch.inference_mode]
)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("name", "differentiable"), VARIANTS, ids=VARIANT_NAMES)
def test_leaves_no_trace(name, differentiable, training, context):
    labels = torch.tensor([2, 0, 3])

    def methods(network: nn.Module) -> list[Method]:
        # The layer that is named, and the one that is found with a pass of its own.
        return [make_method(name, network, layer, differentiable=differentiable) for layer in ("middle", None)]

    expected = [method(make_images(), labels) for method in methods(make_network(name, training=training))]
    network = make_network(name, training=training)
    before = trace(network)
    with context():
        images = make_images()
        before_inside = surroundings()
        maps = [method(images, class_idx) for method in methods(network) for class_idx in (labels, None, Contrast())]
        assert_same(before_inside, surroundings())
        assert torch.equal(images, make_images())
        assert not images.requires_grad
        assert labels.tolist() == [2, 0, 3]
    assert_same(before, trace(network))
    # The mode of the caller changes nothing.
    for found, of_twin in zip(maps[::3], expected, strict=True):
        assert not found.is_inference()
        assert found.requires_grad == differentiable
        assert torch.equal(found, of_twin)


@pytest.mark.filterwarnings("ignore:`network`. it cannot be run from the target layer on alone")
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("name", "differentiable"), VARIANTS, ids=VARIANT_NAMES)
def test_leaves_no_trace_after_an_error_in_the_network(name, differentiable, training):
    """In the first pass, forward or back, in one in the middle, and in the last."""
    twin, images = make_network(name, training=training), make_images()
    twin.tripwire.arm(float("inf"))
    expected = make_method(name, twin, differentiable=differentiable)(images)
    passes = twin.tripwire.passes
    assert passes > 0
    network = make_network(name, training=training)
    method = make_method(name, network, differentiable=differentiable)
    before = trace(network)
    for fails_at in {0, passes // 2, passes - 1}:
        network.tripwire.arm(fails_at)
        with pytest.raises(TrippedError):
            method(images)
        assert network.tripwire.passes > fails_at
        assert_same(before, trace(network))
    network.tripwire.arm(float("inf"))
    assert torch.equal(method(images), expected)


@pytest.mark.parametrize(("name", "differentiable"), VARIANTS, ids=VARIANT_NAMES)
def test_a_graph_of_the_callers_is_left_alone(name, differentiable):
    """No hook stays in it, nothing that it holds is worked on in place, and no part of it is freed."""
    network = make_network(name, training=True)
    leaf = make_images().requires_grad_()
    images = leaf.relu() * 2 - 1
    loss = network(images).square().sum()
    wanted = {"leaf": leaf} | {name: each for name, each in network.named_parameters() if each.requires_grad}
    expected = torch.autograd.grad(loss, list(wanted.values()), retain_graph=True)
    make_method(name, network, differentiable=differentiable)(images, 1)
    network.zero_grad()
    loss.backward()
    for (wanted_name, each), gradient in zip(wanted.items(), expected, strict=True):
        assert each.grad is not None
        assert torch.equal(each.grad, gradient), wanted_name


@pytest.mark.slow
@pytest.mark.parametrize(("name", "differentiable"), VARIANTS, ids=VARIANT_NAMES)
def test_memory_is_flat(name, differentiable):
    """100 calls keep nothing, not even until the garbage collector finds it."""
    # One layer's activations are 32 KiB: kept at each call, that would be 800 pages.
    network, images = make_network(name, stride=16), make_images(size=32, count=2)
    method = make_method(name, network, differentiable=differentiable, num_samples=1, num_steps=1)
    with uncollected():
        for _ in range(10):
            method(images)
        tensors, things, pages = living_tensors(), living_things(), resident_pages()
        for _ in range(100):
            method(images)
        assert living_tensors() == tensors
        assert living_things() - things < 100
        assert resident_pages() - pages < 400


def resident_pages() -> int:
    """Pages of memory that the process has; 0 where nothing says it."""
    return int(STATM.read_text(encoding="ascii").split()[1]) if STATM.is_file() else 0


def trace(network: nn.Module) -> dict[str, object]:
    """Everything about a network, and around it, that a method could change."""
    found = surroundings()
    for name, module in network.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, dict):  # hooks, parameters, buffers, modules
                found[f"{name}.{attribute}"] = [(key, id(each)) for key, each in value.items()]
            else:
                found[f"{name}.{attribute}"] = value if isinstance(value, (bool, int, float, str)) else id(value)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        found[name] = tensor.detach().clone()
        found[f"{name}.requires_grad"] = tensor.requires_grad
        found[f"{name}.grad is"] = None if tensor.grad is None else id(tensor.grad)
        found[f"{name}.grad"] = None if tensor.grad is None else tensor.grad.clone()
        found[f"{name} hooks"] = [len(hooks or ()) for hooks in (tensor._backward_hooks, _after_accumulation(tensor))]
    return found


def _after_accumulation(tensor: Tensor) -> Any:
    return getattr(tensor, "_post_accumulate_grad_hooks", None)


def surroundings() -> dict[str, object]:
    """Modes, settings and random states of the process."""
    name, keys, *position = np.random.get_state()  # noqa: NPY002
    return {
        "random state of Python": random.getstate(),
        "random state of NumPy": (name, keys.tolist(), *position),
        "random state of torch": torch.get_rng_state(),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "anomaly detection": torch.is_anomaly_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "function modes": torch._C._len_torch_function_stack(),
        "attention": (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()),
        "threads": torch.get_num_threads(),
        "warnings": list(warnings.filters),
    }


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    assert list(before) == list(after)
    for name, value in before.items():
        same = torch.equal(value, after[name]) if isinstance(value, Tensor) else value == after[name]
        assert same, f"{name} was {value}, is {after[name]}"


# Training ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["middle", "last"])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_of_a_penalty_on_the_map_reaches_the_whole_network(name, layer):
    """As finite differences say, part by part.

    Behind the layer `last` come average pooling and a linear layer, so that the weights of a CAM depend on the head
    alone; those at `middle` depend on everything behind it.
    """
    network, images = make_network(name).double(), make_images().double()
    labels, generator = torch.tensor([2, 0, 3]), torch.Generator().manual_seed(2)
    method = make_method(name, network, layer, differentiable=True, seed=0)
    plain = make_method(name, network, layer, seed=0)
    maps = method(images, labels)
    torch.testing.assert_close(maps.detach(), plain(images, labels))
    coefficients = torch.randn(maps.shape, dtype=torch.float64, generator=generator)
    penalty = (coefficients * maps).sum()
    # Nothing behind the layer has a part in the map; the attended one is `middle`.
    if name == "attention_map":
        reached = ["stem", "middle"]
    elif name == "eigen_cam":
        reached = ["stem", "middle", "last"][: 2 if layer == "middle" else 3]
    else:
        reached = ["stem", "middle", "last", "head"]
    parts = {
        part: [each for each in network.get_submodule(part).parameters() if each.requires_grad]
        for part in ("stem", "middle", "last", "head")
    }
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    gradients = {part: torch.autograd.grad(penalty, parameters, **options) for part, parameters in parts.items()}
    for part, parameters in parts.items():
        directions = [torch.randn(each.shape, dtype=torch.float64, generator=generator) for each in parameters]
        slope = sum(float((each * along).sum()) for each, along in zip(gradients[part], directions, strict=True))
        values = [moved_penalty(plain, images, labels, coefficients, parameters, directions, h) for h in (1e-6, -1e-6)]
        # As precise as differences of numbers of this size can be.
        assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-8)
        assert (abs(slope) > 1e-6) == (part in reached), part


def moved_penalty(
    method: Method, images: Tensor, labels: Tensor, coefficients: Tensor, parameters: list, directions: list, h: float
) -> float:
    """Of the network whose parameters are moved a little; they are moved back."""
    with torch.no_grad():
        for parameter, along in zip(parameters, directions, strict=True):
            parameter.add_(along, alpha=h)
        value = float((coefficients * method(images, labels)).sum())
        for parameter, along in zip(parameters, directions, strict=True):
            parameter.sub_(along, alpha=h)
    return value


@pytest.mark.parametrize("name", NOT_DIFFERENTIABLE)
def test_a_method_that_can_not_be_trained_through_says_why(name):
    with pytest.raises(ValueError, match=f"`differentiable`: expected False, got True.*{NOT_DIFFERENTIABLE[name]}"):
        METHODS[name](Network(), differentiable=True)
