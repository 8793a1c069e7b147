"""The classifier in a checkpoint of `camtrain fit`, and the configuration of its run."""

from __future__ import annotations

import warnings
from argparse import ArgumentError
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import Any

from torch import Tensor, nn

from camtrain.classifier import Classifier
from camtrain.networks.checkpoint_file import checkpoint_content

_REMEDY = (
    "pass its network with `name`: a name of torchvision, `timm:` and a name of timm, or my_code.my_network, a "
    "function or class in the folder that you are in which makes it"
)

_REASON = 300  # characters of an error of torch or jsonargparse


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
            # Pretrained and initial weights would be loaded, only to be overwritten.
            classifier: Classifier = Classifier.load_from_checkpoint(
                path, map_location="cpu", weights_only=True, strict=False, weights=None, initial_weights=None, **given
            )
        classifier.network.load_state_dict(
            {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}
        )
    except (ArgumentError, ImportError, ValueError, TypeError, RuntimeError) as error:
        reason = shorten(str(error), _REASON, placeholder=" …")  # torch names every weight that does not fit
        raise ValueError(f"`checkpoint`: cannot make the network of {path}: {reason}") from error
    return classifier


def _saved(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings of the classifier in a checkpoint, and all that it has learned."""
    if not path.is_file():
        raise FileNotFoundError(f"`checkpoint`: no such file: {path}")
    saved = checkpoint_content(path)
    settings = saved.get("hyper_parameters")
    if not isinstance(settings, dict) or "num_classes" not in settings or "state_dict" not in saved:
        raise ValueError(
            f"`checkpoint`: {path} is not a checkpoint of camtrain's Classifier; instead of it, pass `name` as "
            "my_code.my_network, a function in the folder that you are in which makes the network and loads its weights"
        )
    return settings, saved["state_dict"]
