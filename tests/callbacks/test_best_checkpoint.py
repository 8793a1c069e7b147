"""Which epochs are kept, and which is the best: by hand, on accuracies and scores that are made up."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from camtrain.callbacks import BestCheckpoint
from camtrain.callbacks.best_checkpoint import choosing_callback
from camtrain.networks.checkpoint_file import scored_checkpoint

SCORE = "val/score"


class Scores(pl.LightningModule):
    """Logs an accuracy and a score for each epoch; a score that is `None` is not measured."""

    def __init__(self, points):
        super().__init__()
        self.points = points
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()

    def validation_step(self, batch, batch_idx):
        accuracy, score = self.points[self.current_epoch]
        self.log("val/accuracy", accuracy)
        if score is not None:
            self.log(SCORE, score)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.zeros(2, 1))

    val_dataloader = train_dataloader


def fitted(folder, points, ckpt_path=None, max_epochs=None, **settings):
    settings = {"accuracy_margin": 0.05, "monitor": SCORE, "mode": "max", "filename": "{epoch}"} | settings
    checkpoint = BestCheckpoint(dirpath=folder / "checkpoints", **settings)
    last = pl.callbacks.ModelCheckpoint(folder / "last", filename="last", enable_version_counter=False)
    trainer = pl.Trainer(
        max_epochs=max_epochs or len(points), callbacks=[checkpoint, last], logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(Scores(points), ckpt_path=ckpt_path, weights_only=True)
    kept = sorted(int(path.stem.partition("=")[2]) for path in (folder / "checkpoints").glob("*.ckpt"))
    return checkpoint, int(Path(checkpoint.best_model_path).stem.partition("=")[2]), kept


@pytest.mark.parametrize(
    ("points", "best", "kept"),
    [
        # The best score is of an epoch that is too inaccurate in the end. Should one reach 84 %, the second epoch
        # would be the best.
        ([(0.5, 0.9), (0.8, 0.3), (0.78, 0.6), (0.81, 0.2)], 2, [1, 2, 3]),
        ([(0.5, 0.9), (0.8, 0.3), (0.78, 0.6), (0.81, 0.2), (0.84, 0.1)], 1, [1, 3, 4]),
        # An epoch that is worse in both goes at once, one that is more accurate stays.
        ([(0.8, 0.5), (0.79, 0.4), (0.82, 0.1)], 0, [0, 2]),
        # Of two equal epochs the first one stays.
        ([(0.8, 0.5), (0.8, 0.5)], 0, [0]),
        # A score that is no number is the worst, and one that was not measured is not that of the epoch before.
        ([(0.8, float("nan")), (0.8, 0.1)], 1, [1]),
        ([(0.8, 0.5), (0.81, None), (0.82, 0.4)], 0, [0, 2]),
    ],
)
def test_the_best_maps_among_the_accurate_epochs(tmp_path, points, best, kept):
    assert fitted(tmp_path, points)[1:] == (best, kept)


def test_lower_scores_can_be_better(tmp_path):
    assert fitted(tmp_path, [(0.8, 0.5), (0.79, 0.2), (0.7, 0.1)], mode="min")[1:] == (1, [0, 1])


def test_without_a_margin_it_is_lightnings(tmp_path):
    points = [(0.8, 0.5), (0.5, 0.9), (0.8, 0.3)]
    assert fitted(tmp_path, points, accuracy_margin=None)[1:] == (1, [1])


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path):
    points = [(0.5, 0.9), (0.8, 0.3), (0.78, 0.6), (0.81, 0.2)]
    whole, *expected = fitted(tmp_path / "whole", points)
    fitted(tmp_path / "run", points, max_epochs=2)
    again, *found = fitted(tmp_path / "run", points, ckpt_path=tmp_path / "run" / "last" / "last.ckpt")
    assert found == expected
    assert (
        again.state_dict()["accuracies"]
        == whole.state_dict()["accuracies"]
        == pytest.approx({"epoch=1.ckpt": 0.8, "epoch=2.ckpt": 0.78, "epoch=3.ckpt": 0.81})
    )
    assert again.state_key == pl.callbacks.ModelCheckpoint(monitor=SCORE, mode="max").state_key


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accuracy_margin": -0.1}, r"`accuracy_margin`: expected a fraction in \[0, 1\), got -0\.1"),
        ({"accuracy_margin": float("nan")}, "`accuracy_margin`: expected a fraction"),
        (
            {"accuracy_margin": 0.1, "monitor": None},
            "expected a `monitor` and save_top_k=1 beside it, got monitor=None",
        ),
        ({"accuracy_margin": 0.1, "save_top_k": 3}, "save_top_k=3"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        BestCheckpoint(**{"monitor": SCORE, **settings})


def test_the_best_checkpoint_is_not_that_of_a_further_callback(tmp_path):
    """A configuration keeps every epoch as well, by a score of its own; Lightning takes the first callback."""
    further = pl.callbacks.ModelCheckpoint(tmp_path / "kept", "kept_{epoch}", monitor=SCORE, mode="min", save_top_k=-1)
    best = BestCheckpoint(dirpath=tmp_path / "checkpoints", monitor="val/accuracy", mode="max", filename="{epoch}")
    last = pl.callbacks.ModelCheckpoint(tmp_path / "checkpoints", filename="last", enable_version_counter=False)
    trainer = pl.Trainer(
        max_epochs=2, callbacks=[further, best, last], logger=False, accelerator="cpu", num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Scores([(0.9, 0.5), (0.8, 0.1)]))
    assert trainer.checkpoint_callback is further
    assert choosing_callback(trainer) is best
    assert scored_checkpoint(tmp_path / "checkpoints/last.ckpt") == "epoch=0.ckpt"
    assert choosing_callback(pl.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)) is None
