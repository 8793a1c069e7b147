"""Panels in loggers other than W&B's."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from pytorch_lightning.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger

from camtrain.callbacks import CAMLogger
from camtrain.messages import CamtrainWarning


class Client:
    """The client of TensorBoard and of MLflow: it remembers what it gets."""

    def __init__(self):
        self.got = []

    def add_image(self, tag, pixels, global_step, dataformats):
        self.got.append((tag, pixels, global_step, dataformats))

    def log_image(self, run_id, pixels, artifact_file):
        self.got.append((run_id, pixels, artifact_file))


class OfTensorBoard(TensorBoardLogger):
    """Lightning's logger without the package."""

    def __init__(self):
        self.client = Client()

    experiment = property(lambda self: self.client)
    log_dir = save_dir = root_dir = property(lambda self: "unused")
    log_metrics = log_hyperparams = log_graph = save = finalize = lambda self, *_, **__: None


class OfMLflow(MLFlowLogger):
    """Lightning's logger without the package."""

    def __init__(self):
        self.client = Client()

    experiment = property(lambda self: self.client)
    run_id = property(lambda self: "run")
    name = version = save_dir = property(lambda self: "unused")
    log_metrics = log_hyperparams = finalize = after_save_checkpoint = lambda self, *_, **__: None


class OfAnother(CSVLogger):
    """A logger with Lightning's own method for images."""

    images = ()

    def log_image(self, key, images, step=None):
        self.images = (*self.images, (key, images, step))


def test_each_logger_gets_the_sheet_of_each_epoch(tiny_module, tiny_data, tiny_trainer, tmp_path):
    board, mlflow, another = OfTensorBoard(), OfMLflow(), OfAnother(tmp_path, name="", version="another")
    loggers = [CSVLogger(tmp_path, name="", version="run"), board, mlflow, another]
    tiny_trainer(CAMLogger(num_images=2), logger=loggers).fit(tiny_module(), tiny_data())
    (tag, pixels, first, form), (_, _, second, _) = board.client.got
    assert (tag, form, second) == ("val/panels", "HWC", 2 * first)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert [(run, file) for run, _, file in mlflow.client.got] == [
        ("run", "val/panels/epoch_0.png"),
        ("run", "val/panels/epoch_1.png"),
    ]
    assert [(key, len(images), step) for key, images, step in another.images] == [
        ("val/panels", 1, first),
        ("val/panels", 1, second),
    ]
    assert np.array_equal(np.asarray(another.images[0][1][0]), pixels)
    assert np.array_equal(mlflow.client.got[0][1], pixels)


def test_a_logger_that_fails_does_not_end_the_training(tiny_module, tiny_data, tiny_trainer, tmp_path):
    board = OfTensorBoard()
    board.client.add_image = None
    loggers = [CSVLogger(tmp_path, name="", version="run"), board]
    trainer = tiny_trainer(CAMLogger(num_images=1), logger=loggers, max_epochs=1)
    with pytest.warns(CamtrainWarning, match="OfTensorBoard: TypeError: .*; the run goes on without val/panels in it"):
        trainer.fit(tiny_module(), tiny_data())
    assert (tmp_path / "run" / "panels" / "val_epoch_0.png").is_file()


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not needed, and not installed")
def test_tensorboard_itself_reads_the_sheet(tiny_module, tiny_data, tiny_trainer, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path, name="", version="board")
    tiny_trainer(CAMLogger(num_images=1), logger=logger).fit(tiny_module(), tiny_data())
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [event.step for event in events.Images("val/panels")] == [3, 6]


@pytest.mark.skipif(find_spec("mlflow") is None, reason="MLflow is not needed, and not installed")
def test_mlflow_itself_keeps_the_sheet(tiny_module, tiny_data, tiny_trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    logger = MLFlowLogger("test", tracking_uri=f"file:{tmp_path / 'mlruns'}")
    tiny_trainer(CAMLogger(num_images=1), logger=logger).fit(tiny_module(), tiny_data())
    files = [path.name for path in (tmp_path / "mlruns").rglob("val/panels/*.png")]
    assert sorted(files) == ["epoch_0.png", "epoch_1.png"]
