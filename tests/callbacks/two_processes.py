"""Tests a network with all callbacks in a number of processes, the first argument, and saves the scores.

Run as a script, because Lightning starts the other processes by running it again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger

from camtrain.callbacks import CAMLogger, FaithfulnessScores, LocalizationScores, ScoreReporter
from camtrain.evaluation import metric_names


def main(processes: int, folder: Path) -> None:
    from conftest import TinyData, TinyModule  # pytest imports this file too, under another path

    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = TinyModule()
    methods = ["grad_cam", "layer_cam"]
    # One scores all images during the stage's batches, the other some images by their index.
    localization = LocalizationScores(methods, ["localization"], target_layer="4")
    # Leakage depends on which images are in a batch, and these are other ones in each process.
    left_out = {"map_leakage", *metric_names("localization")}
    fast = [name for name in metric_names("fast") if name not in left_out]
    faithfulness = FaithfulnessScores(methods, fast, num_images=7, num_steps=4, target_layer="4")
    trainer = pl.Trainer(
        accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto",
        logger=CSVLogger(folder, name="", version="run"), enable_checkpointing=False, enable_progress_bar=False,
        callbacks=[CAMLogger(num_images=2), localization, faithfulness, ScoreReporter()],
    )  # fmt: skip
    trainer.test(module, TinyData(some_without=True, length=12), verbose=False)
    if trainer.is_global_zero:
        torch.save([localization.scores, faithfulness.scores], folder / "scores.pt")


if __name__ == "__main__":
    torch.backends.mkldnn.enabled = os.environ.get("CAMTRAIN_TEST_ONEDNN") != "0"
    torch.set_default_dtype(torch.float64)  # as in the test, which runs `main` too
    main(int(sys.argv[1]), Path(sys.argv[2]))
