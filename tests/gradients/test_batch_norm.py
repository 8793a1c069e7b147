from __future__ import annotations

import pytest
import torch
from torch import nn

from camtrain.gradients import frozen_batch_norm, running_batch_norm

NORMS = pytest.mark.parametrize(
    "make", [lambda: nn.BatchNorm2d(3), lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True)]
)
CONTEXTS = pytest.mark.parametrize("context", [frozen_batch_norm, running_batch_norm])


def images():
    torch.manual_seed(0)
    return 3 + 2 * torch.randn(4, 3, 5, 5)


def statistics_of(layer):
    return layer.running_mean.clone(), layer.running_var.clone(), layer.num_batches_tracked.clone()


@NORMS
def test_frozen_computes_the_same_and_updates_nothing(make):
    norm = make()
    before = statistics_of(norm)
    with frozen_batch_norm(norm):
        frozen = norm(images())
    assert all(map(torch.equal, statistics_of(norm), before))
    assert torch.equal(norm(images()), frozen)
    assert not torch.equal(norm.running_mean, before[0]), "outside the context it updates again"


@NORMS
def test_running_computes_what_evaluation_does(make):
    norm = make()
    norm(images())
    before = statistics_of(norm)
    with running_batch_norm(norm):
        found = norm(images())
    assert all(map(torch.equal, statistics_of(norm), before))
    assert norm.training
    assert not torch.equal(norm(images()), found)
    norm.running_mean, norm.running_var, norm.num_batches_tracked = before
    assert torch.equal(norm.eval()(images()), found)


@NORMS
def test_running_statistics_are_used_also_where_they_are_frozen(make):
    """As where L_R is measured in the middle of training."""
    norm = make()
    norm(images())
    before = statistics_of(norm)
    with frozen_batch_norm(norm):
        of_batch = norm(images())
        with running_batch_norm(norm):
            found = norm(images())
        assert torch.equal(norm(images()), of_batch)
    assert all(map(torch.equal, statistics_of(norm), before))
    assert norm.training
    assert norm.track_running_stats
    assert torch.equal(norm.eval()(images()), found)
    assert not torch.equal(found, of_batch)


def test_frozen_layers_are_given_back_as_they_were_found():
    norm = nn.BatchNorm2d(3)
    with frozen_batch_norm(norm):
        with running_batch_norm(norm):
            expected = norm(images())
            with running_batch_norm(norm):
                pass
            assert torch.equal(norm(images()), expected), "the inner one ends nothing of the outer one"
        norm.eval()
        with running_batch_norm(norm):
            pass
        assert not norm.training


@CONTEXTS
def test_layers_that_do_not_track_or_are_in_evaluation_mode_stay_as_they_are(context):
    network = nn.Sequential(
        nn.BatchNorm2d(3).eval(), nn.BatchNorm2d(3, track_running_stats=False), nn.BatchNorm2d(3), nn.Dropout()
    )
    with context(network):
        assert not network[0].training
        assert network[0].track_running_stats
        assert network[1].training
        assert not network[1].track_running_stats
        assert network[3].training
    assert [layer.training for layer in network] == [False, True, True, True]
    assert [layer.track_running_stats for layer in network[:3]] == [True, False, True]


@CONTEXTS
def test_everything_is_given_back_after_an_error(context):
    norm = nn.BatchNorm2d(3)
    keys, before = list(norm.state_dict()), statistics_of(norm)
    with pytest.raises(RuntimeError, match="inside"), context(norm):
        raise RuntimeError("inside")
    assert norm.training
    assert norm.track_running_stats
    assert list(norm.state_dict()) == keys
    assert all(map(torch.equal, statistics_of(norm), before))
