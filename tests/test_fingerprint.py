"""Fingerprints: one line for each value, the same in every process."""

from __future__ import annotations

import operator
import os
import re
import subprocess
import sys
from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from camtrain.fingerprint import fingerprint
from camtrain.targets import OutputPart, SegmentationScore, Similarity

CHANNEL = 3


class Color(Enum):
    RED = 1
    BLUE = 2


@dataclass(eq=False)
class Choice:
    number: int
    inner: object = None


class Slotted:
    __slots__ = ("number",)

    def __init__(self, number):
        self.number = number


class Adder:
    def __init__(self, number):
        self.number = number

    def add(self, output):
        return output + self.number


class Length(float):
    pass


def channel_of(number):
    return lambda output: output[:, number]


def shifted(output, by=0):
    return output + by


def of_global():
    return lambda output: output[:, CHANNEL]


def of_helper():
    return lambda output: shifted(output)


def layers(last):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), last)


def looped(number):
    one = Choice(number)
    one.inner = [one, {"again": one}]
    return one


def nested(depth):
    found = None
    for _ in range(depth):
        found = Choice(0, [found])
    return found


def shared():
    found = []
    for _ in range(60):  # 2⁶⁰ paths lead to the first list
        found = [found, found]
    return found


PAIRS = {
    "numbers": (3, 5),
    "types": (1, 1.0),
    "truths": (True, 1),
    "texts": ("a", b"a"),
    "subclasses": (Length(1), Length(2)),
    "a subclass": (Length(1), 1.0),
    "numpy numbers": (np.float32(1), np.float64(1)),
    "enums": (Color.RED, Color.BLUE),
    "classes": (Choice, Slotted),
    "dtypes": (torch.float32, torch.float64),
    "devices": (torch.device("cpu"), torch.device("meta")),
    "ranges": (range(3), range(4)),
    "slices": (slice(1, 2), slice(1, 3)),
    "tensors": (torch.zeros(2, 2), torch.ones(2, 2)),
    "shapes": (torch.zeros(4), torch.zeros(2, 2)),
    "bits": (torch.zeros(2, dtype=torch.int32), torch.zeros(2)),
    "half": (torch.zeros(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
    "conjugates": (torch.tensor([1j]), torch.tensor([1j]).conj()),
    "sparse": (torch.eye(2).to_sparse(), torch.ones(2, 2).to_sparse()),
    "arrays": (np.zeros(2), np.ones(2)),
    "arrays of objects": (np.array([1, None]), np.array([2, None])),
    "lists": ([1, [2]], [1, [3]]),
    "queues": (deque([1]), deque([2])),
    "sets": ({"a", "b"}, {"a", "c"}),
    "mappings": ({"a": 1}, {"a": 2}),
    "ordered mappings": (OrderedDict(a=1), OrderedDict(a=2)),
    "keys": ({1: "a"}, {2: "a"}),
    "functions": (shifted, channel_of),
    "code": (lambda output: output[:, 3], lambda output: output[:, 5]),
    "inner code": (lambda o: [i + 1 for i in o], lambda o: [i + 2 for i in o]),
    "names in code": (lambda output: output.mean(), lambda output: output.amax()),
    "closures": (channel_of(3), channel_of(5)),
    "tensors in closures": (channel_of(torch.zeros(2)), channel_of(torch.ones(2))),
    "partial functions": (partial(shifted, by=1), partial(shifted, by=2)),
    "bound methods": (Adder(1).add, Adder(2).add),
    "functions in C": (torch.relu, torch.sigmoid),
    "operators": (operator.itemgetter(3), operator.itemgetter(5)),
    "attributes": (Choice(3), Choice(5)),
    "slots": (Slotted(3), Slotted(5)),
    "inner attributes": (Choice(3, Choice(1)), Choice(3, Choice(2))),
    "namespaces": (SimpleNamespace(a=1), SimpleNamespace(a=2)),
    "cycles": (looped(1), looped(2)),
    "layers": (layers(nn.ReLU()), layers(nn.Tanh())),
    "settings of layers": (layers(nn.LeakyReLU(0.1)), layers(nn.LeakyReLU(0.2))),
    "weights": (nn.Linear(2, 2), nn.Linear(2, 2)),
    "targets": (OutputPart("out", SegmentationScore(3)), OutputPart("out", SegmentationScore(5))),
    "references": (Similarity(torch.zeros(4)), Similarity(torch.ones(4))),
    "sharing": ([one := nn.ReLU(), one], [nn.ReLU(), nn.ReLU()]),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_values_are_told_apart(pair):
    one, other = (fingerprint(each) for each in PAIRS[pair])
    assert one != other
    assert (one, other) == tuple(fingerprint(each) for each in PAIRS[pair])
    for line in (one, other):
        assert "\n" not in line
        assert not re.search("0x[0-9a-f]{6}", line)


def test_equal_values_are_equal():
    for made in (
        lambda: Choice(3, [torch.zeros(2), {"b": 1, "a": (2,)}]),
        lambda: channel_of(3),
        lambda: partial(shifted, by=torch.ones(2)),
        lambda: layers(nn.ReLU()),
        lambda: looped(3),
        lambda: Similarity(torch.zeros(4)),
        lambda: Adder(1).add,
    ):
        assert fingerprint(made()) == fingerprint(made())
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    network = layers(nn.Dropout())
    assert fingerprint(network.train()) == fingerprint(network.eval())
    assert fingerprint(layers(nn.ReLU()).requires_grad_(False)) == fingerprint(layers(nn.ReLU()))


def test_global_values_belong_to_a_function(monkeypatch):
    of_value, of_function = fingerprint(of_global()), fingerprint(of_helper())
    monkeypatch.setitem(globals(), "CHANNEL", 5)
    assert fingerprint(of_global()) != of_value
    assert fingerprint(of_helper()) == of_function

    def shifted(output):
        return output - 1

    monkeypatch.setitem(globals(), "shifted", shifted)
    assert fingerprint(of_helper()) != of_function


def test_known_objects_are_named_and_state_is_left_out():
    network = nn.Sequential(nn.ReLU(), nn.ReLU())
    known = {"first": network[0], "second": network[1]}
    assert fingerprint([network[1]], known) == "[<second>]"
    one = Choice(3)
    one.cache = torch.rand(3)
    assert fingerprint(one, without=["cache"]) == fingerprint(Choice(3))
    # Without names, a layer of a module that is there too is told from others like it.
    assert fingerprint([network, network[0]]) != fingerprint([network, network[1]])


def test_what_is_large_or_deep_ends():
    assert len(fingerprint(list(range(100_000)))) < 2000
    assert fingerprint(list(range(100_000))) != fingerprint([*range(99_999), 0])
    assert len(fingerprint(shared())) < 2000
    assert len(fingerprint(nested(10_000))) < 2000


PROGRAM = """
import operator, torch
from functools import partial
from torch import nn
from camtrain.fingerprint import fingerprint
from camtrain.targets import OutputPart, SegmentationScore
class Object:
    pass
one = Object()
one.words, one.layers = {"a", "bc", "def", "g"}, {nn.ReLU(), nn.Tanh(), nn.Sigmoid()}
one.itself, one.call = one, (lambda o, kinds=frozenset("abcdef"): o in {"x", "y", "z"} and one)
torch.manual_seed(0)
for each in (one, nn.Linear(2, 2), OutputPart("out", SegmentationScore(3)), operator.itemgetter(3), partial(max, one)):
    print(fingerprint(each))
"""


@pytest.mark.slow  # a process of its own
def test_lines_are_the_same_in_every_process(capsys):
    exec(PROGRAM, {"__name__": "__main__"})
    here = capsys.readouterr().out
    environment = os.environ | {"PYTHONHASHSEED": "1"}  # sets have another order than here
    there = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert here.count("\n") == 5
    assert there.stdout == here
