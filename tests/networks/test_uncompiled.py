from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain.networks.uncompiled import uncompiled


def test_what_was_compiled_is_run_as_it_was_before_and_stays_compiled():
    runs, seen = [], []

    def counting(graph, _example_inputs):
        def run(*args):
            runs.append("compiled")
            return graph(*args)

        return run

    torch.manual_seed(0)
    inner = nn.Linear(2, 2)
    network = nn.Sequential(torch.compile(inner, backend=counting), nn.ReLU())
    expected = network(torch.ones(1, 2))
    assert runs == ["compiled"]
    inner.register_forward_hook(lambda *_: seen.append("hook"))
    with uncompiled():
        assert torch.equal(network(torch.ones(1, 2)), expected)
    assert (runs, seen) == (["compiled"], ["hook"])
    network(torch.ones(1, 2))
    assert (runs, seen) == (["compiled"] * 2, ["hook"])
    with pytest.raises(RuntimeError, match="inside"), uncompiled():
        raise RuntimeError("inside")
    network(torch.ones(1, 2))
    assert runs == ["compiled"] * 3
