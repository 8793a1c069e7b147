from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain.gradients import evaluation_mode, left_as_found


def test_extra_passes_leave_statistics_and_random_generators():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout())
    before = {name: buffer.clone() for name, buffer in network.state_dict().items()}
    state = torch.get_rng_state()
    with left_as_found(network, torch.device("cpu")):
        network(torch.randn(2, 3, 4, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.state_dict().items())
    assert network.state_dict().keys() == before.keys()


def test_each_module_gets_its_own_mode_back():
    network = nn.Sequential(nn.BatchNorm2d(3).eval(), nn.Sequential(nn.Dropout()))
    with evaluation_mode(network):
        assert not any(module.training for module in network.modules())
    modes = {name: module.training for name, module in network.named_modules()}
    assert modes == {"": True, "0": False, "1": True, "1.0": True}


def test_modes_come_back_after_an_error():
    network = nn.Sequential(nn.Dropout())
    with pytest.raises(RuntimeError, match="inside"), evaluation_mode(network):
        raise RuntimeError("inside")
    assert network[0].training


def test_evaluation_mode_has_the_statistics_that_are_set_aside():
    """Without them a layer in evaluation mode normalizes by the batch, which a single pixel of one image cannot be."""
    network = nn.Sequential(nn.BatchNorm2d(3), nn.InstanceNorm2d(3, track_running_stats=True))
    images = torch.randn(1, 3, 1, 1)
    with evaluation_mode(network):
        expected = network(images)
    statistics = {name: buffer.clone() for name, buffer in network.state_dict().items()}
    with left_as_found(network, torch.device("cpu")):
        with evaluation_mode(network):
            assert torch.equal(network(images), expected)
        assert network[0].training
        assert network[0].running_mean is None
    assert network[0].training
    torch.testing.assert_close(network.state_dict(), statistics, rtol=0, atol=0)
