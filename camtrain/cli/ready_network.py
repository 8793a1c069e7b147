"""A network with all that it takes to run it on a photo: from a checkpoint, by name, or of one's own."""

from __future__ import annotations

import importlib
import warnings
from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from camtrain.classifier import Classifier
from camtrain.cli.preprocessing import (
    Override,
    Preprocessing,
    data_preprocessing,
    plain_preprocessing,
    timm_preprocessing,
    torchvision_preprocessing,
)
from camtrain.networks import build_network
from camtrain.networks.build_network import OWN_NETWORKS, TIMM

_CPU = torch.device("cpu")
_REMEDY = (
    "pass its network with --network: a name of torchvision, `timm:` and a name of timm, or my_code.my_network, a "
    "function or class in the folder that you are in which makes it"
)


@dataclass(frozen=True)
class ReadyNetwork:
    """A network in evaluation mode and how it gets its images.

    Attributes:
        network: from (N, 3, H, W) to (N, K) logits.
        title: what it is.
        preprocessing: of its images.
        remarks: what the user should know.
        device: that it is on.
    """

    network: nn.Module
    title: str
    preprocessing: Preprocessing
    remarks: list[str]
    device: torch.device

    @property
    def class_names(self) -> Sequence[str] | None:
        """Of all classes; `None` where nothing is known."""
        return self.preprocessing.class_names

    def input(self, photo: Image.Image) -> Tensor:
        """A photo as the network gets it, (1, 3, H, W), on the device.

        Raises:
            ValueError: if it can not be brought to that form.
        """
        try:
            return self.preprocessing.transform(photo).unsqueeze(0).to(self.device)
        except RuntimeError as error:
            raise ValueError(f"a photo of {photo.height}×{photo.width} pixels can not be prepared: {error}") from error

    def probabilities(self, image: Tensor) -> Tensor:
        """(K,) of the classes of one image, (1, 3, H, W), on the CPU.

        Raises:
            ValueError: if the network can not be run on it, or puts out something else than logits.
        """
        try:
            with torch.no_grad():
                logits = self.network(image)
        except (AssertionError, RuntimeError, ValueError) as error:
            height, width = image.shape[-2:]
            raise ValueError(
                f"{self.title} can not be run on images of {height}×{width} pixels, --size chooses another: {error}"
            ) from error
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"{self.title}: expected (1, K) logits of one image, got {got}")
        return logits[0].float().softmax(dim=0).cpu()

    def ready_on(self, device: torch.device) -> tuple[ReadyNetwork, int]:
        """The same on a device, and the number of its classes, after a first pass.

        Raises:
            ValueError: if it can not be put there or run.
        """
        try:
            moved = replace(self, network=self.network.to(device), device=device)
        except (AssertionError, RuntimeError, NotImplementedError) as error:
            raise ValueError(f"`--device`: can not use {str(device)!r}: {error}") from error
        classes = len(moved.probabilities(moved.input(Image.new("RGB", (256, 256), "gray"))))
        names = self.class_names
        if names is not None and len(names) != classes:
            remark = f"{len(names)} class names for {classes} classes: they are left out"
            preprocessing = replace(self.preprocessing, class_names=None)
            moved = replace(moved, preprocessing=preprocessing, remarks=[*self.remarks, remark])
        return moved, classes


def ready_network(
    checkpoint: Path | None = None,
    network: str | None = None,
    weights: str | None = None,
    config: Path | None = None,
    override: Override | None = None,
) -> ReadyNetwork:
    """The network that a user means.

    Args:
        checkpoint: of a run.
        network: a name of torchvision or of camtrain, `timm:<name>`, or `<module>.<function>` of one's own. Beside a
            checkpoint: what is not in it, because it was built in Python.
        weights: of a network given by name; `None` is random.
        config: of the run, whose data module says how images are brought to the network. Of a run's checkpoint, it is
            the `config.yaml` of that run.
        override: what takes the place of it.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: for an unknown name, arguments that do not go together, and a checkpoint that does not fit.
        TypeError: if what one's own function makes is no network.
        OSError: if weights can not be downloaded.
    """
    override = override or Override()
    if checkpoint is not None:
        if weights is not None:
            raise ValueError("`--weights`: expected none beside --checkpoint, whose weights are used")
        return _of_checkpoint(checkpoint, network, config, override)
    if network is None:
        raise ValueError("expected --checkpoint, or --network with or without --weights")
    made = _made(network, None, weights)
    random = weights is None and not _is_own(network)
    warning = f"{network} has random weights, so that its maps mean nothing; pass --weights DEFAULT or --checkpoint"
    title = ", ".join([network, *([weights] if weights else []), *(["random weights"] if random else [])])
    preprocessing = data_preprocessing(config, override) if config else _of_name(network, made, weights, override)
    remarks = [*([warning] if random else []), *preprocessing.remarks]
    return ReadyNetwork(made.eval(), title, preprocessing, remarks, _CPU)


