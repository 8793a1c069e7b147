"""The listings of the how-tos run: a regularizer and a data module of one's own."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from camtrain.cli import main

HOW_TO = Path(__file__).parents[2] / "docs" / "how_to"


def listings(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (HOW_TO / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def in_own_folder(monkeypatch, tmp_path):
    """A folder for a module `my_code`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("in_own_folder")
def test_own_regularizers_train(monkeypatch):
    code, check = listings("own_regularizer.md", "python")
    Path("my_code.py").write_text(code)
    exec(check, {})
    config = yaml.safe_load(listings("own_regularizer.md", "yaml")[0])
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
    assert 0 < scores["val/loss_regularizer/upper_half"] <= 1


@pytest.mark.usefixtures("in_own_folder")
def test_flat_maps_do_not_evade_the_own_regularizer():
    names = {}
    exec(listings("own_regularizer.md", "python")[0], names)
    half, empty = torch.zeros(2, 4, 4), torch.tensor([True, False])
    half[0, 0], half[0, 2] = 1.0, 3.0
    found = names["UpperHalf"](row=2).of_cams(half, None, None)
    assert found.values.tolist() == [0.75, 1.0]
    assert found.counted.all()
    assert torch.equal(found.flat, ~empty)


@pytest.mark.usefixtures("in_own_folder")
def test_own_data_has_several_labels_and_all_channels():
    (code,) = listings("other_images.md", "python")
    names = {}
    exec(code, names)
    for name in ("a.npy", "b.npy"):
        np.save(name, np.full((8, 8, 4), 5000, dtype=np.uint16))
    Path("tiles.csv").write_text("split,path,classes\ntrain,a.npy,0 2\nval,b.npy,1\n")
    data = names["Tiles"](batch_size=1)
    (batch,) = data.train_dataloader()
    assert batch.images.shape == (1, 4, 224, 224)
    assert batch.labels.tolist() == [[1, 0, 1]]
    assert data.denormalize(batch.images).unique().tolist() == [0.5]
    (batch,) = data.val_dataloader()
    assert batch.labels.tolist() == [[0, 1, 0]]
