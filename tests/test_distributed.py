"""Two processes train and score as one does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.two_processes import main

SCRIPT = Path(__file__).with_name("two_processes.py")


# So small a network has such maps.
@pytest.mark.filterwarnings("ignore:.* of the maps have no positive value")
@pytest.mark.parametrize("balance_steps", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_two_processes_train_as_one(balance_steps, tmp_path):
    with torch.random.fork_rng(devices=[]):
        main(1, balance_steps, tmp_path / "1.pt")
    command = [sys.executable, str(SCRIPT), "2", str(balance_steps), str(tmp_path / "2.pt")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (torch.load(tmp_path / f"{processes}.pt", weights_only=True) for processes in (1, 2))
    # In float64. FrozenGates divides a difference of gradients by 1e-6, and so their rounding by 2e-16 becomes 2e-10 of
    # what a weight moves by, which is below 1. Scales are quotients of values that each process rounds to float32,
    # to 6e-8, before their mean is taken, rounded too: some 2e-7 in all.
    tolerance = 1e-6 if balance_steps else 1e-9
    for name, weight in one["weights"].items():
        assert weight.dtype == torch.float64
        torch.testing.assert_close(two["weights"][name], weight, rtol=0, atol=tolerance)
    for name in (
        "train/accuracy",
        "train/loss",
        "train/loss_classification",
        "train/loss_regularizer",
        "train/loss_regularizer/map_sparsity",
        "val/accuracy",
        "val/loss_classification",
        "val/loss_regularizer/map_sparsity",
        "val/loss_regularizer/map_faithfulness",
        "val/loss_regularizer/energy_inside",
        "val/loss_regularizer/interpretable_gradient",
    ):
        assert two["val"][name] == pytest.approx(one["val"][name], rel=1e-5)  # float32: the means of four batches
