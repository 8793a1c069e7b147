"""Each gate in each form of torch: held at the same input it changes nothing; elsewhere it extends its piece."""

from __future__ import annotations

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.gradients.gates import GATES
from camtrain.gradients.recorded_gates import RecordedGates, ReplayedGates

SLOPES = torch.tensor([0.1, 0.3, -0.5], dtype=torch.float64)
STEEP = 1.6732632423543772


def held(x, low, high, below, between, above, y):
    """The extension of a function of three pieces, written down by hand: its side from x, its value from y."""
    middle = between(y)
    found = torch.where(x <= low, below(y), middle) if low is not None else middle
    return torch.where(x >= high, above(y), found) if high is not None else found


def constant(value):
    return lambda y: torch.full_like(y, value)


def same(y):
    return y


def times(factor):
    return lambda y: y * factor


# name: (forms, low kink, high kink, below, between, above); a form changes its input if its name has an underscore.
POINTWISE = {
    "relu": (
        [F.relu, torch.relu, Tensor.relu, nn.ReLU(), F.relu_, torch.relu_, Tensor.relu_, nn.ReLU(inplace=True),
         lambda x: F.relu(x, True)],
        0.0, None, constant(0), same, same,
    ),
    "relu6": ([F.relu6, nn.ReLU6(), nn.ReLU6(inplace=True), lambda x: F.relu6(x, inplace=True)],
              0.0, 6.0, constant(0), same, constant(6)),
    "hardtanh": (
        [F.hardtanh, nn.Hardtanh(), nn.Hardtanh(inplace=True), F.hardtanh_],
        -1.0, 1.0, constant(-1), same, constant(1),
    ),
    "hardtanh of other bounds": (
        [lambda x: F.hardtanh(x, -0.5, 2.0), nn.Hardtanh(-0.5, 2.0), lambda x: F.hardtanh(x, max_val=2.0, min_val=-0.5)],  # noqa: E501
        -0.5, 2.0, constant(-0.5), same, constant(2),
    ),
    "leaky_relu": (
        [F.leaky_relu, nn.LeakyReLU(), nn.LeakyReLU(inplace=True), F.leaky_relu_],
        0.0, None, times(0.01), same, same,
    ),
    "leaky_relu of another slope": (
        [lambda x: F.leaky_relu(x, 0.2), nn.LeakyReLU(0.2), lambda x: F.leaky_relu_(x, negative_slope=0.2)],
        0.0, None, times(0.2), same, same,
    ),
    "prelu": (
        [lambda x: F.prelu(x, SLOPES), lambda x: torch.prelu(x, SLOPES), lambda x: x.prelu(SLOPES),
         lambda x: F.prelu(x, weight=SLOPES)],
        0.0, None, times(SLOPES.view(-1, 1, 1)), same, same,
    ),
    "prelu of one slope": ([nn.PReLU().double()], 0.0, None, times(0.25), same, same),
    "threshold": (
        [lambda x: F.threshold(x, 0.5, -2.0), nn.Threshold(0.5, -2.0), lambda x: torch.threshold(x, 0.5, -2.0),
         nn.Threshold(0.5, -2.0, inplace=True), lambda x: F.threshold_(x, 0.5, -2.0)],
        0.5, None, constant(-2), same, same,
    ),
    "hardswish": ([F.hardswish, nn.Hardswish(), nn.Hardswish(inplace=True), lambda x: F.hardswish(x, True)],
                  -3.0, 3.0, constant(0), lambda y: y * (y + 3) / 6, same),
    "hardsigmoid": ([F.hardsigmoid, nn.Hardsigmoid(), nn.Hardsigmoid(inplace=True), lambda x: F.hardsigmoid(x, True)],
                    -3.0, 3.0, constant(0), lambda y: y / 6 + 0.5, constant(1)),
    "elu": ([F.elu, nn.ELU(), nn.ELU(inplace=True), F.elu_], 0.0, None, torch.expm1, same, same),
    "elu of another slope": ([lambda x: F.elu(x, 2.0), nn.ELU(2.0)],
                             0.0, None, lambda y: 2 * torch.expm1(y), same, same),
    "selu": ([F.selu, torch.selu, nn.SELU(), nn.SELU(inplace=True), F.selu_, torch.selu_],
             0.0, None, lambda y: 1.0507009873554805 * STEEP * torch.expm1(y), times(1.0507009873554805), same),
    "abs": ([torch.abs, Tensor.abs, abs, torch.absolute, Tensor.abs_, torch.abs_],
            0.0, None, times(-1), same, same),
    "clamp": (
        [lambda x: x.clamp(-1, 2), lambda x: torch.clamp(x, min=-1, max=2), lambda x: x.clip(-1, 2),
         lambda x: torch.clip(x, -1, 2), lambda x: x.clamp_(-1, 2), lambda x: x.clip_(min=-1, max=2),
         lambda x: x.clamp(torch.full((), -1.0).double(), torch.full((), 2.0).double())],
        -1.0, 2.0, constant(-1), same, constant(2),
    ),
    "clamp_min": (
        [lambda x: x.clamp(min=0), lambda x: x.clamp_min(0), lambda x: torch.clamp_min(x, 0), lambda x: x.clamp_min_(0),
         lambda x: torch.clamp(x, 0)],
        0.0, None, constant(0), same, same,
    ),
    "clamp_max": (
        [lambda x: x.clamp(max=1), lambda x: x.clamp_max(1), lambda x: torch.clamp_max(x, 1), lambda x: x.clamp_max_(1)],  # noqa: E501
        None, 1.0, same, same, constant(1),
    ),
    "where": (
        [lambda x: torch.where(x > 0, x, 0.1 * x), lambda x: torch.where(torch.le(x, 0), 0.1 * x, x),
         lambda x: x * (x > 0) + 0.1 * x * (x <= 0), lambda x: x.masked_fill(x.lt(0), 0) + 0.1 * x * (1 - x.sign()) / 2],  # noqa: E501
        0.0, None, times(0.1), same, same,
    ),
}  # fmt: skip
FORMS = [
    pytest.param(form, *pieces, id=f"{name}-{i}")
    for name, (forms, *pieces) in POINTWISE.items()
    for i, form in enumerate(forms)
]


