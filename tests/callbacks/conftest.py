"""A tiny module, tiny data and tiny trainers, for callbacks in real Lightning loops."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import wandb
from pytorch_lightning.loggers import CSVLogger, WandbLogger
from torch import nn
from torch.utils.data import DataLoader
from torchvision import tv_tensors

from camtrain.batch import Batch, collate
from tests.offline_run import OfflineRun


class TinyModule(pl.LightningModule):
    """A module with a `network` of BatchNorm, dropout and a frozen parameter, which callbacks must leave as found."""

    def __init__(self, activation=nn.ReLU, classes=3):
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), activation(), nn.Dropout(0.5),
            nn.Conv2d(4, 4, 3, stride=2), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes),
        )  # fmt: skip
        self.network[0].bias.requires_grad_(False)

    def _step(self, batch, stage):
        batch = Batch.of(batch)
        logits = self.network(batch.images)
        loss = nn.functional.cross_entropy(logits, batch.labels)
        accuracy = (logits.argmax(dim=1) == batch.labels).float().mean()
        values = {
            f"{stage}/loss": loss,
            f"{stage}/accuracy": accuracy,
            f"{stage}/loss_regularizer": 0.5 * loss.detach(),
        }
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)
        return loss

    def training_step(self, batch, batch_idx):
        return self._step(batch, "train")

    def validation_step(self, batch, batch_idx):
        self._step(batch, "val")

    def test_step(self, batch, batch_idx):
        self._step(batch, "test")

    def predict_step(self, batch, batch_idx):
        return self.network(Batch.of(batch).images)

    def configure_optimizers(self):
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.1)


class Squares(torch.utils.data.Dataset):
    """A bright square on noise; `annotation` chooses what a batch says about its place."""

    def __init__(self, length=10, size=16, annotation=("boxes", "mask"), some_without=False):
        self.length, self.size, self.annotation, self.some_without = length, size, annotation, some_without

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        image = 0.3 * torch.rand(3, self.size, self.size, generator=generator)
        x, y = torch.randint(0, self.size - 6, (2,), generator=generator).tolist()
        image[index % 3, y : y + 6, x : x + 6] = 1.0
        mask = torch.zeros(self.size, self.size, dtype=torch.bool)
        mask[y : y + 6, x : x + 6] = True
        sample = {"image": (image - 0.5) / 0.25, "label": index % 3}
        known = not (self.some_without and index % 2)
        if "boxes" in self.annotation and known:
            box = torch.tensor([[x, y, x + 6, y + 6]], dtype=torch.float32)
            sample["boxes"] = tv_tensors.BoundingBoxes(box, format="XYXY", canvas_size=(self.size, self.size))
        if "mask" in self.annotation and known:
            sample["mask"] = tv_tensors.Mask(mask)
        return sample


def unlabeled(samples):
    batch = collate(samples)
    return Batch(batch.images, None, batch.boxes, batch.masks)


class TinyData(pl.LightningDataModule):
    class_names = ("red square", "green square", "blue square")

    def __init__(self, predict_collate=collate, **settings):
        super().__init__()
        self.samples, self.predict_collate = Squares(**settings), predict_collate

    def denormalize(self, images):
        return (images * 0.25 + 0.5).clamp(0, 1)

    def _loader(self, collate_fn=collate):
        return DataLoader(self.samples, batch_size=4, collate_fn=collate_fn)

    def train_dataloader(self):
        return self._loader()

    def val_dataloader(self):
        return self._loader()

    def test_dataloader(self):
        return self._loader()

    def predict_dataloader(self):
        return self._loader(self.predict_collate)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def tiny_module():
    return TinyModule


@pytest.fixture
def tiny_data():
    return TinyData


@pytest.fixture
def without_labels():
    return unlabeled


@pytest.fixture
def tiny_trainer(tmp_path):
    """A factory of trainers whose run folder is `tmp_path / "run"`."""

    def make(*callbacks, **settings):
        settings = {
            "accelerator": "cpu",
            "max_epochs": 2,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "logger": CSVLogger(tmp_path, name="", version="run"),
            "default_root_dir": tmp_path / "root",
        } | settings
        return pl.Trainer(callbacks=list(callbacks), **settings)

    return make


@pytest.fixture
def run_stage():
    """Run one of Lightning's four entry points; fit also trains."""

    def run(trainer, module, data, entry):
        if entry == "predict":
            return trainer.predict(module, datamodule=data, return_predictions=False)
        return getattr(trainer, entry)(module, datamodule=data)

    return run


@pytest.fixture
def offline_run(tmp_path, monkeypatch):
    """A W&B logger of the real client, offline, and a function that ends the run and reads its records."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True, save_code=False)
    logger = WandbLogger(project="test", save_dir=tmp_path / "wandb-runs", mode="offline", settings=quiet)
    (tmp_path / "wandb-runs").mkdir()

    def finished_run():
        folder = Path(logger.experiment.dir).parent
        wandb.finish()
        return folder, OfflineRun(folder)

    yield logger, finished_run
    wandb.finish()
