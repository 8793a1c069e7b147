"""`seed_everything: true` draws a seed, which can be used again."""

from __future__ import annotations

import random

import pytest

from camtrain.runs import drawn_seed as module
from camtrain.runs.drawn_seed import drawn_seed

_OF_SEVERAL = ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "SLURM_NTASKS", "SLURM_JOB_NAME")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in _OF_SEVERAL:
        monkeypatch.delenv(name, raising=False)


def test_seeds_differ_though_the_generators_are_seeded(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")  # of an earlier training in this process
    seeds = set()
    for _ in range(3):
        random.seed(0)
        seeds.add(drawn_seed())
    assert len(seeds) == 3
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_process_for_one_more_device_has_the_seed_of_the_first(monkeypatch):
    monkeypatch.setattr(module, "is_first_process", lambda: False)
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert drawn_seed() == 7


@pytest.mark.parametrize(
    "variables",
    [{"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2"}, {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}],
)
def test_processes_that_cannot_agree_need_a_number(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"--seed_everything: expected a number .* got true, .*; pass a number"):
        drawn_seed()


def test_several_machines_need_a_number():
    with pytest.raises(ValueError, match="several machines"):
        drawn_seed(num_nodes=2)
