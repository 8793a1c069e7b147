from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain.gradients.graph import OPAQUE_REGIONS, graph_nodes


def names(loss):
    return [node.name() for node in graph_nodes(loss)]


def test_every_node_once():
    x = torch.ones(2, requires_grad=True)
    shared = x.exp()
    found = names((shared * shared + shared.relu()).sum())
    assert sorted(found) == [
        "AddBackward0", "ExpBackward0", "MulBackward0", "ReluBackward0", "SumBackward0", "torch::autograd::AccumulateGrad",  # noqa: E501
    ]  # fmt: skip


def test_a_loss_without_a_graph_has_no_nodes():
    assert names(torch.ones(())) == []


def test_a_deep_graph_is_no_recursion():
    x = torch.ones((), requires_grad=True)
    for _ in range(3000):
        x = x + 1
    assert names(x).count("AddBackward0") == 3000


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_regions_that_hide_their_nodes_are_named_so():
    # The scripted one is hidden only where the script fuses more than one operation.
    class Activation(nn.Module):
        def forward(self, x):
            return torch.relu(2 * x + 1) * 1.5

    images = torch.randn(2, 3, requires_grad=True)
    for region, hiding in (
        ("CompiledFunctionBackward", torch.compile(Activation(), backend="aot_eager")),
        ("torch::jit::(anonymous namespace)::DifferentiableGraphBackward", torch.jit.script(Activation())),
    ):
        for _ in range(3):  # a script shows its nodes until it has been optimized
            found = names(hiding(images).sum())
        assert region in found
        assert region in OPAQUE_REGIONS
        assert "ReluBackward0" not in found