def inputs(seed=0, shape=(2, 3, 4, 5)):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64)


def called(function, x, mode):
    """Output, gradient of a fixed weighting of it, and what became of the input."""
    leaf = x.clone().requires_grad_()
    argument = leaf * 1.0  # what works in place cannot work on a leaf
    with mode:
        output = function(argument)
    weighting = torch.linspace(-1, 2, output.numel(), dtype=x.dtype).view_as(output)
    (gradient,) = torch.autograd.grad((output * weighting).sum(), leaf)
    return output.detach(), gradient, argument.detach()


@pytest.mark.parametrize(("function", "low", "high", "below", "between", "above"), FORMS)
def test_pointwise_gates(request, function, low, high, below, between, above):
    x, y = inputs(0), inputs(1)
    recorded = RecordedGates()
    plain, recording = called(function, x, torch.enable_grad()), called(function, x, recorded)
    assert recorded.calls
    for found, expected in zip(recording, plain, strict=True):
        assert torch.equal(found, expected), "recording changes nothing"
    # Torch's hardsigmoid has a slope of 1/6 in float32, whatever the input is.
    exact = 1e-14 if "hardsigmoid" not in request.node.name else 1e-7
    for found, expected in zip(called(function, x, ReplayedGates(recorded)), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=exact, atol=exact)

    output, gradient, argument = called(function, y, ReplayedGates(recorded))
    of_hand = called(lambda z: held(x, low, high, below, between, above, z), y, torch.enable_grad())
    torch.testing.assert_close(output, of_hand[0], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(gradient, of_hand[1], rtol=1e-13, atol=1e-13)
    live = called(function, y, torch.enable_grad())[0]
    assert not torch.allclose(output, live), "held and live gates differ here"
    # In place is in place in every pass.
    works_in_place = not torch.equal(plain[2], x)
    assert torch.equal(argument, output if works_in_place else y)


def test_in_place_forms_are_among_those_tested():
    changing = [
        form for form in FORMS if not torch.equal(called(form.values[0], inputs(), RecordedGates())[2], inputs())
    ]
    assert len(changing) == 29


def test_every_gate_is_tested():
    seen = RecordedGates()
    for form in FORMS:
        called(form.values[0], inputs(), seen)
    for _, _, shape, function in POOLINGS:
        called(lambda x, function=function: first(function(x)), inputs(shape=shape), seen)
    steps = {name for name, gate in GATES.items() if type(gate).__name__ == "StepFunction"}
    # Of pooling with indices the function that gives the pooled image calls itself by the other name.
    assert set(GATES) - steps - CHOICES - {name for name, _ in seen.calls} == set()


CHOICES = {name for name, gate in GATES.items() if type(gate).__name__ == "Choice"}


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_choices_are_those_made_first(name):
    x, y, recorded = inputs(0), inputs(1), RecordedGates()

    def weighted(values):
        settings = (2,) if name in ("kthvalue", "topk") else ()
        chosen = getattr(torch, name)(values, *settings, dim=-1) if name != "topk" else values.topk(2)
        indices = chosen.indices if chosen.indices.dim() == values.dim() else chosen.indices.unsqueeze(-1)
        return values.gather(-1, indices)

    with recorded:
        weighted(x)
    with ReplayedGates(recorded):
        again = weighted(y)
    live = getattr(torch, name)(x, *((2,) if name in ("kthvalue", "topk") else ()), dim=-1).indices
    expected = y.gather(-1, live if live.dim() == y.dim() else live.unsqueeze(-1))
    assert torch.equal(again, expected)
    assert not torch.equal(weighted(y), expected)


@pytest.mark.parametrize("name", [name for name, gate in GATES.items() if type(gate).__name__ == "StepFunction"])
def test_step_functions_give_their_first_values_again(name):
    function = (lambda x: x.data) if name == "data" else getattr(torch, name)
    takes_two = name in ("eq", "ge", "greater", "greater_equal", "gt", "le", "less", "less_equal", "lt", "ne",
                         "not_equal", "heaviside")  # fmt: skip
    x, y, other = inputs(0).round(), inputs(1), inputs(2).round()
    arguments = (other,) if takes_two else ()
    recorded = RecordedGates()
    with recorded:
        first_values = function(x, *arguments)
    with ReplayedGates(recorded):
        again = function(y, *arguments)
    assert torch.equal(again, first_values)
    assert not torch.equal(function(y, *arguments), first_values)


def test_step_values_changed_in_place_are_still_the_first_ones():
    def forward(x):
        mask = x > 0
        values = mask.clone()
        mask.logical_not_()
        return values

    recorded = RecordedGates()
    with recorded:
        expected = forward(inputs(0))
    with ReplayedGates(recorded):
        assert torch.equal(forward(inputs(1)), expected)


def test_the_slope_of_a_prelu_gets_its_gradient():
    for slope in (nn.PReLU().double(), nn.PReLU(3, init=0.4).double()):
        x, y, recorded = inputs(0), inputs(1), RecordedGates()
        with recorded:
            slope(x)
        for there in (x, y):
            with ReplayedGates(recorded):
                output = slope(there)
            (found,) = torch.autograd.grad(output.square().sum(), slope.weight)
            below = torch.where(x <= 0, there, 0)
            expected = (2 * slope.weight.view(-1, 1, 1) * below.square()).sum((0, 2, 3))
            expected = expected.sum().view(1) if slope.num_parameters == 1 else expected
            torch.testing.assert_close(found, expected)


def test_prelu_of_features():
    recorded, weight = RecordedGates(), SLOPES
    x, y = inputs(0, (4, 3)), inputs(1, (4, 3))
    with recorded:
        F.prelu(x, weight)
    with ReplayedGates(recorded):
        found = F.prelu(y, weight)
    assert torch.equal(found, torch.where(x <= 0, weight * y, y))


@pytest.mark.parametrize("function", [F.relu, F.relu6, F.hardtanh, F.leaky_relu, F.hardswish, F.elu,
                                      F.selu, torch.abs, lambda x: x.clamp(-1, 1), lambda x: x.clamp(0, 6),
                                      lambda x: F.threshold(x, 1.0, 5.0)])  # fmt: skip
def test_on_a_kink_the_side_is_that_of_torchs_derivative(function):
    x, recorded = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0, 6.0], dtype=torch.float64), RecordedGates()
    plain = called(function, x, recorded)
    for found, expected in zip(called(function, x, ReplayedGates(recorded)), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)


