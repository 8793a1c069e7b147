from __future__ import annotations

import copy
import math
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.regularizers import InterpretableGradient, MapSparsity, SaliencyGuided
from tests.living_things import living_tensors, uncollected

STATISTICS = pytest.mark.parametrize("statistics", ["batch", "running"])


def network_of(dtype=torch.float32):
    """With all that a second pass could disturb: BatchNorm, dropout, an in-place ReLU."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Dropout(0.3),
        nn.Conv2d(6, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 16, 4),
    ).to(dtype)


def plain_network_of(dtype=torch.float32):
    """Without BatchNorm and dropout: each image for itself."""
    return nn.Sequential(*(layer for layer in network_of(dtype) if not isinstance(layer, (nn.BatchNorm2d, nn.Dropout))))


def batch_of(dtype=torch.float32):
    torch.manual_seed(1)
    return torch.randn(6, 3, 8, 8, dtype=dtype), torch.tensor([0, 1, 2, 3, 0, 1])


def gradients_of(network):
    return [parameter.grad.clone() for parameter in network.parameters()]


def norm(gradients):
    return math.hypot(*(gradient.norm().item() for gradient in gradients))


def regularized(weight=1.0, **settings):
    return Objective(InterpretableGradient(**settings), weight)


# λ = 0 and no regularizer: plain training


def trained(step_of, steps=4):
    network = network_of()
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    images, labels = batch_of()
    torch.manual_seed(7)
    for _ in range(steps):
        optimizer.zero_grad()
        step_of(network, images, labels).backward()
        optimizer.step()
    return network.state_dict(), torch.get_rng_state()


@pytest.mark.parametrize(
    "objective",
    [Objective(), Objective(None, 0.0), Objective(InterpretableGradient(batch_norm_statistics="running"), 0)],
)
def test_without_regularization_training_is_plain_bit_for_bit(objective):
    expected, random_state = trained(lambda network, images, labels: F.cross_entropy(network(images), labels))
    found, found_random_state = trained(lambda *batch: objective(*batch).loss)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert torch.equal(found_random_state, random_state)
    other, _ = trained(lambda *batch: regularized()(*batch).loss)
    assert not torch.equal(other["0.weight"], expected["0.weight"]), "with λ = 1 it is not"


def test_without_regularization_there_is_one_pass_and_no_extra_gradient(monkeypatch):
    passes, network = [], network_of()
    network.register_forward_hook(lambda *_: passes.append(1))
    monkeypatch.setattr(torch.autograd, "grad", lambda *_, **__: pytest.fail("a gradient was taken"))
    step = regularized(0.0)(network, *batch_of())
    step.loss.backward()
    assert len(passes) == 1
    assert step.regularization.isnan()


# what a step says


def test_a_step_is_as_documented():
    network, (images, labels) = plain_network_of(), batch_of()
    step = regularized(0.5)(network, images, labels)
    logits = network(images)
    assert torch.equal(step.logits, logits)
    assert torch.equal(step.classification, F.cross_entropy(logits, labels))
    assert step.loss.item() == pytest.approx((step.classification + 0.5 * step.regularization).item(), rel=1e-6)
    assert step.loss.requires_grad
    assert step.gradient_share is None
    for value in (step.classification, step.regularization):
        assert (value.dim(), value.dtype, value.requires_grad) == (0, torch.float32, False)
    assert not step.logits.requires_grad


def test_plain_steps_say_that_there_is_no_regularization():
    step = Objective()(network_of(), *batch_of(), measure_gradient_share=True)
    assert step.regularization.isnan()
    assert step.gradient_share == 0
    assert torch.equal(step.loss.detach(), step.classification)


def test_values_are_float32_whatever_the_network_is():
    step = regularized()(network_of(torch.float64), *batch_of(torch.float64))
    assert (step.classification.dtype, step.regularization.dtype) == (torch.float32, torch.float32)
    assert (step.loss.dtype, step.logits.dtype) == (torch.float64, torch.float64)


def test_the_weight_may_change_between_steps():
    objective, network = regularized(0.5), plain_network_of()
    objective.weight = 2.0
    step = objective(network, *batch_of())
    assert step.loss.item() == pytest.approx((step.classification + 2 * step.regularization).item(), rel=1e-6)
    assert "weight=2.0" in repr(objective)
    assert isinstance(objective.engine, FrozenGates)


# nothing else is touched


@STATISTICS
def test_nothing_but_gradients_and_statistics_of_one_forward_is_left(statistics):
    network, (images, labels) = network_of(), batch_of()
    twin = copy.deepcopy(network)
    torch.manual_seed(5)
    twin(images)
    random_state = torch.get_rng_state()

    images_before = images.clone()
    images.requires_grad_()
    torch.manual_seed(5)
    step = regularized(batch_norm_statistics=statistics)(network, images, labels, measure_gradient_share=True)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(parameter.grad is None for parameter in network.parameters())
    step.loss.backward()
    assert images.grad is None
    assert torch.equal(images, images_before)
    assert network[1].num_batches_tracked == 1
    for name, buffer in twin.named_buffers():
        assert torch.equal(network.get_buffer(name), buffer), name
    for module in network.modules():
        assert module.training
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    for parameter in network.parameters():
        assert parameter.requires_grad
        assert not parameter.grad.requires_grad
        assert parameter.grad.norm() > 0 or parameter.dim() == 1


def test_images_that_something_trained_has_made_are_refused_where_their_graph_would_be_cut():
    """It would not be trained, not even by L_C."""
    network, (images, labels) = network_of(), batch_of()
    prompt = torch.zeros(images.shape[1:], requires_grad=True)
    with pytest.raises(ValueError, match="`images`: expected images that nothing trained has made"):
        regularized()(network, images + prompt, labels)
    with pytest.raises(ValueError, match="`images`: expected images that nothing trained has made"):
        Objective(SaliencyGuided(), 1.0)(network, images + prompt, labels)
    for objective in (Objective(), Objective(MapSparsity(target_layer="0"), 0.1)):
        objective(network, images + prompt, labels).loss.backward()
        assert float(prompt.grad.abs().sum()) > 0
        prompt.grad = None


@STATISTICS
def test_the_network_is_left_as_found_after_an_error(statistics):
    network = network_of()
    network[2] = network[6] = nn.SiLU()
    with pytest.raises(ValueError, match="no ReLU-like activation"):
        regularized(batch_norm_statistics=statistics)(network, *batch_of())
    assert all(module.training and not module._forward_hooks for module in network.modules())
    assert network[1].track_running_stats


def test_frozen_parameters_get_no_gradient():
    network = network_of()
    network[0].requires_grad_(False)
    step = regularized()(network, *batch_of(), measure_gradient_share=True)
    step.loss.backward()
    assert network[0].weight.grad is None
    assert network[4].weight.grad.norm() > 0
    assert 0 < step.gradient_share < 1


def test_head_and_stem_receive_the_regularizers_gradient():
    network, batch = network_of(), batch_of()
    objective = Objective(InterpretableGradient(), 1.0)
    for weight in (1.0, 2.0):
        objective.weight = weight
        torch.manual_seed(0)
        objective(network, *batch).loss.backward()
        if weight == 1:
            once = gradients_of(network)
            network.zero_grad()
    of_regularizer = [(twice - one).norm() for twice, one in zip(gradients_of(network), once, strict=True)]
    assert of_regularizer[0] > 1e-4, "stem"
    assert of_regularizer[-2] > 1e-4, "head"


# other ways to the same numbers


@STATISTICS
@pytest.mark.parametrize("training", [False, True])
def test_the_values_of_measure_are_those_of_a_step(training, statistics):
    network, batch = network_of().train(training), batch_of()
    for layer in (network[1], network[5]):
        layer.momentum = 0.0  # the first pass of a step would update what the second one uses
        layer.running_var.fill_(4.0)
    objective = regularized(0.5, batch_norm_statistics=statistics)
    torch.manual_seed(2)
    # It leaves the random numbers of dropout to the step.
    measured, step = objective.measure(network, *batch), objective(network, *batch)
    assert torch.equal(measured.loss, step.loss.detach())
    assert torch.equal(measured.classification, step.classification)
    assert torch.equal(measured.regularization, step.regularization)
    assert torch.equal(measured.logits, step.logits)
    assert not measured.loss.requires_grad


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    "regularizer", [None, InterpretableGradient(), InterpretableGradient("mse", batch_norm_statistics="running")]
)
def test_measure_works_where_gradients_are_off(context, regularizer):
    network, (images, labels) = network_of().eval(), batch_of()
    objective = Objective(regularizer, None if regularizer is None else 0.5)
    expected = objective.measure(network, images, labels)
    with context():
        # A loader under inference mode makes inference tensors.
        measured = objective.measure(network, images.clone(), labels.clone())
    assert torch.equal(measured.loss, expected.loss)
    assert torch.equal(measured.regularization, expected.regularization) or regularizer is None
    assert measured.regularization.isnan() == (regularizer is None)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_measure_looks_at_the_regularizer_even_if_its_weight_is_zero():
    network, batch = network_of().eval(), batch_of()
    measured = regularized(0.0).measure(network, *batch)
    assert torch.equal(measured.regularization, regularized(1.0).measure(network, *batch).regularization)
    assert torch.equal(measured.loss, measured.classification)


def test_the_gradient_share():
    network, (images, labels) = plain_network_of(torch.float64), batch_of(torch.float64)
    step = regularized(3.0)(network, images, labels, measure_gradient_share=True)
    step.loss.backward()
    both = gradients_of(network)
    network.zero_grad()
    F.cross_entropy(network(images), labels).backward()
    of_classification = gradients_of(network)
    of_regularizer = norm([a - b for a, b in zip(both, of_classification, strict=True)])
    expected = of_regularizer / (norm(of_classification) + of_regularizer)
    assert 0.01 < expected < 0.99
    assert step.gradient_share.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_accumulated_half_batches_are_the_whole_batch(distance):
    network, (images, labels) = plain_network_of(torch.float64), batch_of(torch.float64)
    objective = regularized(3.0, distance=distance)
    objective(network, images, labels).loss.backward()
    whole = gradients_of(network)
    network.zero_grad()
    for half in (slice(3), slice(3, 6)):
        (objective(network, images[half], labels[half]).loss / 2).backward()
    for found, expected in zip(gradients_of(network), whole, strict=True):
        torch.testing.assert_close(found, expected)


def test_one_hot_probabilities_are_the_labels():
    network, (images, labels) = plain_network_of(torch.float64), batch_of(torch.float64)
    by_index = regularized()(network, images, labels)
    by_probability = regularized()(network, images, F.one_hot(labels, 4).double())
    torch.testing.assert_close(by_probability.loss, by_index.loss)
    torch.testing.assert_close(by_probability.regularization, by_index.regularization)


def test_soft_labels_and_label_smoothing_are_the_same_thing():
    network, (images, labels) = plain_network_of(torch.float64), batch_of(torch.float64)
    smooth = 0.8 * F.one_hot(labels, 4).double() + 0.2 / 4
    by_smoothing = Objective(InterpretableGradient(), 1.0, label_smoothing=0.2)(network, images, labels)
    torch.testing.assert_close(regularized()(network, images, smooth).loss, by_smoothing.loss)
    assert by_smoothing.classification != regularized()(network, images, labels).classification


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # Dynamo looks at it
def test_checkpointed_and_compiled_networks_train_as_others_or_say_why_not():
    network, batch = plain_network_of(torch.float64), batch_of(torch.float64)
    Objective(InterpretableGradient(), 1.0, DoubleBackprop())(network, *batch).loss.backward()
    expected = gradients_of(network)

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, images):
            return self.network[3:](checkpoint(self.network[:3], images, use_reentrant=False))

    for other, engine in (
        (Checkpointed(), DoubleBackprop()),
        (torch.compile(network, backend="eager"), DoubleBackprop()),
    ):
        network.zero_grad()
        objective = Objective(InterpretableGradient(), 1.0, engine)
        objective(other, *batch, measure_gradient_share=True).loss.backward()
        for found, gradient in zip(gradients_of(network), expected, strict=True):
            torch.testing.assert_close(found, gradient, rtol=1e-5, atol=1e-7)
    for engine, advice in (
        (DoubleBackprop(), r"Call the network without torch\.compile"),
        (FrozenGates(), r"train the network as it was before compiling"),
    ):
        torch.compiler.reset()  # past a number of compilations torch runs a network uncompiled, and there is no error
        objective = Objective(InterpretableGradient(), 1.0, engine)
        with pytest.raises(ValueError, match=advice):
            objective(torch.compile(network, backend="aot_eager"), *batch)


# precision


@pytest.mark.parametrize("distance", ["cosine", "mae", "mse", "histogram_intersection"])
def test_bfloat16_autocast(distance):
    network, batch = plain_network_of(), batch_of()
    objective = Objective(InterpretableGradient(distance), 1.0, DoubleBackprop())
    exact = objective(network, *batch)
    exact.loss.backward()
    expected = gradients_of(network)
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        step = objective(network, *batch, measure_gradient_share=True)
    step.loss.backward()
    assert step.logits.dtype == torch.bfloat16
    assert step.regularization.dtype == torch.float32
    assert step.classification.item() == pytest.approx(exact.classification.item(), rel=0.02)
    # Coarse: bfloat16 has three digits, and a flipped gate changes δ at once.
    assert step.regularization.item() == pytest.approx(exact.regularization.item(), rel=0.2)
    difference = norm([a - b for a, b in zip(gradients_of(network), expected, strict=True)])
    assert difference < 0.2 * norm(expected)


@pytest.mark.parametrize("autocast", [True, False])
def test_float16_where_the_gradient_would_vanish(autocast):
    # Layers this small make δ some 1e-8, which float16 does not have: δ = 0 would be "nothing in common".
    network, (images, labels) = plain_network_of(), batch_of()
    with torch.no_grad():
        network[0].weight *= 1e-3
        network[2].weight *= 1e-3
    objective = Objective(InterpretableGradient(floor=1e-30), 1.0, DoubleBackprop())
    exact = objective(network, images, labels)
    exact.loss.backward()
    expected = gradients_of(network)
    network.zero_grad()
    if autocast:
        with torch.autocast("cpu", torch.float16):
            step = objective(network, images, labels)
    else:
        step = objective(network.half(), images.half(), labels)
    step.loss.backward()
    assert exact.regularization < 0.9
    assert step.regularization.item() == pytest.approx(exact.regularization.item(), rel=0.01)
    difference = norm([a.float() - b for a, b in zip(gradients_of(network), expected, strict=True)])
    assert difference < 0.05 * norm(expected)


# memory


def test_a_step_leaves_no_cycle_and_no_graph_behind():
    network, (images, labels) = network_of(), batch_of()
    objective, seen = Objective(InterpretableGradient(), 1.0, FrozenGates()), []
    network.register_forward_pre_hook(lambda _module, inputs: seen.append(weakref.ref(inputs[0])))

    def steps(count):
        for _ in range(count):
            network.zero_grad()
            objective(network, images, labels, measure_gradient_share=True).loss.backward()
        return living_tensors()

    with uncollected():
        steps(2)
        before = steps(3)
        assert steps(100) == before
    assert len(seen) == 2 * 105 + 1  # FrozenGates makes two passes, and a third in its first step
    assert all(image() is None for image in seen)
    assert not any(parameter.grad.requires_grad for parameter in network.parameters())


# bad input


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_bad_weights(weight):
    with pytest.raises(ValueError, match="`weight`: expected a finite number of at least 0"):
        regularized(weight)
    objective = regularized(1.0)
    with pytest.raises(ValueError, match="`weight`"):
        objective.weight = weight
    assert objective.weight == 1.0


def test_bad_settings():
    with pytest.raises(ValueError, match=r"`weight`: expected 0 or None without a regularizer, got 0\.5"):
        Objective(None, 0.5)
    with pytest.raises(ValueError, match="`weight`"):
        Objective(None, math.nan)
    for smoothing in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="`label_smoothing`"):
            Objective(label_smoothing=smoothing)


@pytest.mark.parametrize("objective", [Objective(), regularized()], ids=["plain", "regularized"])
@pytest.mark.parametrize("call", ["forward", "measure"])
class TestBadBatches:
    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (
                torch.zeros(5, dtype=torch.int64),
                r"expected \(6,\) class indices or \(6, 4\) probabilities, got .*\(5,\)",
            ),
            (torch.zeros(6, 1, dtype=torch.int64), r"got shape \(6, 1\)"),
            (torch.zeros(6, 3), r"got shape \(6, 3\)"),
            (torch.tensor([0, 1, 2, 3, 4, 0]), "expected classes from 0 to 3, got 4"),
            (torch.tensor([0, 1, 2, 3, -1, 0]), "expected classes from 0 to 3, got -1"),
            (torch.zeros(6), "expected int64 class indices or floating point probabilities, got torch.float32"),
            (torch.zeros(6, dtype=torch.int32), "got torch.int32"),
            (torch.zeros(6, 4, dtype=torch.int64), r"got torch.int64 of shape \(6, 4\)"),
        ],
    )
    def test_labels(self, objective, call, labels, message):
        with pytest.raises(ValueError, match=f"`labels`: .*{message}"):
            getattr(objective, call)(network_of(), batch_of()[0], labels)

    @pytest.mark.parametrize(
        "images", [torch.zeros(6, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8), torch.zeros(6, 3, 64)]
    )
    def test_images(self, objective, call, images):
        with pytest.raises((TypeError, ValueError), match=r"`images`: expected floating-point images .*, got torch"):
            getattr(objective, call)(network_of(), images, batch_of()[1])

    def test_networks(self, objective, call):
        class Tuple(nn.Module):
            def forward(self, images):
                return images.mean((2, 3)), images

        with pytest.raises(ValueError, match=r"`network`: expected \(\d, K\) logits, got tuple"):
            getattr(objective, call)(Tuple(), *batch_of())
        with pytest.raises(ValueError, match=r"`network`: expected \(\d, K\) logits, got \(6, 6, 6, 6\)"):
            getattr(objective, call)(network_of()[:3], *batch_of())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("regularizer", [InterpretableGradient(), MapSparsity()])
def test_a_step_with_a_penalty_refuses_disabled_gradients(regularizer, context):
    objective = Objective(regularizer, 1.0, every_n_steps=2)
    before = objective.state_dict()
    # In each step of the period, with nothing counted.
    for _ in range(2):
        with context(), pytest.raises(RuntimeError, match="gradients are disabled"):
            objective(network_of(), *batch_of())
    with torch.inference_mode(), torch.enable_grad(), pytest.raises(RuntimeError, match="gradients are disabled"):
        objective(network_of(), *batch_of())
    assert str(objective.state_dict()) == str(before)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_plain_step_has_values_where_gradients_are_disabled(context):
    with context():
        assert Objective(MapSparsity(), 0.0)(network_of(), *batch_of()).loss > 0


# a user's own network


def test_trains_a_users_own_network():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 2)

        def forward(self, images):
            return self.head(F.relu(self.stem(images)).mean((2, 3)))

    torch.manual_seed(0)
    network = Mine()
    images, labels = torch.randn(16, 3, 8, 8), torch.arange(16) % 2
    images[labels == 1] += 0.5
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    objective = Objective(InterpretableGradient(distance="cosine"), weight=0.5, engine=DoubleBackprop())
    steps = []
    for _ in range(30):
        step = objective(network, images, labels)
        optimizer.zero_grad()
        step.loss.backward()
        optimizer.step()
        steps.append(step)
    assert steps[-1].loss < 0.7 * steps[0].loss
    assert steps[-1].classification < steps[0].classification
    assert steps[-1].regularization < steps[0].regularization


# lazy regularization


def lazy(every_n_steps, weight=0.5):
    return Objective(InterpretableGradient(), weight, every_n_steps=every_n_steps)


def test_lazy_regularization_is_k_times_as_much_in_every_kth_step():
    network, batch = plain_network_of(torch.float64), batch_of(torch.float64)
    always, objective = regularized(1.5)(network, *batch), lazy(3)
    found = [objective(network, *batch) for _ in range(7)]
    assert [step.regularized for step in found] == [True, False, False] * 2 + [True]
    for step in found:
        if step.regularized:
            torch.testing.assert_close(step.loss, always.loss)
            assert step.notes == always.notes
        else:
            assert torch.equal(step.loss.float(), step.classification)
            assert step.regularization.isnan()
            assert step.notes == {}


def test_over_a_period_the_gradient_is_that_of_regularizing_always():
    network, batch = plain_network_of(torch.float64), batch_of(torch.float64)
    Objective(InterpretableGradient(), 0.5, DoubleBackprop())(network, *batch).loss.backward()
    expected = gradients_of(network)
    network.zero_grad()
    objective = Objective(InterpretableGradient(), 0.5, DoubleBackprop(), every_n_steps=4)
    for _ in range(4):
        (objective(network, *batch).loss / 4).backward()
    for found, gradient in zip(gradients_of(network), expected, strict=True):
        torch.testing.assert_close(found, gradient)


def test_measuring_is_no_step_and_looks_at_the_regularizer_always():
    network, batch = plain_network_of().eval(), batch_of()
    objective = lazy(2)
    steps = []
    for _ in range(4):
        measured = objective.measure(network, *batch)
        assert measured.regularized
        torch.testing.assert_close(measured.loss, measured.classification + 0.5 * measured.regularization)
        steps.append(objective(network, *batch).regularized)
    assert steps == [True, False, True, False]


def test_a_warm_up_from_zero_takes_part_in_the_phase():
    network, batch, objective = plain_network_of(), batch_of(), lazy(2, weight=0.0)
    found = []
    for weight in (0.0, 0.0, 0.5, 0.5):
        objective.weight = weight
        found.append(objective(network, *batch).regularized)
    assert found == [False, False, True, False]


def test_the_phase_is_in_the_state_dict():
    network, batch, objective = plain_network_of(), batch_of(), lazy(3)
    for done in range(4):
        state = objective.state_dict()
        assert all(isinstance(value, Tensor) for value in state.values())
        resumed = lazy(3)
        resumed.load_state_dict(state)
        assert [resumed(network, *batch).regularized for _ in range(3)] == [(done + i) % 3 == 0 for i in range(3)]
        objective(network, *batch)
    # Where the period was made shorter, the phase is one of the new period.
    objective(network, *batch)
    shorter = lazy(2)
    shorter.load_state_dict(objective.state_dict())
    assert [shorter(network, *batch).regularized for _ in range(2)] == [True, False]


def test_the_share_of_a_plain_step_in_between_is_zero():
    network, batch, objective = plain_network_of(), batch_of(), lazy(2)
    shares = [objective(network, *batch, measure_gradient_share=True).gradient_share for _ in range(2)]
    assert shares[0] > 0
    assert shares[1] == 0


@pytest.mark.parametrize("steps", [0, -1])
def test_bad_periods(steps):
    with pytest.raises(ValueError, match=f"`every_n_steps`: expected a positive integer, got {steps}"):
        lazy(steps)
    assert "every_n_steps=3" in repr(lazy(3))
