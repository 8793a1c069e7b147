"""A network by its name."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import nn
from torchvision import models
from torchvision.models import list_models

from camtrain.networks.cifar_resnet import CIFARResNet
from camtrain.networks.nearest_names import nearest_names
from camtrain.networks.small_image_stem import with_small_image_stem

Stem = Literal["imagenet", "small"]
"""`"imagenet"`: as the network's paper. `"small"`: 3×3 without pooling, for images of 32 to 64 pixels."""

_OWN_NETWORKS = {f"cifar_resnet{depth}": depth for depth in (8, 14, 20, 32, 44, 56)}
# Their auxiliary heads would make the output a tuple in training mode.
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


def build_network(name: str, num_classes: int, *, stem: Stem = "imagenet", weights: str | None = None) -> nn.Module:
    """A classifier of torchvision, or one of camtrain's `cifar_resnet8` to `cifar_resnet56`, for `num_classes` classes.

    GoogLeNet and Inception come without their auxiliary heads.

    Args:
        name: as `torchvision.models.list_models()` has it.
        num_classes: K, the number of logits.
        stem: `"small"` changes the first layers for images of 32 to 64 pixels; camtrain's own networks start so anyway.
        weights: a torchvision weights name, `"DEFAULT"` or `"IMAGENET1K_V1"`; downloaded by torchvision where they are
            not in its cache. The last linear layer is replaced where it has another number of classes. `None`: random.

    Returns:
        A network from (N, 3, H, W) to (N, num_classes), in training mode.

    Raises:
        ValueError: for an unknown name, stem or weights (with the nearest ones), and for those that do not go together.

    Example:
        >>> build_network("resnet18", 10, stem="small").fc
        Linear(in_features=512, out_features=10, bias=True)
    """
    names = [*_OWN_NETWORKS, *list_models(module=models)]
    if name not in names:
        raise ValueError(f"`network`: no image classifier is called {name!r}; {nearest_names(name, names)}")
    if num_classes < 1:
        raise ValueError(f"`num_classes`: expected at least 1, got {num_classes}")
    if stem not in get_args(Stem):
        raise ValueError(f"`stem`: expected one of {', '.join(map(repr, get_args(Stem)))}, got {stem!r}")
    if weights is not None and (stem != "imagenet" or name in _OWN_NETWORKS):
        raise ValueError(f"`weights`: {name!r} with stem={stem!r} has no pretrained weights, got {weights!r}")
    if name in _OWN_NETWORKS:
        # Its stem is the small one; there is no other.
        return CIFARResNet(_OWN_NETWORKS[name], num_classes)
    options: dict[str, Any] = {"aux_logits": False} if name in _WITH_AUXILIARY_HEADS else {}
    if weights is not None:
        _check_weights(name, weights)
        return _with_head(models.get_model(name, weights=weights, **options), num_classes)
    if name in _WITH_AUXILIARY_HEADS:
        options["init_weights"] = True
    network = models.get_model(name, weights=None, num_classes=num_classes, **options)
    return with_small_image_stem(network) if stem == "small" else network


def _check_weights(name: str, weights: str) -> None:
    weights_class = models.get_model_weights(name)
    known = weights_class.__members__
    if weights.removeprefix(f"{weights_class.__name__}.") not in known:
        raise ValueError(f"`weights`: {name!r} has none called {weights!r}; {nearest_names(weights, known)}")


def _with_head(network: nn.Module, num_classes: int) -> nn.Module:
    heads = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not heads:
        raise ValueError(f"`weights`: {type(network).__name__} has no linear head to replace; use weights=None")
    name, head = heads[-1]
    if head.out_features != num_classes:
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, nn.Linear(head.in_features, num_classes, head.bias is not None))
    return network
