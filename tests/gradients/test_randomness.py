from __future__ import annotations

import pytest
import torch

from camtrain.gradients.randomness import Randomness, left_randomness

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
