"""Settings that classes were given later: where one has its default, a configuration is what it was without it."""

from __future__ import annotations

import importlib
from typing import Any

from camtrain.classifier import Classifier


def without_added_settings(settings: Any) -> Any:
    """A resolved configuration without the added settings that have their defaults.

    A class names its own in `added_settings`, with their defaults; those of its base classes count too. So the hash of
    a study's trial does not change when a class gets a setting that the study does not use, and a run that was begun
    before can be resumed.

    Args:
        settings: Plain containers; a class is a mapping of `class_path` and `init_args`. What is called `model` at the
            top is the arguments of `Classifier`.

    Example:
        >>> network = {"class_path": "camtrain.networks.CIFARResNet", "init_args": {"depth": 8, "in_channels": 3}}
        >>> without_added_settings({"model": {"network": network}})["model"]["network"]["init_args"]
        {'depth': 8}
    """
    if isinstance(settings, list):
        return [without_added_settings(each) for each in settings]
    if not isinstance(settings, dict):
        return settings
    kept = {key: without_added_settings(value) for key, value in settings.items()}
    if isinstance(kept.get("model"), dict) and "class_path" not in kept["model"]:
        kept["model"] = _without(kept["model"], Classifier.added_settings)
    if isinstance(kept.get("class_path"), str) and isinstance(kept.get("init_args"), dict):
        return kept | {"init_args": _without(kept["init_args"], _added_settings(kept["class_path"]))}
    return kept


def _without(settings: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in added or value != added[key]}


def _added_settings(class_path: str) -> dict[str, Any]:
    module, _, name = class_path.rpartition(".")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):  # no class: the parser says so
        return {}
    added: dict[str, Any] = {}
    for kind in reversed(getattr(made, "__mro__", ())):
        added |= vars(kind).get("added_settings", {})
    return added
