"""The classifier in a checkpoint of `camtrain fit`, and the configuration of its run."""

from __future__ import annotations

import math
from argparse import ArgumentError
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from jsonargparse import ArgumentParser
from torch import Tensor, nn
from torchvision import models

from camtrain.classifier import Classifier
from camtrain.loading.named_code import absent_code, foreign_code
from camtrain.loading.without_weights import BUILDERS, without_weights
from camtrain.networks.checked_weights import broken_weight
from camtrain.networks.classifier_checkpoint import classifier_content, network_weights
from camtrain.networks.input_channels import with_input_channels
from camtrain.networks.weights_file import SAFETENSORS

_REMEDY = (
    "pass its network with `name`: a name of torchvision, `timm:` and a name of timm, or my_code.my_network, a "
    "function or class in the folder that you are in which makes it"
)

_OTHER_REMEDY = (
    "instead of it, pass `name` as my_code.my_network, a function in the folder that you are in which makes the "
    "network and loads its weights"
)
_BROKEN_REMEDY = "pass an earlier checkpoint"

_REASON = 300  # characters of an error of torch or jsonargparse


def config_of(checkpoint: Path) -> Path | None:
    """The configuration of the run that made a checkpoint; `None` where there is none."""
    if checkpoint.suffix == SAFETENSORS:  # of `camtrain export`: its folder may lie beside any configuration
        return None
    # Lightning's run folder: <run>/config.yaml and <run>/checkpoints/<name>.ckpt.
    beside = checkpoint.absolute().parent.parent / "config.yaml"
    return beside if beside.is_file() else None


def classifier_in(
    path: Path, make_network: Callable[[int], nn.Module] | None = None, config: Path | None = None
) -> Classifier:
    """The classifier that a checkpoint holds, with all weights of its network, and nothing that only trains it.

    Args:
        path: A checkpoint of `camtrain fit`.
        make_network: From the number of classes to the network, for a checkpoint that does not say what its network
            is, because it was built in Python, or whose network is of code that is not imported for a checkpoint alone.
        config: A configuration that the caller gave, which may name the code of the network.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such checkpoint, its weights do not fit the network or are not numbers, or a network is
            given although the checkpoint has one, or missing although it has none.
    """
    content = classifier_content(path, _OTHER_REMEDY)
    weights = network_weights(content["state_dict"])
    several_labels = content.get("several_labels") is True
    classifier = described_classifier(
        path, settings_of(path, content), weights, several_labels, make_network, config or config_of(path)
    )
    names = content.get("class_names")
    if isinstance(names, list) and all(isinstance(each, str) for each in names):
        classifier.class_names = names
    return classifier


