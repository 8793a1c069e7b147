"""What the faults are done to: a small configuration, a run of it, a study of it, and images."""

from __future__ import annotations

import importlib
import os
import runpy
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from experiments.reliability.children import Call, Ended, run_child

SMALL = """\
model:
  network: {class_path: camtrain.networks.CIFARResNet, init_args: {depth: 8, width: 4, stem_stride: 2}}
  regularizer: {class_path: camtrain.regularizers.InterpretableGradient}
  regularizer_weight: 0.1
data:
  class_path: camtrain.data.DecoyDigits
  init_args: {batch_size: 8, image_size: 32, digit_size: [12, 18], decoy_size: 4, samples_per_digit: 1}
trainer:
  max_epochs: 2
  limit_train_batches: 2
  limit_val_batches: 1
  limit_test_batches: 1
  log_every_n_steps: 1
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
cam_logger: {num_images: 2}
run: {wandb: disabled}
"""
CONFIG = "small.yaml"
RUN = Path("runs/small/version_0")
STUDY = Path("study")
GRID = ("--set", "model.regularizer_weight=0,0.1", "--seeds", "0")
EVALUATION = ("--methods", "grad_cam", "--metrics", "average_drop", "--num_images", "4", "--num_resamples", "10")
ABLATE = ("ablate", "--config", CONFIG, *GRID, *EVALUATION, "--num_gallery_images", "1", "--threads", "1")
PRELOADED = (
    "camtrain.runs.training_cli",
    "camtrain.ablation",
    "camtrain.ablation.worker",
    "camtrain.report",
    "wandb",
    "camtrain.explanation",
    "camtrain.loading",
    "matplotlib.pyplot",
    "scipy.sparse.linalg",
    "sklearn.datasets",
)


def preload() -> None:
    """Import, once for all children, what the commands import; torch takes one thread in each of them."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("MPLBACKEND", "agg")
    torch.set_num_threads(1)
    for name in PRELOADED:
        importlib.import_module(name)


def command(*words: str) -> None:
    """Do in this process what `camtrain <words>` does in its own."""
    sys.argv = ["camtrain", *words]
    runpy.run_module("camtrain.cli", run_name="__main__")


def write_config(folder: Path, text: str = SMALL) -> None:
    """Write the small configuration into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(text, encoding="utf-8")


def write_images(folder: Path, size: int = 32) -> None:
    """Write a tree of images of two classes, `<folder>/train/<class>/<k>.png` and the same for val and test."""
    for split in ("train", "val", "test"):
        for label, name in enumerate(("cat", "dog")):
            place = folder / split / name
            place.mkdir(parents=True, exist_ok=True)
            for index in range(2):
                color = (60 + 120 * label, 40 + 50 * index, 90)
                Image.new("RGB", (size, size), color).save(place / f"{index}.png")


class Workplace:
    """A folder with all that the faults are done to, made once.

    Args:
        folder: The folder. What is in it from an earlier call stays.
        seconds: The longest time that making one thing may take.
    """

    def __init__(self, folder: Path, seconds: float = 300.0) -> None:
        self.folder, self.seconds = folder.absolute(), seconds
        self.cases = self.folder / "cases"
        self.cases.mkdir(parents=True, exist_ok=True)

    @property
    def run(self) -> Path:
        """A folder with the configuration and a finished run of two epochs."""
        return self._made("run", ("fit", "--config", CONFIG))

    @property
    def study(self) -> Path:
        """A folder with the configuration and a finished study of two runs."""
        return self._made("study", (*ABLATE, "--out", str(STUDY)))

    @property
    def images(self) -> Path:
        """A tree of images."""
        place = self.folder / "images"
        if not place.is_dir():
            write_images(place)
        return place

    def copied(self, source: Path, name: str) -> Path:
        """Copy a folder for a case; a former copy is removed first."""
        place = self.cases / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(source, place, symlinks=True)
        return place

    def empty(self, name: str) -> Path:
        """Make an empty folder for a case."""
        place = self.cases / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return place

    def _made(self, name: str, words: Sequence[str]) -> Path:
        place, unfinished = self.folder / name, self.folder / f"{name}.unfinished"
        if place.is_dir():
            return place
        shutil.rmtree(unfinished, ignore_errors=True)
        write_config(unfinished)
        ended = run_child(Call(lambda: command(*words), unfinished, self.seconds))
        if ended.how not in ("returned", "exited") or ended.status:
            raise RuntimeError(f"camtrain {' '.join(words)}: {ended.how} {ended.status}\n{ended.said[-3000:]}")
        unfinished.rename(place)
        return place


def command_in(folder: Path, *words: str, seconds: float = 60.0, **limits: int) -> Ended:
    """Run `camtrain <words>` in a child, in a folder."""
    return run_child(Call(lambda: command(*words), folder, seconds, **limits))
