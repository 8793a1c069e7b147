"""Every committed config trains, on data of its own kind made on the spot."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from camtrain.cli import main
from camtrain.networks import build_network
from camtrain.runs.config_resolver import ConfigResolver

# A few that are quickly trained. `make test-all` trains the others, and also checks these against their classes.
TRAINED = (
    "quickstart",
    "decoydigits_resnet8_attention_branch",
    "decoydigits_resnet8_map_bce",
    "decoydigits_resnet8_sum",
)
SMALL = ["--data.batch_size", "4", "--trainer.accelerator", "cpu"]
CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.fixture
def data_of_config(request, fake_cifar100, fake_oxford_pet):
    """Options that put small data in the place of a config's data."""
    roots = {"cifar100": fake_cifar100, "pets": fake_oxford_pet}

    def options(config: Path) -> list[str]:
        root = roots.get(config.stem.split("_")[0])  # none for data that is embedded
        return [] if root is None else ["--data.root", str(root), "--data.num_workers", "0"]

    return options


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """The folder of a short run of a config, for those that start from its network."""

    @cache
    def run(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        short = [f"--trainer.limit_{stage}_batches=1" for stage in ("train", "val", "test")]
        short += ["--trainer.max_epochs=1", "--trainer.enable_progress_bar=false", "--run.wandb=disabled"]
        words = ["fit", "--config", str(CONFIGS[0].parent / f"{name}.yaml"), f"--run.folder={folder}", *SMALL, *short]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["camtrain", *words])
            main()
        return folder / name

    return run


@pytest.mark.parametrize(
    "config",
    [pytest.param(path, marks=[] if path.stem in TRAINED else pytest.mark.slow) for path in CONFIGS],
    ids=lambda config: config.stem,
)
def test_config_trains(config, data_of_config, run_of, monkeypatch, tmp_path, tmp_path_factory):
    monkeypatch.chdir(tmp_path)
    model = yaml.safe_load(config.read_text(encoding="utf-8"))["model"]
    started = []
    if "initial_weights" in model:
        started = ["--model.initial_weights", str(run_of(model["initial_weights"].removeprefix("runs/")))]
    if "weights" in model:  # those of the config are downloaded
        started = ["--model.weights", str(tmp_path_factory.mktemp("weights") / "random.pt")]
        torch.save(build_network(model["network"]).state_dict(), started[1])
    words = [
        "fit",
        "--config",
        str(config),
        *data_of_config(config),
        *started,
        *SMALL,
        "--trainer.fast_dev_run",
        "true",
    ]
    monkeypatch.setattr(sys, "argv", ["camtrain", *words])
    main()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "config",
    [pytest.param(path, marks=pytest.mark.slow if path.stem in TRAINED else []) for path in CONFIGS],
    ids=lambda config: config.stem,
)
def test_config_is_what_the_classes_take(config, data_of_config):
    """Network, data, regularizer, optimizer and callbacks are made of it, but nothing is downloaded."""
    point = {"model.weights": None, "model.initial_weights": None}
    if options := data_of_config(config):
        point["data.init_args.root"] = options[1]
    settings = ConfigResolver(config).resolved(point, 0, check=True)
    assert settings["model"]["regularizer"] is None or settings["model"]["regularizer"]["class_path"]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_config_says_what_it_claims(config):
    header = [line for line in config.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    for word in ("Source", "Command", "Time", "number"):
        assert any(line.startswith(f"# {word}") for line in header), word
