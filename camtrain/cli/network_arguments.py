"""The arguments that choose a network and methods, in every command that explains one, and what they mean."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from camtrain.cli.preprocessing import Override
from camtrain.methods import METHODS, Method, method_class, method_named, methods_for


def add_methods_argument(add: Callable[..., object]) -> None:
    """`--methods`, which `method_names` reads."""
    add(
        "--methods",
        default="grad_cam",
        metavar="NAMES",
        help=f"separated by commas, or `all`, of: {', '.join(METHODS)} (default: %(default)s)",
    )


def add_network_arguments(add: Callable[..., object]) -> None:
    """The network, how it gets its images, and the layer of the maps."""
    add(
        "--checkpoint",
        type=Path,
        metavar="CKPT",
        help="of a run of `camtrain fit`; mean, std, size and class names are those of its data module",
    )
    add(
        "--network",
        metavar="NAME",
        help=(
            "in place of a checkpoint: a network of torchvision (resnet50), timm:NAME of timm (`pip install "
            "'camtrain[timm]'`), or MODULE.FUNCTION of yours, which makes a network; beside a checkpoint of a network "
            "that was built in Python: that network"
        ),
    )
    add(
        "--weights",
        metavar="NAME",
        help="of the network given by name, DEFAULT for instance; downloaded if need be (default: random weights)",
    )
    add(
        "--config",
        type=Path,
        metavar="YAML",
        help=(
            "configuration of the run, whose data module says how images are prepared (default: the config.yaml of the "
            "checkpoint's run)"
        ),
    )
    add(
        "--size",
        type=positive,
        metavar="PIXELS",
        help="height and width that images are scaled and cropped to, at the center (default: those of the network)",
    )
    for name, is_positive in (("mean", False), ("std", True)):
        add(
            f"--{name}",
            nargs=3,
            type=_positive_number if is_positive else float,
            metavar=("R", "G", "B"),
            help=f"{name} of images in [0, 1], by which they are normalized (default: that of the network)",
        )
    add(
        "--target-layer",
        metavar="NAME",
        help=(
            "layer of the maps; several, separated by commas, for methods that fuse them (default: the last one with "
            "more than one pixel)"
        ),
    )


def add_computation_arguments(add: Callable[..., object]) -> None:
    """What bounds time and memory, the device and the seed."""
    add(
        "--max-batch",
        type=positive,
        default=32,
        metavar="N",
        help="most images in one pass, which bounds the memory (default: %(default)s)",
    )
    add(
        "--channels",
        type=positive,
        metavar="N",
        help=(
            "measure only the N strongest channels in Score-CAM, SS-CAM and Ablation-CAM, which otherwise take a pass "
            "for each (default: all)"
        ),
    )
    add("--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s, a GPU if there is one)")
    add("--seed", type=int, default=0, help="of noise and random weights (default: %(default)s)")


def method_names(words: str) -> list[str]:
    """Names of methods, of a list with commas; `all` is all of them.

    Raises:
        ValueError: if there is none of a name.
    """
    names = list(METHODS) if words == "all" else [word.strip() for word in words.split(",")]
    for name in names:
        method_class(name)
    return list(dict.fromkeys(names))


def methods_of(names: Sequence[str], network: nn.Module, settings: Namespace) -> dict[str, Method]:
    """The methods for a network, with the options of the command line.

    Of `all`, those that the network was not built for are left out.

    Raises:
        ValueError: if the network has no such layer.
    """
    layers = [word.strip() for word in settings.target_layer.split(",")] if settings.target_layer else [None]
    # Under the bar of all maps, one of its own where a method takes long.
    options = {"max_batch": settings.max_batch, "seed": settings.seed, "progress": sys.stderr.isatty()}
    options |= {} if settings.channels is None else {"num_channels": settings.channels}
    layer = layers[0] if len(layers) == 1 else layers
    if settings.methods == "all":
        meant = methods_for(network)
        names = [name for name in names if name in meant]
    return {name: method_named(name, network, layer, **options) for name in names}


def override_of(settings: Namespace) -> Override:
    """What the command line says of images."""
    return Override(settings.size, settings.mean, settings.std)


def device_named(word: str) -> torch.device:
    """A device; `auto` is a GPU if there is one.

    Raises:
        ValueError: if there is none of that name.
    """
    if word == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(word)
    except RuntimeError as error:
        raise ValueError(f"`--device`: can not use {word!r}: {error}") from error


def not_negative(word: str) -> int:
    """An integer of at least 0, as the type of an argument."""
    if not word.isdecimal():
        raise ArgumentTypeError(f"expected an integer of at least 0, got {word!r}")
    return int(word)


def positive(word: str) -> int:
    """A positive integer, as the type of an argument."""
    if not word.isdecimal() or int(word) < 1:
        raise ArgumentTypeError(f"expected a positive integer, got {word!r}")
    return int(word)


def _positive_number(word: str) -> float:
    number = float(word)
    if not number > 0:
        raise ArgumentTypeError(f"expected a positive number, got {word!r}")
    return number
