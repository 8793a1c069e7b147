"""Paths of checkpoints in a folder that has been moved or renamed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pytorch_lightning.callbacks import ModelCheckpoint

from camtrain.callbacks import MovedCheckpoints


def loaded(state, present, ckpt_path):
    """The state that `ModelCheckpoint` is given in the folder `present`."""
    callback = ModelCheckpoint(dirpath=present, monitor="val/accuracy")
    checkpoint = {"callbacks": {callback.state_key: state}}
    trainer = SimpleNamespace(ckpt_path=ckpt_path, checkpoint_callbacks=[callback])
    MovedCheckpoints().on_load_checkpoint(trainer, None, checkpoint)
    return checkpoint["callbacks"][callback.state_key]


def state_in(folder, best="best/epoch_001.ckpt"):
    best = best if best.startswith("/") else f"{folder}/{best}"
    return {
        "dirpath": folder,
        "best_model_path": best,
        "kth_best_model_path": best,
        "last_model_path": "",
        "best_k_models": {best: 0.9},
        "best_model_score": 0.9,
    }


def test_paths_keep_their_place_in_the_folder(tmp_path):
    new = str(tmp_path / "new")
    assert loaded(state_in("/old"), new, f"{new}/last.ckpt") == state_in(new)


def test_another_folder_s_checkpoint_stays_where_it_is(tmp_path):
    new = str(tmp_path / "new")
    elsewhere = "/before/epoch_007.ckpt"
    found = loaded(state_in("/old", elsewhere), new, f"{new}/last.ckpt")
    assert found == {**state_in(new, elsewhere), "best_model_path": elsewhere}


@pytest.mark.parametrize("read_from", ["/old/last.ckpt", None])
def test_a_run_that_goes_on_from_another_one_is_left_alone(tmp_path, read_from):
    assert loaded(state_in("/old"), str(tmp_path / "new"), read_from) == state_in("/old")
