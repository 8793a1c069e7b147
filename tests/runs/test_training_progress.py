"""How far a training is, as it is written while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

from camtrain.runs import PROGRESS_FILE, TrainingProgress
from camtrain.runs.training_progress import ProgressWriter, progress_writers


class Line(LightningModule):
    """A weight that is trained on numbers."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch):
        return (self.weight * batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Trains with these settings, and returns all that was written."""
    written = []
    monkeypatch.setattr(TrainingProgress, "write", lambda progress, path: written.append(progress))

    def train(seconds: float = 0.0, **settings) -> list[TrainingProgress]:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = Trainer(
            accelerator="cpu", enable_model_summary=False, callbacks=[ProgressWriter(tmp_path, seconds)], **quiet,
            **settings,
        )  # fmt: skip
        trainer.fit(Line(), DataLoader(torch.ones(8, 1), batch_size=2))
        return written

    return train


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


def test_epochs(trained):
    first, *others = trained(max_epochs=2)
    assert (first.phase, first.epoch, first.epochs, first.done, first.left) == ("training", 1, 2, 0.0, None)
    assert [each.epoch for each in others] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert [each.done for each in others] == [number / 8 for number in range(1, 9)]
    assert others[0].loss == 1.0
    assert others[0].left > 0
    assert others[-1].left == 0


def test_steps_and_no_end(trained):
    *_, last = trained(max_steps=3, max_epochs=-1)
    assert (last.epochs, last.done, last.left) == (None, 1.0, 0)


def test_not_too_often(trained):
    assert len(trained(seconds=1000.0, max_epochs=2)) == 1


def test_the_environment_names_the_file(monkeypatch):
    monkeypatch.delenv(PROGRESS_FILE, raising=False)
    assert progress_writers() == []
    monkeypatch.setenv(PROGRESS_FILE, "a.json")
    (writer,) = progress_writers()
    assert writer.path == Path("a.json")


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path):
    (tmp_path / "file").touch()
    TrainingProgress().write(tmp_path / "file/a.json")
