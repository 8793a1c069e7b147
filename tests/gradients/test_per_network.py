"""What is remembered of a network goes with it."""

from __future__ import annotations

import copy
import gc
import pickle

import pytest
from torch import nn

from camtrain.gradients.per_network import PerNetwork, modes


def test_each_network_has_its_own_entry():
    first, second = nn.Identity(), nn.Identity()
    known = PerNetwork[str]()
    known[first] = "a"
    assert first in known
    assert second not in known
    assert known[first] == "a"


def test_an_entry_disappears_with_its_network():
    known = PerNetwork[str]()
    network = nn.Sequential(nn.Linear(2, 2))
    known[network] = "a"
    del network
    gc.collect()
    assert len(known) == 0


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, PerNetwork.copy, lambda known: pickle.loads(pickle.dumps(known))]
)
def test_a_copy_starts_empty(copied):
    network = nn.Identity()
    known = PerNetwork[str]()
    known[network] = "a"
    new = copied(known)
    assert type(new) is PerNetwork
    assert len(new) == 0
    assert known[network] == "a"


def test_modes_of_all_modules():
    network = nn.Sequential(nn.Identity(), nn.Identity())
    network[1].eval()
    assert modes(network) == (True, True, False)
