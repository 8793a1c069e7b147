"""Checkpoints of `camtrain fit`: where they are, and the classifier in one."""

from __future__ import annotations

import warnings
from argparse import ArgumentError
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from camtrain.classifier import Classifier

_REMEDY = (
    "pass its network with `name`: a name of torchvision, `timm:` and a name of timm, or my_code.my_network, a "
    "function or class in the folder that you are in which makes it"
)

_REASON = 300  # characters of an error of torch or jsonargparse


def checkpoint_in(path: Path) -> Path:
    """The checkpoint that a path names: a file, or the scored checkpoint of a run's folder.

    Args:
        path: A checkpoint, the folder of a run (`runs/quickstart/version_0`), or the folder of all its versions
            (`runs/quickstart`), of which the newest with a checkpoint is taken. For a run, it is the checkpoint that
            its test scored: the best one, or `last.ckpt` where none was chosen.

    Raises:
        FileNotFoundError: If there is no such file, or no checkpoint in the folder.
        ValueError: If the last checkpoint in the folder cannot be read.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise FileNotFoundError(f"`checkpoint`: no such file: {path}")
    versions = sorted(path.glob("version_*/checkpoints/last.ckpt"), key=lambda last: _version(last.parents[1]))
    lasts = [path / "checkpoints" / "last.ckpt", path / "last.ckpt", *reversed(versions)]
    last = next((each for each in lasts if each.is_file()), None)
    if last is None:
        raise FileNotFoundError(f"`checkpoint`: expected a checkpoint or the folder of a run, got {path}, without any")
    return last.parent / scored_checkpoint(last)


def _version(folder: Path) -> int:
    number = folder.name.removeprefix("version_")
    return int(number) if number.isdecimal() else -1


def scored_checkpoint(last: Path) -> str:
    """The name of the checkpoint that `camtrain fit` tested: the best one, or the last where none was chosen.

    Args:
        last: `last.ckpt`, in the same folder.
    """
    saved = _loaded(last)
    for state in saved.get("callbacks", {}).values():
        if isinstance(state, dict) and state.get("monitor") and state.get("best_model_path"):
            return Path(state["best_model_path"]).name
    return last.name


def config_of(checkpoint: Path) -> Path | None:
    """The configuration of the run that made a checkpoint; `None` where there is none."""
    # Lightning's run folder: <run>/config.yaml and <run>/checkpoints/<name>.ckpt.
    beside = checkpoint.absolute().parent.parent / "config.yaml"
    return beside if beside.is_file() else None


def classifier_in(path: Path, make_network: Callable[[int], nn.Module] | None = None) -> Classifier:
    """The classifier that a checkpoint holds, with all weights of its network.

    Args:
        path: A checkpoint of `camtrain fit`.
        make_network: From the number of classes to the network, for a checkpoint that does not say what its network
            is, because it was built in Python.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such checkpoint, its weights do not fit the network, or a network is given although the
            checkpoint has one, or missing although it has none.
    """
    settings, state = _saved(path)
    given: dict[str, Any] = {}
    if make_network is not None:
        if "network" in settings:
            raise ValueError(f"`name`: expected none beside {path}, which says what its network is")
        given["network"] = make_network(settings["num_classes"])
    elif "network" not in settings:
        raise ValueError(
            f"`checkpoint`: {path} is of a network that was built in Python, which is not in it; {_REMEDY}"
        )
    try:
        with warnings.catch_warnings():
            # Regularizer, engine and metrics are not needed where nothing is trained; the network's weights all are.
            warnings.filterwarnings("ignore", message=".*the checkpoint was trained with")
            warnings.filterwarnings("ignore", message="Found keys that are")
            # Pretrained weights would be loaded, only to be overwritten.
            classifier: Classifier = Classifier.load_from_checkpoint(
                path, map_location="cpu", weights_only=True, strict=False, weights=None, **given
            )
        classifier.network.load_state_dict(
            {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}
        )
    except (ArgumentError, ImportError, ValueError, TypeError, RuntimeError) as error:
        reason = shorten(str(error), _REASON, placeholder=" …")  # torch names every weight that does not fit
        raise ValueError(f"`checkpoint`: cannot make the network of {path}: {reason}") from error
    return classifier


def _loaded(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; empty where it is something else."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises almost anything for a file that is no checkpoint
        reason = str(error).partition("\n")[0]
        raise ValueError(f"`checkpoint`: cannot read {path} as a checkpoint: {reason}") from error
    return saved if isinstance(saved, dict) else {}


def _saved(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings of the classifier in a checkpoint, and all that it has learned."""
    if not path.is_file():
        raise FileNotFoundError(f"`checkpoint`: no such file: {path}")
    saved = _loaded(path)
    settings = saved.get("hyper_parameters")
    if not isinstance(settings, dict) or "num_classes" not in settings or "state_dict" not in saved:
        raise ValueError(
            f"`checkpoint`: {path} is not a checkpoint of camtrain's Classifier; instead of it, pass `name` as "
            "my_code.my_network, a function in the folder that you are in which makes the network and loads its weights"
        )
    return settings, saved["state_dict"]
