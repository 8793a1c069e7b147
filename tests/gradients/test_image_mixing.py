"""Which networks mix the images of a batch is found out."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from camtrain.gradients.image_mixing import ImageMixing


class FromTheNext(nn.Module):
    """Adds to each image a little of the next one."""

    def forward(self, x):
        return x + 1e-3 * x.roll(-1, 0)


def network_of(middle):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), middle, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def mixes(network, mixing=None, count=5, running=False):
    torch.manual_seed(1)
    images = torch.randn(count, 3, 6, 6, requires_grad=True)
    return (mixing or ImageMixing())(network, images, network(images), running_statistics=running)


@pytest.mark.parametrize(
    ("middle", "expected"),
    [
        (nn.Identity(), False),
        (nn.BatchNorm2d(4), True),
        (nn.BatchNorm2d(4).eval(), False),
        (nn.BatchNorm2d(4, track_running_stats=False).eval(), True),
        (nn.InstanceNorm2d(4, track_running_stats=True), False),
        (nn.GroupNorm(2, 4), False),
        (nn.Dropout(0.5), False),
        (FromTheNext(), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_networks(middle, expected):
    network = network_of(middle)
    assert mixes(network) is expected
    assert mixes(network, count=1) is False, "one image has no other"


def test_running_statistics_do_not_mix():
    from camtrain.gradients import running_batch_norm

    network = network_of(nn.BatchNorm2d(4))
    with running_batch_norm(network):
        logits_of = network(torch.randn(4, 3, 6, 6))
        assert mixes(network, running=True) is False
    assert logits_of.shape == (4, 3)
    assert mixes(network) is True


def test_a_mode_is_looked_at_once_and_each_anew():
    network, mixing, calls = network_of(nn.Dropout(0.5)), ImageMixing(), []
    original = torch.autograd.grad

    def counted(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    torch.autograd.grad = counted
    try:
        for _ in range(2):
            assert mixes(network, mixing) is False
        network.eval()
        assert mixes(network, mixing) is False
    finally:
        torch.autograd.grad = original
    assert len(calls) == 2


def test_what_a_head_of_zeros_hides_is_not_remembered():
    network, mixing = network_of(nn.Identity()), ImageMixing()
    weight = network[-1].weight.detach().clone()
    nn.init.zeros_(network[-1].weight)
    assert mixes(network, mixing) is True, "the careful answer"
    network[-1].weight.data.copy_(weight)
    assert mixes(network, mixing) is False


def test_the_graph_is_kept_and_copies_start_anew():
    network, mixing = network_of(nn.Identity()), ImageMixing()
    images = torch.randn(4, 3, 6, 6, requires_grad=True)
    logits = network(images)
    mixing(network, images, logits, running_statistics=False)
    logits.sum().backward()
    for other in (copy.deepcopy(mixing), pickle.loads(pickle.dumps(mixing))):
        assert mixes(network, other) is False
