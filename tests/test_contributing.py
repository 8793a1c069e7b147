"""The recipe in CONTRIBUTING.md trains."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from camtrain.cli import main

TEXT = (Path(__file__).parents[1] / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")


def listing(language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return found


@pytest.fixture
def no_other_my_code():
    """Other tests have a `my_code` of their own."""
    sys.modules.pop("my_code", None)
    yield
    sys.modules.pop("my_code", None)


@pytest.mark.usefixtures("no_other_my_code")
def test_own_regularizers_train(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("my_code.py").write_text(listing("python"))
    config = yaml.safe_load(listing("yaml"))
    config["model"]["network"] = {"class_path": "camtrain.networks.CIFARResNet", "init_args": {"depth": 8, "width": 4}}
    config["data"] = {"class_path": "camtrain.data.DecoyDigits", "init_args": {"batch_size": 8}}
    limits = {f"limit_{stage}_batches": 2 for stage in ("train", "val", "test")}
    config["trainer"] = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, **limits}
    Path("own.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr(sys, "argv", ["camtrain", "fit", "--config", "own.yaml", "--run.wandb", "disabled"])
    main()
    scores = json.loads(Path("runs/own/version_0/scores.json").read_text())
    assert scores["train/loss_regularizer/gradient_size"] > 0
    assert scores["val/loss_regularizer/gradient_size"] > 0
    assert 0 < scores["val/loss_regularizer/upper_half"] < 2


def test_files_that_are_named_exist():
    """A path with a placeholder, such as `<name>.py`, is that of a new file."""
    for name in re.findall(r"`((?:camtrain|tests)/[\w/.]+\.\w+)`", TEXT):
        assert (Path(__file__).parents[1] / name).is_file(), name
