"""YAML in which no key of a mapping is given twice."""

from __future__ import annotations

from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from camtrain.files.yaml_nodes import yaml_nodes


class DuplicateKeyError(yaml.YAMLError):  # type: ignore[misc, unused-ignore]
    """A key of a mapping is given twice, of which a YAML loader would silently keep the last."""


def check_unique_keys(text: str) -> None:
    r"""Check that no mapping of a YAML text has a key twice.

    Args:
        text: YAML.

    Raises:
        DuplicateKeyError: If one has, with the lines of both.
        yaml.YAMLError: If the text is not YAML, or is nested deeper than Python can follow.

    Example:
        >>> check_unique_keys("a: {b: 1}\nc: {b: 2}")
        >>> check_unique_keys("a:\n  b: 1\n  b: 2")
        Traceback (most recent call last):
        camtrain.files.unique_keys.DuplicateKeyError: expected each key once, got `a.b` in lines 2 and 3
    """
    waiting: list[tuple[Any, str]] = [(yaml_nodes(text), "")]
    seen: set[int] = set()  # an anchor's node can have many aliases
    while waiting:
        node, path = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            waiting += _values(node, path)
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(each, f"{path}[{index}]") for index, each in enumerate(node.value)]


def _values(node: Any, path: str) -> list[tuple[Any, str]]:
    """The values of a mapping with their dotted keys."""
    lines: dict[str, int] = {}
    values = []
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            dotted, line = f"{path}.{key.value}".lstrip("."), key.start_mark.line + 1
            if key.value in lines:
                first = lines[key.value]
                where = f"lines {first} and {line}" if first != line else f"line {line}"
                raise DuplicateKeyError(f"expected each key once, got `{dotted}` in {where}")
            lines[key.value] = line
            values.append((value, dotted))
    return values
