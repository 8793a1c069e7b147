"""FrozenGates under synchronized BatchNorm: two processes find the gradient of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from camtrain import Objective
from camtrain.gradients import DoubleBackprop
from camtrain.regularizers import InterpretableGradient
from tests.gradients.synchronized_batch_norm import WEIGHT, batch, network

SCRIPT = Path(__file__).with_name("synchronized_batch_norm.py")


@pytest.mark.slow  # two more processes
def test_two_processes_find_the_gradient_of_one(tmp_path):
    path = tmp_path / "gradients.pt"
    commands = [[sys.executable, str(SCRIPT), str(rank), str(tmp_path / "meeting"), str(path)] for rank in range(2)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors[-2000:]
    for weight, found in zip((WEIGHT, 1e-6), torch.load(path, weights_only=True), strict=True):
        model, (images, labels) = network(nn.BatchNorm2d), batch()
        Objective(InterpretableGradient(), weight, DoubleBackprop())(model, images, labels).loss.backward()
        for name, parameter in model.named_parameters():
            expected = parameter.grad
            # 1e-5: of the order of the relative step; a bias before BatchNorm has no gradient at all.
            torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max() + 1e-3))
