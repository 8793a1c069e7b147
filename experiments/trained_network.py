"""The network of a run that an experiment's run.sh made."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from camtrain import Classifier
from camtrain.ablation.trial_run import scored_checkpoint


def trained_network(run: Path, *, last: bool = False) -> nn.Module:
    """Of a run's newest version, in evaluation mode; without a checkpoint the program ends.

    Args:
        run: its folder, which holds `version_*`.
        last: the network of the last epoch, and not that of the checkpoint that `fit` tested.
    """
    paths = list(run.glob("version_*/checkpoints/last.ckpt"))
    if not paths:
        raise SystemExit(f"no checkpoint in {run}: the README of the experiment has the command that makes the run")
    newest = max(paths, key=lambda path: int(path.parents[1].name.removeprefix("version_")))
    chosen = newest if last else newest.with_name(scored_checkpoint(newest))
    return Classifier.load_from_checkpoint(chosen, map_location="cpu", weights_only=True).network.eval()
