"""Averaged weights are those that are scored: by callbacks that look at the network, and by the test of a run."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch.utils.data import DataLoader

from camtrain import Classifier
from camtrain.batch import collate
from camtrain.networks import CIFARResNet
from camtrain.runs.averaged_weights import averaging_last, without_averaging


def loader():
    generator = torch.Generator().manual_seed(0)
    return DataLoader(
        [{"image": torch.rand(3, 8, 8, generator=generator), "label": i % 3} for i in range(12)],
        batch_size=4,
        collate_fn=collate,
    )


class Seen(pl.Callback):
    """The weights of the first layer when an epoch of validation ends, and when a test begins."""

    def __init__(self):
        self.validated = self.tested = None

    def on_validation_epoch_end(self, trainer, pl_module):
        self.validated = pl_module.network.conv1.weight.detach().clone()

    def on_test_start(self, trainer, pl_module):
        self.tested = pl_module.network.conv1.weight.detach().clone()


def test_what_looks_at_the_network_sees_the_weights_that_are_saved(tmp_path):
    seen = Seen()
    trainer = pl.Trainer(
        max_epochs=2,
        callbacks=[EMAWeightAveraging(decay=0.9), seen, ModelCheckpoint(tmp_path, filename="saved")],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    averaging_last(trainer)
    assert [type(each).__name__ for each in trainer.callbacks][-2:] == ["EMAWeightAveraging", "ModelCheckpoint"]
    module = Classifier(CIFARResNet(depth=8, width=4, num_classes=3), 3)
    trainer.fit(module, loader(), loader())
    saved = torch.load(tmp_path / "saved.ckpt", weights_only=True)
    averaged, raw = (saved[key]["network.conv1.weight"] for key in ("state_dict", "current_model_state"))
    assert not torch.equal(averaged, raw)
    assert torch.equal(seen.validated, averaged)
    with without_averaging(trainer):
        trainer.test(module, loader(), ckpt_path=tmp_path / "saved.ckpt", weights_only=True, verbose=False)
    assert torch.equal(seen.tested, averaged)
    assert sum(isinstance(each, EMAWeightAveraging) for each in trainer.callbacks) == 1