def _of_name(name: str, network: nn.Module, weights: str | None, override: Override) -> Preprocessing:
    if name.startswith(TIMM):
        return timm_preprocessing(network, weights is not None, override)
    if name in OWN_NETWORKS:
        return plain_preprocessing(override, size=32)
    if not _is_own(name):
        return torchvision_preprocessing(name, weights, override)
    return plain_preprocessing(override, remarks=_assumptions(override))


def _assumptions(override: Override) -> list[str]:
    if override.mean and override.std:
        return []
    return [
        "nothing says how images are normalized, so that ImageNet's mean and std are assumed; pass --mean and --std, "
        "or --config with the configuration of a run"
    ]


def _of_checkpoint(path: Path, network: str | None, config: Path | None, override: Override) -> ReadyNetwork:
    config = config or config_of(path)
    classifier = _classifier(path, network)
    if config is not None:
        preprocessing = data_preprocessing(config, override)
    else:
        preprocessing = plain_preprocessing(override, remarks=_assumptions(override))
    return ReadyNetwork(classifier.network.eval(), str(path), preprocessing, preprocessing.remarks, _CPU)


def config_of(checkpoint: Path) -> Path | None:
    """The configuration of the run that a checkpoint is of; `None` where there is none."""
    # Lightning's run folder: <run>/config.yaml and <run>/checkpoints/<name>.ckpt.
    beside = checkpoint.absolute().parent.parent / "config.yaml"
    return beside if beside.is_file() else None


def _classifier(path: Path, network: str | None) -> Classifier:
    settings, state = _saved(path)
    given: dict[str, Any] = {}
    if network is not None:
        if "network" in settings:
            raise ValueError(f"`--network`: expected none beside {path}, which says what its network is")
        given["network"] = _made(network, settings["num_classes"], None)
    elif "network" not in settings:
        raise ValueError(
            f"`--checkpoint`: {path} is of a network that was built in Python, which is not in it; {_REMEDY}"
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
        raise ValueError(f"`--checkpoint`: can not make the network of {path}: {error}") from error
    return classifier


def _saved(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings of the classifier in a checkpoint, and all that it has learned."""
    if not path.is_file():
        raise FileNotFoundError(f"`--checkpoint`: no such file: {path}")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what is no checkpoint makes torch raise almost anything
        reason = str(error).partition("\n")[0]
        raise ValueError(f"`--checkpoint`: can not read {path} as a checkpoint: {reason}") from error
    settings = saved.get("hyper_parameters") if isinstance(saved, dict) else None
    if not isinstance(settings, dict) or "num_classes" not in settings or "state_dict" not in saved:
        raise ValueError(
            f"`--checkpoint`: {path} is not a checkpoint of camtrain's Classifier; instead of it, pass --network "
            "my_code.my_network, a function in the folder that you are in which makes the network and loads its weights"
        )
    return settings, saved["state_dict"]


def _is_own(name: str) -> bool:
    return "." in name and not name.startswith(TIMM)


def _made(name: str, num_classes: int | None, weights: str | None) -> nn.Module:
    if not _is_own(name):
        try:
            return build_network(name, num_classes, weights=weights)
        except OSError as error:
            raise OSError(f"`--weights`: can not get {weights!r} of {name}: {error}") from error
    if weights is not None:
        raise ValueError(f"`--weights`: {name!r} makes a network with its weights, got {weights!r} beside it")
    module, _, attribute = name.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"`--network`: can not import {name!r}: {error}") from error
    network = made if isinstance(made, nn.Module) else made()
    if not isinstance(network, nn.Module):
        raise TypeError(f"`--network`: expected that {name!r} makes a network, got {type(network).__name__}")
    return network
