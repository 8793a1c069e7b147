"""A regularized step in a wrapper of a network, and what is said where it cannot be taken."""

from __future__ import annotations

import copy

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from camtrain import Objective
from camtrain.networks import CIFARResNet
from camtrain.objective.check_wrapper import check_wrapper
from camtrain.regularizers import MapSparsity


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=3, width=4)


BATCH = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_fabric_goes_as_its_message_says(network, precision):
    twin = copy.deepcopy(network)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    wrapped, _ = fabric.setup(network, torch.optim.SGD(network.parameters(), 0.1))
    objective = Objective(MapSparsity(), 0.1)
    if precision == "32-true":
        step = objective(wrapped, *BATCH)
    else:
        with pytest.raises(ValueError, match=r"`network`: in mixed precision Fabric .*network\._forward_module"):
            objective(wrapped, *BATCH)
        with pytest.raises(ValueError, match="`network`: in mixed precision Fabric"):
            objective.measure(wrapped, *BATCH)
        Objective()(wrapped, *BATCH)  # nothing but L_C
        with fabric.autocast():
            step = objective(wrapped._forward_module, *BATCH)
    fabric.backward(step.loss)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        expected = Objective(MapSparsity(), 0.1)(twin, *BATCH)
    expected.loss.backward()
    for mine, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)


def test_copies_on_several_devices_are_refused():
    several = nn.DataParallel(nn.Identity())
    several.device_ids = [0, 1]
    with pytest.raises(ValueError, match=r"`network`: expected one on one device, .* got DataParallel of 2 devices"):
        check_wrapper(several)
    several.device_ids = [0]
    check_wrapper(several)
