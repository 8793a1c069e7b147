"""The network of a run that an experiment's run.sh made."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from camtrain import Classifier


def trained_network(run: Path) -> nn.Module:
    """That of the last checkpoint of a run's newest version, in evaluation mode; without one the program ends.

    Args:
        run: its folder, which holds `version_*`.
    """
    paths = list(run.glob("version_*/checkpoints/last.ckpt"))
    if not paths:
        raise SystemExit(f"no checkpoint in {run}: the README of the experiment has the command that makes the run")
    newest = max(paths, key=lambda path: int(path.parents[1].name.removeprefix("version_")))
    return Classifier.load_from_checkpoint(newest, map_location="cpu", weights_only=True).network.eval()
