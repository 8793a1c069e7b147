"""Every parameter's gradient against an independent reference in plain autograd, float64."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision import models
from torchvision.models.swin_transformer import SwinTransformerBlockV2

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.regularizers import InputGradientRegularizer, InterpretableGradient

TOLERANCE = 1e-9
# λ such that λ ∇L_R is some percent of ∇L_C or more, whatever the units of the distance.
WEIGHTS = {"cosine": 10.0, "histogram_intersection": 10.0, "mae": 300.0, "mse": 3000.0}
MODES = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


@pytest.fixture(
    scope="module",
    params=[
        "resnet18",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("mobilenet_v2", "vgg11_bn", "densenet121")),
    ],
)
def network(request, reference):
    return reference.network_under_test(request.param, seed=0)


@pytest.fixture(scope="module")
def mobilenet(reference):
    return reference.network_under_test("mobilenet_v2", seed=1)


@MODES
def test_the_gradient_is_that_of_the_reference(network, training, reference):
    assert_exact(reference, network.train(training), "cosine")


@pytest.mark.parametrize(
    "training", [pytest.param(True, id="train"), pytest.param(False, id="eval", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "distance", ["mae", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mse", "histogram_intersection"))]
)
def test_the_gradient_is_that_of_the_reference_for_every_distance(mobilenet, distance, training, reference):
    assert_exact(reference, mobilenet.train(training), distance)


def test_the_gradient_is_that_of_the_reference_with_running_statistics(mobilenet, reference):
    assert_exact(reference, mobilenet.train(), "cosine", "running")


def assert_exact(reference, network, distance, statistics="batch"):
    torch.manual_seed(3)
    images, labels = torch.randn(2, 3, 64, 64, dtype=torch.float64), torch.tensor([1, 7])
    weight = WEIGHTS[distance]
    expected = reference.reference_step(
        network, images, labels, distance=distance, weight=weight, seed=5, batch_norm_statistics=statistics
    )
    of_regularizer, of_classification = norm(expected.of_regularizer), norm(expected.of_classification)
    assert of_regularizer > 0.01 * of_classification, "λ is too small for L_R to matter in this comparison"

    twin = copy.deepcopy(network)
    torch.manual_seed(5)
    step = Objective(InterpretableGradient(distance, batch_norm_statistics=statistics), weight, DoubleBackprop())(
        twin, images, labels
    )
    step.loss.backward()
    found = {name: parameter.grad for name, parameter in twin.named_parameters()}

    assert step.classification.item() == pytest.approx(expected.classification, rel=1e-6)
    assert step.regularization.item() == pytest.approx(expected.regularization, rel=1e-6)
    assert step.loss.item() == pytest.approx(
        expected.classification + weight * expected.regularization, rel=1e-12
    )  # in the precision of the network
    assert reference.max_relative_error(found, expected.of_both) <= TOLERANCE
    found_of_regularizer = {name: found[name] - gradient for name, gradient in expected.of_classification.items()}
    assert reference.max_relative_error(found_of_regularizer, expected.of_regularizer) <= TOLERANCE


def norm(gradients):
    return math.hypot(*(gradient.norm().item() for gradient in gradients.values()))


def test_a_hand_made_network():
    # Logits (w x, 0) for x > 0, one pixel, label 0: L_C = log(1 + exp(-w x)), δ = -w p with p = 1 / (1 + exp(w x)), and
    # the ReLU meets a negative gradient, so that δ^G = 0. MSE: L_R = (w p)².
    w, x, weight = 1.5, 0.8, 3.0

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))

        def forward(self, images):
            logit = self.w * images.relu().flatten(1)
            return torch.cat([logit, torch.zeros_like(logit)], dim=1)

    network, images = Network(), torch.full((1, 1, 1, 1), x, dtype=torch.float64)
    step = Objective(InterpretableGradient("mse"), weight, DoubleBackprop())(network, images, torch.tensor([0]))
    step.loss.backward()

    p = 1 / (1 + math.exp(w * x))
    classification, regularization = math.log1p(math.exp(-w * x)), (w * p) ** 2
    assert step.loss.item() == pytest.approx(classification + weight * regularization, rel=1e-12)
    # dp/dw = -x p (1 - p), so d(w p)²/dw = 2 w p (p - w x p (1 - p)).
    slope = -x * p + weight * 2 * w * p * (p - w * x * p * (1 - p))
    assert network.w.grad.item() == pytest.approx(slope, rel=1e-12)


# operations without a second derivative


class SquaredNorm(InputGradientRegularizer):
    needs_guided_gradient = False

    def forward(self, gradients, guided_gradients, *, boxes=None, masks=None):
        return gradients.flatten(1).square().sum(1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, 4)

    def forward(self, images):
        tokens = images.flatten(2)
        return self.head(F.scaled_dot_product_attention(tokens, tokens, tokens).mean(1))


def tiny(*layers):
    return nn.Sequential(nn.Conv2d(3, 2, 1), *layers, nn.Flatten(), nn.Linear(32, 4))


@pytest.mark.parametrize(
    ("network", "operation"),
    [
        (lambda: models.mobilenet_v3_small(num_classes=4).eval(), "hardsigmoid"),
        (lambda: tiny(nn.Hardsigmoid()), "hardsigmoid"),
        (Attention, "attention"),
    ],
)
def test_an_operation_without_a_second_derivative_stops_the_first_step(network, operation):
    network, engine = network(), DoubleBackprop()
    images, labels = torch.randn(2, 3, 4, 4), torch.tensor([0, 1])
    for _ in range(2):  # not only once
        with pytest.raises(RuntimeError, match=rf"`network`: .*{operation}.*Use engine=FrozenGates\(\)") as caught:
            Objective(SquaredNorm(), 1.0, engine)(network, images, labels)
        assert ("sdpa_kernel(SDPBackend.MATH)" in str(caught.value)) == (operation == "attention")
    assert all(parameter.grad is None for parameter in network.parameters())
    step = Objective(SquaredNorm(), 1.0, FrozenGates())(network, images, labels)
    step.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_the_way_out_for_fused_attention():
    network, images, labels = Attention(), torch.randn(2, 3, 4, 4), torch.tensor([0, 1])
    with sdpa_kernel(SDPBackend.MATH):
        Objective(SquaredNorm(), 1.0, DoubleBackprop())(network, images, labels).loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


class Padded(nn.Module):
    """Normalizes the pixels of an image that is padded to an even size, as attention by cosines does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.head = nn.Linear(2, 4)

    def forward(self, images):
        padded = F.pad(images, (0, images.shape[-1] % 2))
        return self.head(F.normalize(self.conv(padded), dim=1).square().mean(dim=(-2, -1)))


