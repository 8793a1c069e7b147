"""Which code a checkpoint may name. A checkpoint is data: it cannot choose what is imported."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]
from torch import nn

from camtrain.files import check_yaml_size

OF_NETWORKS = ("camtrain.", "torch.nn.", "torchvision.models.", "torchvision.ops.")
"""How the names of networks begin that any checkpoint may name."""

_IMPORT_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")


def foreign_code(description: Any, config: Path | None) -> str | None:
    """The first name in the description of a network that would import code nobody has vouched for.

    Vouched for are networks of camtrain, torch and torchvision, a class that the caller has imported, and all that the
    configuration of the run names, since a configuration is code.

    Args:
        description: What a checkpoint says about its network: a name, or `class_path` and `init_args`.
        config: The configuration beside the checkpoint, or one that the caller gave.

    Example:
        >>> foreign_code({"class_path": "camtrain.networks.CIFARResNet", "init_args": {"depth": 8}}, None)
        >>> foreign_code({"class_path": "torch.nn.Sequential", "init_args": {"modules": ["os.system"]}}, None)
        'os.system'
    """
    classes = set(_classes(description))
    names = [name for name in _import_paths(description) if not name.startswith(OF_NETWORKS)]
    unknown = [name for name in names if name in classes or _exists(name)]
    unknown = [name for name in unknown if not _is_imported_network(name)]
    vouched = set(_import_paths(_read(config))) if unknown and config is not None else set()
    return next((name for name in unknown if name not in vouched), None)


def _import_paths(value: Any) -> Iterator[str]:
    """All that could be names of code; a string may hold YAML, in which a backslash can hide a name."""
    if isinstance(value, str):
        yield from [value] if "\\" in value else _IMPORT_PATH.findall(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _import_paths(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _import_paths(each)


def absent_code(description: Any) -> str | None:
    """The first class in the description of a network whose package or module is not on this machine.

    Args:
        description: As for `foreign_code`.

    Example:
        >>> absent_code({"class_path": "their_code.Net", "init_args": {"layer": "layer4.conv1"}})
        'their_code.Net'
    """
    return next((name for name in _classes(description) if not _exists(name)), None)


def _classes(value: Any) -> Iterator[str]:
    """All that is named as a class."""
    if isinstance(value, Mapping):
        if isinstance(path := value.get("class_path"), str):
            yield path
        for each in value.values():
            yield from _classes(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _classes(each)


def _exists(name: str) -> bool:
    """Whether there is a package or module of this name; `layer4.conv1`, the name of a layer, is of none."""
    if "\\" in name:
        return True
    try:
        return find_spec(name.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return True


def _is_imported_network(name: str) -> bool:
    """Whether it is a network's class that is imported already."""
    module, _, attribute = name.rpartition(".")
    found = getattr(sys.modules.get(module), attribute, None)
    return isinstance(found, type) and issubclass(found, nn.Module)


def _read(config: Path) -> Any:
    try:
        text = config.read_text(encoding="utf-8")
        check_yaml_size(text)
        return yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):  # said where the configuration is read for its images
        return None