# max pooling


def first(output):
    return output[0] if isinstance(output, tuple) else output


POOLINGS = [
    (dimensions, settings, shape, pool)
    for dimensions, shape in ((1, (2, 3, 11)), (2, (2, 3, 7, 8)), (3, (1, 2, 5, 6, 7)))
    for settings, pool in (
        ("module", getattr(nn, f"MaxPool{dimensions}d")(2)),
        ("padding", getattr(nn, f"MaxPool{dimensions}d")(3, 2, 1)),
        ("dilation, ceil_mode", getattr(nn, f"MaxPool{dimensions}d")(2, 3, dilation=2, ceil_mode=True)),
        ("module with indices", getattr(nn, f"MaxPool{dimensions}d")(2, return_indices=True)),
        ("function", lambda x, f=getattr(F, f"max_pool{dimensions}d"): f(x, 3, stride=2, padding=1)),  # noqa: B008
        ("function with indices", lambda x, f=getattr(F, f"max_pool{dimensions}d"): f(x, 2, 2, 0, 1, False, True)),  # noqa: B008
        ("with_indices", lambda x, f=getattr(F, f"max_pool{dimensions}d_with_indices"): f(x, 2)),  # noqa: B008
        ("torch", lambda x, f=getattr(torch, f"max_pool{dimensions}d"): f(x, 2)),  # noqa: B008
        ("adaptive", getattr(nn, f"AdaptiveMaxPool{dimensions}d")(2)),
        ("adaptive with indices", getattr(nn, f"AdaptiveMaxPool{dimensions}d")(3, return_indices=True)),
        ("adaptive function", lambda x, f=getattr(F, f"adaptive_max_pool{dimensions}d"): f(x, 3)),  # noqa: B008
        ("adaptive torch", lambda x, f=getattr(F, f"adaptive_max_pool{dimensions}d_with_indices"): f(x, 3)),  # noqa: B008
    )
]