def described_classifier(
    path: Path,
    settings: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    several_labels: bool,
    make_network: Callable[[int], nn.Module] | None = None,
    config: Path | None = None,
) -> Classifier:
    """The classifier that settings describe, with these weights of its network.

    Args:
        path: The file or folder that all of it comes from.
        settings: `num_classes`, `network` (a name, `class_path` and `init_args`, or `None`) and `stem`.
        weights: Those of the network.
        several_labels: Whether images may show several classes.
        make_network: As for `classifier_in`.
        config: A configuration that may name the code of the network.

    Raises:
        ValueError: As for `classifier_in`.
    """
    try:
        network = _network(path, settings, weights, make_network, config)
        classifier = Classifier(network, settings["num_classes"], **_stem(settings))
        classifier.network.load_state_dict(weights)
        classifier.several_labels = several_labels
    except (ArgumentError, ImportError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        if str(error).startswith(("`name`", "`checkpoint`")):
            raise
        reason = shorten(str(error), _REASON, placeholder=" …")  # torch names every weight that does not fit
        raise ValueError(f"`checkpoint`: cannot make the network of {path}: {reason}") from error
    if broken := broken_weight(classifier.network, weights):
        raise ValueError(f"`checkpoint`: {path} is of a network that has diverged: {broken}; {_BROKEN_REMEDY}")
    return classifier


def settings_in(path: Path) -> dict[str, Any]:
    """The settings of the classifier in a checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such checkpoint.
    """
    return settings_of(path, classifier_content(path, _OTHER_REMEDY))


def settings_of(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the classifier in a checkpoint.

    Raises:
        ValueError: If it does not say its number of classes.
    """
    settings = content.get("hyper_parameters")
    count = settings.get("num_classes") if isinstance(settings, dict) else None
    if not isinstance(settings, dict) or not isinstance(count, int) or count < 1:
        raise ValueError(
            f"`checkpoint`: {path} is not a checkpoint of camtrain's Classifier: it does not say its number of "
            f"classes; {_OTHER_REMEDY}"
        )
    return settings


def lacks_network(settings: Mapping[str, Any], config: Path | None) -> bool:
    """Whether settings do not say what the network is, or name code for it that is not imported on their word.

    Args:
        settings: As `settings_of` returns them.
        config: A configuration that may name the code of the network.
    """
    described = settings.get("network")
    if not isinstance(described, dict):
        return described is None
    return foreign_code(described, config) is not None or absent_code(described) is not None


def _network(
    path: Path,
    settings: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    make_network: Callable[[int], nn.Module] | None,
    config: Path | None,
) -> nn.Module | str:
    """The network that the settings describe, with random weights; a name for one that the classifier makes."""
    described = settings.get("network")
    unknown = foreign_code(described, config) if isinstance(described, dict) else None
    absent = absent_code(described)
    if make_network is not None:
        if described is not None and unknown is None and absent is None:
            raise ValueError(f"`name`: expected none beside {path}, which says what its network is")
        return make_network(settings["num_classes"])
    if described is None:
        raise ValueError(
            f"`checkpoint`: {path} is of a network that was built in Python, which is not in it; {_REMEDY}"
        )
    if absent is not None:
        raise ValueError(
            f"`checkpoint`: {path} is of a network of other code, {absent}, which is not on this machine; {_REMEDY}"
        )
    if unknown is not None:
        raise ValueError(
            f"`checkpoint`: {path} is of a network of other code, {unknown}, which is not imported on the word of a "
            f"checkpoint; {_REMEDY}, or `config`, the configuration of its run"
        )
    if isinstance(described, str):
        return _large_transformer(described, weights, settings["num_classes"]) or described
    described = without_weights(described, settings["num_classes"])
    own = described.get("init_args") or {}
    if described.get("class_path") in BUILDERS:
        count = own.get("num_classes") or settings["num_classes"]
        large = _large_transformer(str(own.get("name")), weights, count)
        if large is not None:
            return with_input_channels(large, own.get("in_channels", 3))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(nn.Module, "network", required=True)
    network: nn.Module = parser.instantiate_classes(parser.parse_object({"network": described})).network
    return network


def _large_transformer(name: str, weights: Mapping[str, Tensor], num_classes: int) -> nn.Module | None:
    """One of torchvision's vision transformers, for the images of its weights; `None` for other networks."""
    side = _image_side(name, weights)
    return None if side is None else models.get_model(name, num_classes=num_classes, image_size=side)


def _image_side(name: str, weights: Mapping[str, Tensor]) -> int | None:
    """The side of the images of torchvision's vision transformers, `None` for other networks.

    Their position embedding has an entry for each patch of an image and one for its class. Published weights may be of
    larger images than a network with random weights is made for.
    """
    embedding, patch = weights.get("encoder.pos_embedding"), weights.get("conv_proj.weight")
    if not name.startswith("vit_") or name not in models.list_models(module=models):
        return None
    if embedding is None or embedding.dim() != 3 or patch is None or patch.dim() != 4:
        return None
    return math.isqrt(embedding.shape[1] - 1) * patch.shape[-1]


def _stem(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"stem": settings["stem"]} if isinstance(settings.get("network"), str) and "stem" in settings else {}
