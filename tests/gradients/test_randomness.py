from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch

from camtrain.gradients.randomness import Randomness, left_randomness, seed_generators

CPU = torch.device("cpu")


def test_a_replay_draws_the_same_and_the_generator_goes_on():
    torch.manual_seed(0)
    before = Randomness.now(CPU)
    first, second, third = torch.rand(3), torch.rand(3), torch.rand(3)
    torch.manual_seed(0)
    torch.rand(3)
    with before.replayed():
        again = torch.rand(3)
    assert torch.equal(again, first)
    assert torch.equal(torch.rand(3), second)
    assert torch.equal(torch.rand(3), third)


def test_randomness_is_left_as_found_after_an_error():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="invalid for input"), left_randomness(CPU):
        torch.rand(3).reshape(2)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("device", [torch.device("mps"), torch.device("xpu", 1)])
def test_the_generator_of_an_accelerator_is_left_as_found(device, monkeypatch):
    states = {device: 7}
    module = SimpleNamespace(
        get_rng_state=states.__getitem__,
        set_rng_state=lambda state, of: states.update({of: state}),
        manual_seed=lambda seed: states.update({device: seed}),
    )
    if device.type != "mps":
        module.device = lambda of: contextlib.nullcontext()
    monkeypatch.setattr(torch, device.type, module)
    with left_randomness(device):
        seed_generators(3, device)
        assert states[device] == 3
    assert states[device] == 7


@pytest.mark.parametrize("kind", ["meta", "xla"])
def test_a_device_without_a_generator_is_as_the_cpu(kind):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with left_randomness(torch.device(kind)):
        seed_generators(3, torch.device(kind))
        assert not torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.get_rng_state(), before)


def test_only_the_generators_that_are_kept_are_seeded(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    seed_generators(3, CPU)
    assert not seeded
    assert torch.equal(torch.rand(2), torch.rand(2, generator=torch.Generator().manual_seed(3)))