@pytest.mark.parametrize(
    ("dimensions", "settings", "shape", "pool"), POOLINGS, ids=[f"{d}d {s}" for d, s, _, _ in POOLINGS]
)
def test_max_pooling_takes_the_pixels_that_it_took(dimensions, settings, shape, pool):
    x, y, recorded = inputs(0, shape), inputs(1, shape), RecordedGates()

    def pooled(z):
        output = pool(z)
        assert isinstance(output, tuple) == ("ind" in settings or settings == "adaptive torch")
        return first(output)

    plain = called(pooled, x, torch.enable_grad())
    for found, expected in zip(called(pooled, x, recorded), plain, strict=True):
        assert torch.equal(found, expected)
    for found, expected in zip(called(pooled, x, ReplayedGates(recorded)), plain, strict=True):
        assert torch.equal(found, expected)

    output, gradient, _ = called(pooled, y, ReplayedGates(recorded))
    # By hand: where in x is the pixel that was taken? All pixels of x differ.
    flat_x, flat_y = x.flatten(2), y.flatten(2)
    expected, expected_gradient = torch.empty_like(output), torch.zeros_like(y)
    weighting = torch.linspace(-1, 2, output.numel(), dtype=x.dtype).view_as(output)
    for image in range(shape[0]):
        for channel in range(shape[1]):
            for cell, value in enumerate(plain[0][image, channel].flatten()):
                pixel = (flat_x[image, channel] == value).nonzero().item()
                expected[image, channel].view(-1)[cell] = flat_y[image, channel, pixel]
                weight = weighting[image, channel].reshape(-1)[cell]
                expected_gradient[image, channel].view(-1)[pixel] += weight
    assert torch.equal(output, expected)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-13, atol=1e-13)
    assert not torch.equal(output, called(pooled, y, torch.enable_grad())[0])


def test_pooling_without_a_batch():
    x, y, recorded = inputs(0, (3, 4, 4)), inputs(1, (3, 4, 4)), RecordedGates()
    with recorded:
        F.max_pool2d(x, 2)
    with ReplayedGates(recorded):
        found = F.max_pool2d(y, 2)
    _, indices = F.max_pool2d(x, 2, return_indices=True)
    assert torch.equal(found, y.flatten(1).gather(1, indices.flatten(1)).view(3, 2, 2))


# a pass that differs


def test_a_pass_that_calls_something_else_is_an_error():
    x, recorded = inputs(), RecordedGates()
    with recorded:
        F.relu(x)
    for other, message in ((F.hardswish, "called hardswish where its first called relu"),):
        with pytest.raises(RuntimeError, match=message), ReplayedGates(recorded):
            other(x)
    with pytest.raises(RuntimeError, match="called relu where its first called nothing"), ReplayedGates(recorded):
        F.relu(F.relu(x))
    with pytest.raises(RuntimeError, match="did not call relu, which its first called"), ReplayedGates(recorded):
        x + 1


