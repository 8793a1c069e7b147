"""Short names for the values of one key of a grid."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from camtrain.messages import printable
from camtrain.study.trial import shown


def value_names(values: Iterable[Any]) -> dict[str, str]:
    """Names of values by their `value_key`: no two alike, and otherwise as short as possible.

    Args:
        values: The values that one key takes; a value may occur several times.

    Example:
        >>> list(value_names(["resnet18.a1_in1k", "resnet50.a2_in1k"]).values())
        ['a1_in1k', 'a2_in1k']
        >>> list(value_names(["resnet18.a1_in1k", "resnet50.a1_in1k"]).values())
        ['resnet18.a1_in1k', 'resnet50.a1_in1k']
        >>> list(value_names([{"class_path": "camtrain.MapL1", "init_args": {"a": a}} for a in (0, 1)]).values())
        ['MapL1(a=0)', 'MapL1(a=1)']
    """
    by_key = {value_key(value): value for value in values}
    for name_of in (shown, _longer):
        names = {key: name_of(value) for key, value in by_key.items()}
        if len(set(names.values())) == len(names):
            return names
    return {key: printable(key) for key in by_key}


def value_key(value: Any) -> str:
    """A text that is the same for two values if and only if they are equal.

    Example:
        >>> value_key({"b": 1, "a": "x"})
        '{"a": "x", "b": 1}'
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _longer(value: Any) -> str:
    """A class with its arguments, a text with all its parts, a number with all its digits."""
    if isinstance(value, Mapping) and value.get("init_args"):
        arguments = ", ".join(f"{key}={_longer(each)}" for key, each in value["init_args"].items())
        return f"{shown(value)}({arguments})"
    if isinstance(value, str):
        return printable(value)
    return repr(value) if isinstance(value, float) else shown(value)
