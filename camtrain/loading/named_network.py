"""Networks by name, from torchvision, camtrain, timm or one's own code."""

from __future__ import annotations

import copy
import importlib

from torch import nn

from camtrain.networks import build_network
from camtrain.networks.build_network import TIMM


def named_network(name: str, num_classes: int | None = None, weights: str | None = None) -> nn.Module:
    """The network of a name.

    Args:
        name: A name of torchvision or of camtrain, `timm:<name>`, or `<module>.<attribute>` of one's own code: a
            network, or a function or class that makes one when called without arguments.
        num_classes: The number of classes K; `None` leaves that of the weights.
        weights: The weights of a network that is not one's own, by name or as a file; `None` means random weights.

    Raises:
        ValueError: If there is no such name, or weights are given for one's own network.
        TypeError: If one's own function does not make a network, or the name is no text.
        FileNotFoundError: If there is no file of weights.
        OSError: If weights cannot be downloaded.
    """
    if not isinstance(name, str):
        raise TypeError(f"`name`: expected a name, got {name!r}")
    if not is_own(name):
        try:
            return build_network(name, num_classes, weights=weights)
        except ValueError as error:
            raise ValueError(str(error).replace("`network`", "`name`")) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            raise OSError(f"`weights`: cannot get {weights!r} of {name}: {error}") from error
    if weights is not None:
        raise ValueError(f"`weights`: {name!r} makes a network with its weights, got {weights!r} beside it")
    module, _, attribute = name.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"`name`: cannot import {name!r}: {error}") from error
    try:
        network = _copied(name, made) if isinstance(made, nn.Module) else made()
    except TypeError as error:
        raise TypeError(
            f"`name`: expected a network, or what makes one when called without arguments, got {name!r}: {error}"
        ) from error
    if not isinstance(network, nn.Module):
        raise TypeError(f"`name`: expected that {name!r} makes a network, got {type(network).__name__}")
    return network


def _copied(name: str, network: nn.Module) -> nn.Module:
    """A copy of a network that is there already, since a second checkpoint may be loaded under the same name."""
    try:
        return copy.deepcopy(network)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"`name`: {name} is a network that cannot be copied ({error}); pass a function that makes it"
        ) from error


def is_own(name: str) -> bool:
    """Whether a name is that of one's own code.

    Example:
        >>> is_own("my_code.my_network"), is_own("resnet50"), is_own("timm:resnet50.a1_in1k")
        (True, False, False)
    """
    return "." in name and not name.startswith(TIMM)
