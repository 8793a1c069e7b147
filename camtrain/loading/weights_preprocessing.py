"""The preprocessing that a network's weights were trained with, and the names of their classes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from torch import nn
from torchvision import models

from camtrain.loading.named_network import is_own
from camtrain.networks.build_network import OWN_NETWORKS, TIMM
from camtrain.networks.input_channels import input_channels
from camtrain.networks.preprocessing import (
    GivenPreprocessing,
    Preprocessing,
    normalization_title,
    plain_preprocessing,
)
from camtrain.networks.weights_file import is_weights_file

_CIFAR_SIZE = 32

Prepared = tuple[Preprocessing, Sequence[str] | None]
"""A preprocessing, and the names of all classes where they are known."""


def weights_preprocessing(name: str, network: nn.Module, weights: str | None, given: GivenPreprocessing) -> Prepared:
    """The preprocessing of a network that was made by name.

    Args:
        name: As `named_network` takes it.
        network: The network of that name.
        weights: Its weights; `None` is random.
        given: What the caller says about images.
    """
    if weights is not None and is_weights_file(weights):
        # It says neither how images are normalized nor what classes are called.
        found, _ = weights_preprocessing(name, network, None, given)
        return found, None
    if name.startswith(TIMM):
        return timm_preprocessing(network, weights is not None, given)
    if name in OWN_NETWORKS:
        return plain_preprocessing(given, size=_CIFAR_SIZE), None
    if not is_own(name):
        return torchvision_preprocessing(name, weights, given)
    return assumed_preprocessing(network, given), None


def assumed_preprocessing(network: nn.Module, given: GivenPreprocessing) -> Preprocessing:
    """The preprocessing of a network of which nothing says it; a remark says so."""
    return plain_preprocessing(given, remarks=assumptions(network, given), channels=input_channels(network))


def assumptions(network: nn.Module, given: GivenPreprocessing) -> list[str]:
    """What a user should know where nothing says how images are normalized."""
    if given.mean and given.std:
        return []
    return [
        f"nothing says how images are normalized, so that {normalization_title(input_channels(network))} are assumed; "
        "pass `mean` and `std`, or `config` with the configuration of a run"
    ]


def torchvision_preprocessing(name: str, weights: str | None, given: GivenPreprocessing) -> Prepared:
    """The preprocessing of torchvision's weights, with the names of their classes.

    Without weights it is that of the default ones, and classes have no names. With another size, photographs are scaled
    so that the same part of them is seen.
    """
    known = models.get_model_weights(name)
    chosen = known.DEFAULT if weights is None else known[weights.removeprefix(f"{known.__name__}.")]
    own = chosen.transforms()
    options: dict[str, Any] = given.normalization(own.mean, own.std)
    if given.size is not None:
        resized = round(given.size * own.resize_size[0] / own.crop_size[0])
        options |= {"crop_size": given.size, "resize_size": resized}
    names = None if weights is None else chosen.meta.get("categories")
    transform = chosen.transforms(**options)
    return Preprocessing(transform, transform.mean, transform.std, given=given), names


def timm_preprocessing(network: nn.Module, pretrained: bool, given: GivenPreprocessing) -> Prepared:
    """The preprocessing of a timm network, with ImageNet's class names where it was pretrained there."""
    data: Any = importlib.import_module("timm.data")
    config = data.resolve_model_data_config(network)
    config |= given.normalization(config["mean"], config["std"])
    if given.size is not None:
        config["input_size"] = (3, given.size, given.size)
    names = None
    subset = data.infer_imagenet_subset(network) if pretrained else None
    if subset:
        info = data.ImageNetInfo(subset)
        names = [info.index_to_description(index, detailed=False) for index in range(info.num_classes())]
    transform = data.create_transform(**config, is_training=False)
    return Preprocessing(transform, config["mean"], config["std"], given=given), names