def test_an_error_inside_a_pass_stays_the_error_that_it_is():
    recorded = RecordedGates()
    with recorded:
        F.relu(inputs())
    with pytest.raises(ZeroDivisionError), ReplayedGates(recorded):
        1 / 0


# what is not known


def checked(network, x=None):
    x = torch.randn(2, 3, 6, 6, requires_grad=True) if x is None else x
    recorded = RecordedGates()
    with recorded:
        loss = network(x).sum()
    recorded.check(loss)


class Scripted(nn.Module):
    def forward(self, x):
        return torch.relu(2 * x + 1) * 1.5


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.relu()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize("warmups", [0, 3])
def test_gates_in_a_script_are_an_error(warmups):
    for script in (torch.jit.script(nn.ReLU()), torch.jit.script(Scripted()),
                   torch.jit.trace(Scripted(), torch.randn(2, 3, 6, 6))):  # fmt: skip
        for _ in range(warmups):
            script(torch.randn(2, 3, 6, 6, requires_grad=True)).sum().backward()
        with pytest.raises(ValueError, match=r"FrozenGates cannot hold (1 Relu that|what is inside a torch::jit)"):
            checked(script)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (Own.apply, "autograd function Own"),
        (lambda x: x.topk(2).values, "1 Topk"),
        (lambda x: x.amax(1), "1 Amax"),
        (lambda x: x.max(1).values.min(1).values, r"1 Min, 1 Max|1 Max, 1 Min"),
        (lambda x: torch.maximum(x, 2 * x), "1 Maximum"),
        (lambda x: x.sort().values, "1 Sort"),
        (lambda x: x.cummax(1).values, "1 Cummax"),
        (lambda x: torch.fmin(x, 2 * x), "1 Fmin"),
        (nn.RReLU(), "1 RreluWithNoise"),
        (nn.Softshrink(), "1 Softshrink"),
        (nn.Hardshrink(), "1 Hardshrink"),
        (nn.FractionalMaxPool2d(2, output_size=3), "1 FractionalMaxPool2D"),
        (nn.LPPool2d(2, 2), "1 Relu that|1 Abs that"),
    ],
)
def test_kinks_that_cannot_be_held_are_an_error(function, named):
    with pytest.raises(ValueError, match=rf"`network`: FrozenGates cannot hold .*({named}).*engine=DoubleBackprop\(\)"):
        checked(function)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # Dynamo looks at it
def test_compiled_networks_are_an_error():
    torch._dynamo.reset()  # past its limit of recompilations it runs the network as it is
    network = torch.compile(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), backend="aot_eager")
    with pytest.raises(ValueError, match="what is inside a CompiledFunctionBackward node"):
        checked(network)


def hooked():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    network[1].register_full_backward_hook(lambda *_: None)
    return network


@pytest.mark.parametrize(
    "network",
    [
        F.normalize,
        hooked(),
        nn.Sequential(nn.Flatten(2), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.CELU(), nn.Mish(), nn.Tanh(),
                      nn.LayerNorm(36)),
        nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(36, 2, 8, activation="gelu", batch_first=True)),
        nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(36, 2, 8, activation="relu", batch_first=True)),
        lambda x: F.scaled_dot_product_attention(x, x, x),
        lambda x: x.clamp(min=1e-3).log() + F.cosine_similarity(x, 2 * x, dim=1).unsqueeze(1),
        nn.AvgPool2d(2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Sequential(*(copy.deepcopy(f.values[0]) for f in FORMS if isinstance(f.values[0], nn.Module))).float(),
    ],
)  # fmt: skip
def test_what_is_smooth_or_held_is_no_error(network):
    checked(network)


def test_the_smooth_functions_of_torch_have_the_names_that_are_let_through():
    from torch.nn.modules._functions import SyncBatchNorm
    from torch.nn.parallel.distributed import _DDPSink
    from torch.utils.hooks import BackwardHook  # noqa: F401  (the hook's function is checked above, by its graph)

    from camtrain.gradients.unseen_kinks import _SMOOTH

    for function in (SyncBatchNorm, _DDPSink):
        assert f"{function.__name__}Backward" in _SMOOTH


def test_the_error_counts():
    class Network(nn.Module):
        def forward(self, x):
            return F.softsign(F.softsign(F.relu(abs(x))))

    with pytest.raises(ValueError, match=re.escape("cannot hold 2 Abs that torch's function mode does not see.")):
        checked(Network())