def test_a_second_derivative_that_is_not_finite_stops_the_first_step_on_images_of_a_size():
    network, engine, labels = Padded(), DoubleBackprop(), torch.tensor([0, 1])
    objective = Objective(SquaredNorm(), 1.0, engine)
    assert objective(network, torch.randn(2, 3, 4, 4), labels).loss.isfinite()
    for _ in range(2):  # not only once
        with pytest.raises(RuntimeError, match=r"its gradient is not finite at 'conv.weight'.*engine=FrozenGates\(\)"):
            objective(network, torch.randn(2, 3, 4, 5), labels)
    # L_R that is not finite is another fault, which whoever takes the step sees.
    network.head.weight.data.fill_(torch.inf)
    assert not objective(network, torch.randn(2, 3, 4, 5), labels).loss.isfinite()


def test_a_swin_transformer_whose_windows_are_padded():
    torch.manual_seed(0)
    network = models.SwinTransformer(
        [4, 4], 8, [2], [2], [4, 4], num_classes=4, stochastic_depth_prob=0.0, block=SwinTransformerBlockV2
    )
    images, labels = torch.randn(2, 3, 24, 24), torch.tensor([0, 1])
    objective = Objective(SquaredNorm(), 1.0, DoubleBackprop())
    with pytest.raises(RuntimeError, match=r"its gradient is not finite at 'features.1.0.attn.*FrozenGates"):
        objective(network, images, labels)
    Objective(SquaredNorm(), 1.0, FrozenGates())(network, images, labels).loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    # Its ReLUs are in the position bias only.
    with pytest.raises(ValueError, match=r"no ReLU-like activation.*Found: 2 Gelu.*such as GradientNorm"):
        Objective(InterpretableGradient(), 1.0, DoubleBackprop())(network, images, labels)


@pytest.mark.slow
def test_a_compiled_network_is_refused_with_the_way_out():
    network = torch.compile(tiny(nn.GELU()), backend="aot_eager")
    objective = Objective(SquaredNorm(), 1.0, DoubleBackprop())
    with pytest.raises(RuntimeError, match=r"torch.compile.*\)\. Train the network as it was before compiling\.$"):
        objective(network, torch.randn(2, 3, 4, 4), torch.tensor([0, 1]))


def test_a_network_is_checked_once(monkeypatch):
    calls, grad = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *args, **settings: (calls.append(1), grad(*args, **settings))[1])
    objective = Objective(SquaredNorm(), 1.0, DoubleBackprop())
    images, labels = torch.randn(2, 3, 4, 4), torch.tensor([0, 1])
    for network in (tiny(nn.ReLU()), tiny(nn.GELU())):
        counts = []
        for _ in range(3):
            calls.clear()
            objective(network, images, labels)
            counts.append(len(calls))
        assert counts == [2, 1, 1]
