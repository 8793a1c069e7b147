"""A network by its name."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any, Literal, get_args

from torch import nn
from torchvision import models
from torchvision.models import list_models

from camtrain.messages import nearest_names, positive_integer
from camtrain.networks.cifar_resnet import CIFARResNet
from camtrain.networks.input_channels import with_input_channels
from camtrain.networks.last_linear import last_linear
from camtrain.networks.small_image_stem import with_small_image_stem
from camtrain.networks.weights_file import is_weights_file, with_weights_of_file

Stem = Literal["imagenet", "small"]
"""`"imagenet"`: as in the network's paper. `"small"`: 3×3 without pooling, for images of 32 to 64 pixels."""

OWN_NETWORKS = {f"cifar_resnet{depth}": depth for depth in (8, 14, 20, 32, 44, 56)}
TIMM = "timm:"
# With their auxiliary heads, the output would be a tuple in training mode.
WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


def build_network(
    name: str,
    num_classes: int | None = None,
    *,
    stem: Stem = "imagenet",
    weights: str | None = None,
    in_channels: int = 3,
) -> nn.Module:
    """A classifier of torchvision or timm, or one of camtrain's `cifar_resnet8` to `cifar_resnet56`.

    GoogLeNet and Inception come without their auxiliary heads. As with torchvision's pretrained weights, they change
    images of three channels from ImageNet's mean and standard deviation to their own.

    In a configuration a name alone is a network for images of three channels. For others, it is

        network:
          class_path: camtrain.networks.build_network
          init_args: {name: resnet18, num_classes: 2, in_channels: 4}

    Args:
        name: A name from `torchvision.models.list_models()`, a name from `timm.list_models()` with the prefix `timm:`,
            such as `timm:convnext_nano` (`pip install 'camtrain[timm]'`), or one of camtrain's own.
        num_classes: K, the number of logits. `None` takes the number of the weights, or else the network's default.
        stem: `"small"` changes the first layers for images of 32 to 64 pixels. camtrain's own networks always have a
            small stem.
        weights: `None` for random weights, or the name of pretrained ones. For torchvision, `"DEFAULT"` or a name such
            as `"IMAGENET1K_V1"`; torchvision downloads them unless they are in its cache. For timm, `"DEFAULT"` or the
            tag of pretrained weights. Or a file of weights on this machine, `.safetensors`, `.pth` or `.pt`, for any
            network. If the weights have another number of classes, the last linear layer is new.
        in_channels: C, the number of channels of the images. With published weights, `with_input_channels` says what
            becomes of the weights of the first convolution; a file of weights has to be of a network with C channels.

    Returns:
        A network from (N, C, H, W) to (N, K), in training mode.

    Raises:
        ValueError: If the name, the stem or the weights are unknown (the nearest names are suggested) or cannot be
            combined, a file cannot be read or is of another network, or timm is needed and not installed.
        FileNotFoundError: If there is no file of weights.

    Example:
        >>> build_network("resnet18", 10, stem="small").fc
        Linear(in_features=512, out_features=10, bias=True)
    """
    if num_classes is not None:
        positive_integer("num_classes", num_classes)
    positive_integer("in_channels", in_channels)
    for argument, given in {"network": name, "weights": weights}.items():
        if not (isinstance(given, str) or (given is None and argument == "weights")):
            raise TypeError(f"`{argument}`: expected a name, got {given!r}")
    if stem not in get_args(Stem):
        raise ValueError(f"`stem`: expected one of {', '.join(map(repr, get_args(Stem)))}, got {stem!r}")
    if weights is not None and is_weights_file(weights):
        made = partial(build_network, name, stem=stem, in_channels=in_channels)
        return with_weights_of_file(made, num_classes, weights)
    if name.startswith(TIMM):
        return _timm_network(name.removeprefix(TIMM), num_classes, stem, weights, in_channels)
    names = [*OWN_NETWORKS, *list_models(module=models)]
    if name not in names:
        raise ValueError(f"`network`: no image classifier is called {name!r}; {nearest_names(name, names)}")
    if weights is not None and (stem != "imagenet" or name in OWN_NETWORKS):
        raise ValueError(f"`weights`: {name!r} with stem={stem!r} has no pretrained weights, got {weights!r}")
    classes = {} if num_classes is None else {"num_classes": num_classes}
    if name in OWN_NETWORKS:
        # Its stem is always the small one.
        return CIFARResNet(OWN_NETWORKS[name], **classes, in_channels=in_channels)
    options: dict[str, Any] = {}
    if name in WITH_AUXILIARY_HEADS:
        # Left to torchvision, `transform_input` would depend on `weights`: a network that is made again for the weights
        # of a checkpoint would see other images than the one that was trained.
        options["transform_input"] = in_channels == 3
    if weights is not None:
        _check_weights(name, weights)
        network: nn.Module = models.get_model(name, weights=weights, **options)
        _remove_auxiliary_heads(network)
        with_input_channels(network, in_channels, pretrained=True)
        return network if num_classes is None else _with_head(network, num_classes)
    if name in WITH_AUXILIARY_HEADS:
        options |= {"aux_logits": False, "init_weights": True}
    network = models.get_model(name, weights=None, **classes, **options)
    network = with_small_image_stem(network) if stem == "small" else network
    return with_input_channels(network, in_channels)


def _timm_network(name: str, num_classes: int | None, stem: Stem, weights: str | None, in_channels: int) -> nn.Module:
    try:
        timm: Any = importlib.import_module("timm")
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise ValueError(f"`network`: {TIMM + name!r} needs timm; pip install 'camtrain[timm]'") from error
    if stem != "imagenet":
        raise ValueError(f"`stem`: {stem!r} is for networks of torchvision, got the network {TIMM + name!r}")
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise ValueError(
            f"`network`: timm has no model called {architecture!r}; {nearest_names(architecture, timm.list_models())}"
        )
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ValueError(f"`network`: timm's {architecture!r} has no weights {tag!r}; {_known(tag, tags)}")
    if weights is not None and weights not in (["DEFAULT", *tags] if tags else []):
        raise ValueError(f"`weights`: timm's {architecture!r} has none called {weights!r}; {_known(weights, tags)}")
    if weights is not None and weights != "DEFAULT":
        name = f"{architecture}.{weights}"
    options = {} if num_classes is None else {"num_classes": num_classes}
    options |= {} if in_channels == 3 else {"in_chans": in_channels}
    network: nn.Module = timm.create_model(name, pretrained=weights is not None, **options)
    return network


def _known(name: str, names: list[str]) -> str:
    return nearest_names(name, names) if names else "there are none"


def _check_weights(name: str, weights: str) -> None:
    weights_class = models.get_model_weights(name)
    known = weights_class.__members__
    if weights.removeprefix(f"{weights_class.__name__}.") not in known:
        raise ValueError(f"`weights`: {name!r} has none called {weights!r}; {nearest_names(weights, known)}")


def _remove_auxiliary_heads(network: nn.Module) -> None:
    """Remove them from a network that has weights: torchvision raises where it is asked for weights without them."""
    if isinstance(network, (models.GoogLeNet, models.Inception3)):
        network.aux_logits = False
        for name in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, name):
                setattr(network, name, None)


def _with_head(network: nn.Module, num_classes: int) -> nn.Module:
    name = last_linear(network)
    if name is None:
        raise ValueError(f"`weights`: {type(network).__name__} has no linear head to replace; use weights=None")
    head = network.get_submodule(name)
    assert isinstance(head, nn.Linear)
    if head.out_features != num_classes:
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, nn.Linear(head.in_features, num_classes, head.bias is not None))
    return network
