"""`camtrain ablate` as a user calls it, on a study of two short runs."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

CONFIG = """
model:
  network: {class_path: camtrain.networks.CIFARResNet, init_args: {depth: 8, width: 4, stem_stride: 2}}
  regularizer: {class_path: camtrain.regularizers.InterpretableGradient}
data:
  class_path: camtrain.data.DecoyDigits
  init_args: {batch_size: 16, samples_per_digit: 1}
trainer:
  max_epochs: 3
  limit_train_batches: 8
  limit_val_batches: 2
  limit_test_batches: 2
  accelerator: cpu
cam_logger: {num_images: 1}
run: {tags: [tiny]}
"""
GRID = ["--set", "model.regularizer_weight=0,0.1", "--seeds", "1"]
SCORES = ["--methods", "grad_cam,layer_cam", "--metrics", "average_drop,insertion_auc,energy_pointing_game"]
SHORT = ["--limit", "8", "--num_validation_images", "6", "--gallery", "2", "--threads", "1"]
WORDS = [*GRID, *SCORES, *SHORT]
TIMINGS = {"train/seconds_per_step", "train/processor_seconds_per_step", "train/peak_memory_mib"}


def command(folder: Path, out: str, *words: str) -> list[str]:
    """The words of a call on the study's configuration, which is written."""
    (folder / "tiny.yaml").write_text(CONFIG)
    return [sys.executable, "-m", "camtrain.cli", "ablate", "--config", "tiny.yaml", "--out", out, *words]


def ablate(folder: Path, out: str, *words: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Call it in a folder, to its end."""
    call = command(folder, out, *words)
    return subprocess.run(call, cwd=folder, env=environment(), capture_output=True, text=True, timeout=timeout)


def environment() -> dict[str, str]:
    """Of a process of its own."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def results(study: Path) -> list[dict[str, str]]:
    """The rows of a study, timings aside."""
    with (study / "results.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMINGS} for row in csv.DictReader(file)]
