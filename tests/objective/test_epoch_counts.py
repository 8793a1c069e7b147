"""A regularizer that does not act as it should is not silent."""

from __future__ import annotations

import pytest
import torch

from camtrain.objective import TermStep, epoch_counts
from camtrain.objective.epoch_counts import EpochCounts
from camtrain.regularizers import EnergyInside, GradientNorm

REGULARIZERS = {"energy_inside": EnergyInside(annotation="masks"), "gradient_norm": GradientNorm()}


def term(counted, flat=None):
    return TermStep(
        torch.tensor(0.5), 1.0, 1.0, torch.tensor(counted), flat=None if flat is None else torch.tensor(flat)
    )


def test_fractions_by_hand():
    counts = EpochCounts()
    counts.add({"energy_inside": term(3, 1), "gradient_norm": term(4)}, 4)
    counts.add({"energy_inside": term(1, 0), "gradient_norm": term(4)}, 4)
    assert counts.flat_maps == {"energy_inside": 0.25}
    assert counts.warnings(REGULARIZERS).keys() == {("energy_inside", "flat")}
    assert "25 % of the maps have no positive value" in counts.warnings(REGULARIZERS)["energy_inside", "flat"]
    counts.clear()
    assert counts.flat_maps == {}


def test_counts_go_on_in_half_precision():
    """Lightning's `bf16-true` makes bfloat16 the default type of a step; 8192 + 32 is 8192 there."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        counts = EpochCounts()
        for _ in range(1000):
            counts.add({"energy_inside": term(32, 1)}, 32)
        assert counts.flat_maps == {"energy_inside": 1 / 32}
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("energy_inside", "energy_inside did not act: none of 8 images has a mask; look at the annotation"),
        ("gradient_norm", "gradient_norm did not act: it has a penalty for none of 8 images"),
    ],
)
def test_a_term_that_counts_no_image_says_why(name, message):
    counts = EpochCounts()
    counts.add({name: term(0)}, 8)
    assert message in counts.warnings(REGULARIZERS)[name, "idle"]


def test_five_percent_of_flat_maps_are_no_reason_to_warn():
    counts = EpochCounts()
    counts.add({"energy_inside": term(20, 1)}, 20)
    assert counts.warnings(REGULARIZERS) == {}


def test_counts_of_all_processes_by_hand(monkeypatch):
    """This process had no image with a mask, another one had four; both log the same, and none waits for the other."""
    of_another = torch.tensor([[8, 4, 1, 1], [8, 8, 0, 0]])
    monkeypatch.setattr(epoch_counts, "in_several_processes", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda counts: counts.add_(of_another))
    counts = EpochCounts()
    counts.add({"energy_inside": term(0, 0), "gradient_norm": term(4)}, 4)
    counts.gather(REGULARIZERS, torch.device("cpu"))
    assert counts.flat_maps == {"energy_inside": 0.25}
    assert counts.warnings(REGULARIZERS).keys() == {("energy_inside", "flat")}, "it acts in another process"
