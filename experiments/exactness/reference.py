"""The interpretable gradient loss, implemented a second time with plain autograd and without camtrain.

The guided gradient comes from a second pass in which a function with the guided backward rule replaces every ReLU: no
graph is walked and no hook is set. The distances are computed one image at a time, by other formulas than camtrain's.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision import models

NUM_CLASSES = 10

Gradients = dict[str, Tensor]
"""The gradient of each parameter, by the parameter's name."""


@dataclass(frozen=True)
class Reference:
    """The correct result of one training step.

    Attributes:
        classification: The value of L_C.
        regularization: The value of L_R.
        of_classification: The gradient ∇L_C.
        of_regularizer: The gradient λ ∇L_R.
        input_gradient: The input gradient δ, (N, 3, H, W).
        guided_gradient: The guided gradient δ^G, (N, 3, H, W).
    """

    classification: float
    regularization: float
    of_classification: Gradients
    of_regularizer: Gradients
    input_gradient: Tensor
    guided_gradient: Tensor

    @property
    def of_both(self) -> Gradients:
        """The gradient ∇(L_C + λ L_R)."""
        return {name: gradient + self.of_regularizer[name] for name, gradient in self.of_classification.items()}


class GuidedReLUs(TorchFunctionMode):
    """In this context every ReLU and ReLU6 backpropagates by the guided rule, whoever calls it.

    Attributes:
        replaced: The number of calls that were replaced.
    """

    _RELU = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)

    def __init__(self) -> None:
        super().__init__()
        self.replaced = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in self._RELU:
            ceiling = math.inf
        elif function is F.relu6:
            ceiling = 6.0
        elif function in (F.hardtanh, F.hardtanh_) and _argument(1, "min_val", -1.0, args, kwargs) == 0:
            ceiling = _argument(2, "max_val", 1.0, args, kwargs)
        else:
            return function(*args, **kwargs)
        self.replaced += 1
        return _GuidedReLU.apply(_argument(0, "input", None, args, kwargs), ceiling)


class _GuidedReLU(torch.autograd.Function):
    """min(max(x, 0), ceiling), whose backward keeps positive gradients at open gates."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.ceiling = ceiling
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        through = (x > 0) & (x < ctx.ceiling) & (gradient > 0)
        return torch.where(through, gradient, torch.zeros_like(gradient)), None


def reference_step(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    distance: str,
    weight: float,
    seed: int,
    batch_norm_statistics: Literal["batch", "running"] = "batch",
) -> Reference:
    """Take one training step on a copy of `network`; dropout draws its masks from `seed`.

    δ is of the sum of the images' cross-entropies, so that δ_i carries no 1/n.
    """
    twin = copy.deepcopy(network)
    parameters = dict(twin.named_parameters())
    leaf = images.clone().requires_grad_()
    torch.manual_seed(seed)
    losses = explained = _cross_entropies(twin(leaf), labels)
    if batch_norm_statistics == "running":
        for module in twin.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        torch.manual_seed(seed)
        explained = _cross_entropies(twin(leaf), labels)
    (input_gradient,) = torch.autograd.grad(explained.sum(), leaf, create_graph=True)
    guided_gradient = reference_guided_gradient(twin, images, labels, seed=seed)
    distances = [_DISTANCES[distance](*pair) for pair in zip(input_gradient, guided_gradient, strict=True)]
    classification, regularization = losses.sum() / len(images), torch.stack(distances).sum() / len(images)
    return Reference(
        float(classification.detach()),
        float(regularization.detach()),
        _gradients(classification, parameters),
        _gradients(weight * regularization, parameters),
        input_gradient.detach(),
        guided_gradient,
    )


def reference_guided_gradient(network: nn.Module, images: Tensor, labels: Tensor, *, seed: int) -> Tensor:
    """Compute δ^G of the summed cross-entropy, from a pass of its own through a copy of `network`."""
    leaf = images.clone().requires_grad_()
    torch.manual_seed(seed)
    with GuidedReLUs() as relus:
        loss = _cross_entropies(copy.deepcopy(network)(leaf), labels).sum()
    if not relus.replaced:
        raise RuntimeError("the network calls no ReLU")
    return torch.autograd.grad(loss, leaf)[0]


def max_relative_error(found: Gradients, expected: Gradients) -> float:
    """Compute the largest ‖found_p - expected_p‖ / ‖expected_p‖ over the parameters p.

    The denominator is at least 1e-6 of the norm of the whole gradient: some parameters have a gradient that is zero
    except for rounding (a bias in front of BatchNorm), and a relative error of rounding noise says nothing.
    """
    if found.keys() != expected.keys():
        raise ValueError("the gradients are not of the same parameters")
    norms = {name: float(torch.linalg.vector_norm(gradient)) for name, gradient in expected.items()}
    floor = 1e-6 * math.hypot(*norms.values())
    return max(
        float(torch.linalg.vector_norm(found[name] - expected[name])) / max(norms[name], floor) for name in expected
    )


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """Compute ‖found - expected‖ / ‖expected‖."""
    return float(torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected))


def network_under_test(name: str, *, seed: int) -> nn.Module:
    """Build a torchvision network in float64 and training mode, with running statistics of random images.

    VGG's classifier starts with a layer of 103 million weights, too many to copy. Its features are pooled to 1×1
    instead of 7×7, and its two hidden layers, with their ReLUs and dropouts, are 64 wide.
    """
    torch.manual_seed(seed)
    network = models.get_model(name, weights=None, num_classes=NUM_CLASSES)
    if isinstance(network, models.VGG):
        network.avgpool = nn.AdaptiveAvgPool2d(1)
        network.classifier[0], network.classifier[3] = nn.Linear(512, 64), nn.Linear(64, 64)
        network.classifier[6] = nn.Linear(64, NUM_CLASSES)
    network = network.double()
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for layer in layers:
        layer.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64, dtype=torch.float64))
    for layer in layers:
        layer.momentum = 0.1
    return network


def _cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the cross-entropy of each image, (N,)."""
    return torch.logsumexp(logits, dim=1) - logits[torch.arange(len(labels)), labels]


def _gradients(value: Tensor, parameters: Gradients) -> Gradients:
    gradients = torch.autograd.grad(
        value, list(parameters.values()), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return dict(zip(parameters, gradients, strict=True))


def _argument(position: int, name: str, default: Any, args: Any, kwargs: Any) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return 1 - (a * b).sum() / ((a * a).sum().sqrt() * (b * b).sum().sqrt())


def _mae(a: Tensor, b: Tensor) -> Tensor:
    return torch.maximum(a - b, b - a).sum() / a.numel()


def _mse(a: Tensor, b: Tensor) -> Tensor:
    return ((a * a).sum() - 2 * (a * b).sum() + (b * b).sum()) / a.numel()


def _histogram_intersection(a: Tensor, b: Tensor) -> Tensor:
    # 1 - Σ min(p, q) = ½ Σ |p - q| for histograms p, q of sum one.
    return (a.abs() / a.abs().sum() - b.abs() / b.abs().sum()).abs().sum() / 2


_DISTANCES = {"cosine": _cosine, "mae": _mae, "mse": _mse, "histogram_intersection": _histogram_intersection}
