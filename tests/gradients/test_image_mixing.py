"""Which networks mix the images of a batch is found out."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camtrain.gradients import InputGradientPenalty, image_mixing
from camtrain.gradients.engine import forward_pass
from camtrain.gradients.image_mixing import ImageMixing


class FromTheNext(nn.Module):
    """Adds to each image a little of the next but one."""

    def __init__(self, share=1e-3):
        super().__init__()
        self.share = share

    def forward(self, x):
        return x + self.share * x.roll(-2, 0)


def network_of(middle):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), middle, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def loss_of(logits):
    return F.cross_entropy(logits, torch.arange(len(logits)) % 3)


def mixes(network, mixing=None, count=5, statistics="batch", loss=loss_of):
    torch.manual_seed(1)
    penalty = InputGradientPenalty(lambda gradients, _: gradients.flatten(1).sum(1), batch_norm_statistics=statistics)
    forward = forward_pass(network, torch.randn(count, 3, 6, 6), loss, penalty)
    return (mixing or ImageMixing())(network, forward, loss)


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
    network = network_of(nn.BatchNorm2d(4))
    assert mixes(network, statistics="running") is False
    assert mixes(network) is True


def test_synchronized_batch_norm_mixes_also_a_single_image():
    network, mixing = network_of(nn.Identity()), ImageMixing()
    images = torch.randn(1, 3, 6, 6)
    forward = forward_pass(network, images, loss_of, InputGradientPenalty(lambda gradients, _: gradients.sum()))
    assert mixing(network, forward, loss_of) is False
    network[1] = nn.SyncBatchNorm(4)  # which cannot be run on a CPU; it is looked for, not run
    assert mixing(network, forward, loss_of) is True


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (loss_of, False),
        (lambda logits: logits.square().mean(), False),
        (lambda logits: logits.sum(), False),
        (lambda logits: loss_of(logits).square(), True),
        (lambda logits: loss_of(logits - logits.mean(0)), True),
    ],
)
def test_losses(loss, expected):
    assert mixes(network_of(nn.Identity()), loss=loss) is expected


def test_a_mode_is_looked_at_after_twice_as_many_batches(monkeypatch):
    network, mixing, looks = network_of(nn.Dropout(0.5)), ImageMixing(), []
    look = image_mixing._mixes
    monkeypatch.setattr(image_mixing, "_mixes", lambda forward, image: (looks.append(image), look(forward, image))[1])
    for _ in range(9):
        assert mixes(network, mixing) is False
    assert looks == [0, 1, 2, 3], "batches 1, 2, 4 and 8"
    network.eval()
    assert mixes(network, mixing) is False
    assert looks == [0, 1, 2, 3, 0]


def test_what_was_hidden_at_first_is_found():
    network, mixing = network_of(FromTheNext(0.0)), ImageMixing()
    assert mixes(network, mixing) is False
    network[1].share = 0.1
    assert mixes(network, mixing) is True
    network[1].share = 0.0
    assert mixes(network, mixing) is True, "once found it is remembered"


def test_copies_start_anew():
    network, mixing = network_of(FromTheNext()), ImageMixing()
    assert mixes(network, mixing) is True
    for other in (copy.deepcopy(mixing), pickle.loads(pickle.dumps(mixing))):
        network[1].share = 0.0
        assert mixes(network, other) is False
