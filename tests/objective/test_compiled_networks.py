"""Steps of a compiled network: what compiled code cannot do runs uncompiled, and a warning says so."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from camtrain import CamtrainWarning, Objective
from camtrain.batch import Batch
from camtrain.callbacks.explained_images import explained_images
from camtrain.cams import TaylorCAM
from camtrain.gradients import DoubleBackprop
from camtrain.networks import AttentionBranch
from camtrain.networks.target_layer import target_layer_of
from camtrain.regularizers import (
    AttentionBranchLoss,
    EnergyInside,
    ExpectedGradientsPrior,
    GradientNorm,
    MapConsistency,
    MapDistillation,
    RightForBetterReasons,
    RightForRightReasons,
    SaliencyGuided,
    Sum,
    Term,
)

# Dynamo looks at the gradients of tensors in a graph.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
LAYER = "3"


class Backend:
    """Counts the passes of compiled code."""

    def __init__(self):
        self.runs = 0

    def __call__(self, graph, _example_inputs):
        def run(*args):
            self.runs += 1
            return graph(*args)

        return run


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


def compiled(kind, backend):
    torch.compiler.reset()
    network = small_network()
    if kind == "in place":
        network.compile(backend=backend)
        return network
    if kind == "in part":
        network[3] = torch.compile(network[3], backend=backend)
        return network
    return torch.compile(network, backend=backend)


def batch():
    torch.manual_seed(1)
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[:, 2:5, 3:6] = True
    return torch.rand(2, 3, 8, 8), torch.tensor([0, 2]), masks


def gradient_of(network, regularizer):
    images, labels, masks = batch()
    torch.manual_seed(2)
    Objective(regularizer, 1.0, DoubleBackprop())(network, images, labels, masks=masks).loss.backward()
    found = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    network.zero_grad()
    return found


KINDS = pytest.mark.parametrize("kind", ["wrapped", "in place", "in part"])


@KINDS
@pytest.mark.parametrize("layer", [None, LAYER])
def test_a_compiled_network_that_has_run(kind, layer):
    """Compiled code ignores hooks that are added after its first run."""
    expected = gradient_of(small_network(), EnergyInside(target_layer=layer))
    backend = Backend()
    network = compiled(kind, backend)
    with torch.no_grad():
        network.eval()(batch()[0])
    network.train()
    assert backend.runs == 1
    with pytest.warns(CamtrainWarning, match="`network`: steps with EnergyInside run it without its compiled code"):
        found = gradient_of(network, EnergyInside(target_layer=layer))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert backend.runs == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient_of(network, EnergyInside(target_layer=layer))  # one warning is enough


@KINDS
@pytest.mark.parametrize(
    "make",
    [
        EnergyInside,
        lambda: EnergyInside("input_x_gradient"),
        lambda: MapConsistency("layer_cam"),
        lambda: MapDistillation(small_network(), method="activations"),
        RightForBetterReasons,
        ExpectedGradientsPrior,
        lambda: Sum([Term(GradientNorm()), Term(RightForRightReasons())]),
    ],
)
def test_a_step_of_each_kind_runs_nothing_compiled(kind, make):
    expected = gradient_of(small_network(), make())
    backend = Backend()
    network = compiled(kind, backend)
    with pytest.warns(CamtrainWarning, match=r"`network`: steps with \w+ run it"):
        found = gradient_of(network, make())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert backend.runs == 0


def test_a_teacher_that_was_compiled():
    teacher = small_network().requires_grad_(requires_grad=False)
    expected = gradient_of(small_network(), MapDistillation(teacher, method="activations"))
    teacher = torch.compile(teacher, backend=Backend())
    teacher(batch()[0])
    found = gradient_of(small_network(), MapDistillation(teacher, method="activations"))
    assert torch.equal(found, expected)


@KINDS
def test_steps_without_a_penalty_run_the_compiled_code(kind):
    backend = Backend()
    network = compiled(kind, backend)
    images, labels, masks = batch()
    objective = Objective(EnergyInside(), 1.0, every_n_steps=2)
    with pytest.warns(CamtrainWarning, match="EnergyInside"):
        objective(network, images, labels, masks=masks)
    assert backend.runs == 0
    objective(network, images, labels, masks=masks)
    assert backend.runs > 0


def test_two_gradients_of_a_pass_after_a_batch_of_another_size():
    """From the second size on, compiled code frees what a second gradient of the same pass would need."""
    network, (images, labels, _) = small_network(), batch()
    expected = gradient_of(network, SaliencyGuided())
    network = compiled("wrapped", "aot_eager")
    for count in (1, 2):
        torch.nn.functional.cross_entropy(network(images[:count]), labels[:count]).backward()
    network.zero_grad()
    network.load_state_dict(torch.compile(small_network()).state_dict())  # and the statistics of BatchNorm
    with pytest.warns(CamtrainWarning, match="steps with SaliencyGuided run it without its compiled code"):
        found = gradient_of(network, SaliencyGuided())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    network.load_state_dict(torch.compile(small_network()).state_dict())
    plain = explained_images(small_network(), Batch(images[:1], labels[:1]))
    found = explained_images(network, Batch(images[:1], labels[:1]))
    torch.testing.assert_close(found.input_gradients, plain.input_gradients)


def test_an_attention_head_is_seen_in_compiled_code():
    network = AttentionBranch(small_network(), 3, "2", image_size=8)
    images, labels, _ = batch()
    expected = Objective(AttentionBranchLoss(), 1.0)(network, images, labels).loss
    torch.compiler.reset()
    network = torch.compile(network, backend=Backend())
    network(images)
    with pytest.warns(CamtrainWarning, match="AttentionBranchLoss"):
        assert torch.equal(Objective(AttentionBranchLoss(), 1.0)(network, images, labels).loss, expected)


def test_the_pairs_of_taylor_cam():
    network, (images, _, _) = small_network().eval(), batch()
    expected = TaylorCAM(network, LAYER).pairs(images)
    torch.compiler.reset()
    network = torch.compile(network, backend=Backend())
    network(images)
    assert torch.equal(TaylorCAM(network, LAYER).pairs(images), expected)


def test_layers_go_by_their_names_before_compiling():
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1)))
    inner = network[0][0]
    network[0] = torch.compile(network[0], backend="eager")
    outer = torch.compile(network, backend="eager")
    assert target_layer_of(outer, "0.0") is target_layer_of(outer, "_orig_mod.0._orig_mod.0") is inner
    with pytest.raises(ValueError, match=r"no module is called '0\.1'"):
        target_layer_of(outer, "0.1")
