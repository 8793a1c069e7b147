"""Every committed config trains, on data of its own kind made on the spot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from camtrain.cli import main

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.fixture
def data_of_config(request, fake_cifar100, fake_oxford_pet):
    """Options that put small data in the place of a config's data."""
    roots = {"cifar100": fake_cifar100, "pets": fake_oxford_pet}

    def options(config: Path) -> list[str]:
        root = roots.get(config.stem.split("_")[0])  # none for data that is embedded
        return [] if root is None else ["--data.root", str(root), "--data.num_workers", "0"]

    return options


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_config_trains(config, data_of_config, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    small = ["--data.batch_size", "4", "--trainer.accelerator", "cpu", "--trainer.fast_dev_run", "true"]
    words = ["fit", "--config", str(config), *data_of_config(config), *small]
    monkeypatch.setattr(sys, "argv", ["camtrain", *words])
    main()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_config_says_what_it_claims(config):
    header = [line for line in config.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    for word in ("Source", "Command", "Time", "number"):
        assert any(line.startswith(f"# {word}") for line in header), word
