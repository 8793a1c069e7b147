"""The best checkpoint as an artifact of W&B, with the real client offline."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from camtrain.cli import main
from camtrain.messages import CamtrainWarning
from camtrain.runs import RunSettings, checkpoint_artifact
from camtrain.runs.checkpoint_artifact import log_best_checkpoint
from tests.faults.checkpoints import CONFIG
from tests.offline_run import OfflineRun

WORDS = ("fit", "--config", "small.yaml", "--run.wandb_checkpoint", "[best,small-data]")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(CONFIG)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter")
def test_wandb_gets_the_best_checkpoint_with_its_aliases(monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    main([*WORDS, "--run.wandb", "offline"])
    (folder,) = Path("runs/small/version_0/wandb").glob("offline-run-*")
    (artifact,) = [each for each in OfflineRun(folder).artifacts if each.type == "model"]  # tables are some, too
    assert artifact.name == "small"
    assert {*artifact.aliases} == {"best", "small-data", "latest"}  # W&B adds the last one
    (entry,) = artifact.manifest.contents
    (checkpoint,) = Path("runs/small/version_0/checkpoints").glob("epoch_*.ckpt")
    assert entry.path == "best.ckpt"
    assert entry.size == checkpoint.stat().st_size
    assert json.loads(artifact.metadata)["file"] == checkpoint.name


def test_the_best_checkpoint_is_handed_over_under_the_name_of_the_run(monkeypatch):
    got = []
    run = SimpleNamespace(log_artifact=lambda artifact, aliases: got.append((artifact, aliases)))
    monkeypatch.setattr(checkpoint_artifact, "wandb_loggers", lambda _: [SimpleNamespace(experiment=run)])
    keeper = ModelCheckpoint(monitor="val/accuracy")
    trainer = Trainer(logger=False, callbacks=[keeper], accelerator="cpu", enable_progress_bar=False)
    with pytest.warns(CamtrainWarning, match="the run has no checkpoint, so that it gets none"):
        log_best_checkpoint(trainer, ["best"], "study/w=0")
    Path("epoch_001.ckpt").write_bytes(b"weights")
    keeper.best_model_path, keeper.best_model_score = "epoch_001.ckpt", torch.tensor(0.5)
    log_best_checkpoint(trainer, ["best"], "study/w=0")
    ((artifact, aliases),) = got
    assert (artifact.name, artifact.type, aliases) == ("study-w-0", "model", ["best"])
    assert artifact.metadata == {"epochs": 0, "monitor": "val/accuracy", "score": 0.5, "file": "epoch_001.ckpt"}
    assert artifact.manifest.entries["best.ckpt"].size == len(b"weights")


def test_it_is_said_if_wandb_gets_nothing():
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    with pytest.warns(
        CamtrainWarning, match=r"`run.wandb_checkpoint`: W&B takes no part in this run, so that it gets none"
    ):
        log_best_checkpoint(trainer, ["best"], "small")
    log_best_checkpoint(trainer, [], "small")  # nobody asked


@pytest.mark.parametrize("alias", ["", "a/b", "a:b", "a\n"])
def test_an_alias_that_wandb_does_not_take(alias):
    with pytest.raises(ValueError, match=r"`run.wandb_checkpoint`: expected names without / and :"):
        RunSettings(wandb_checkpoint=[alias])
