"""The size of YAML once its aliases are written out."""

from __future__ import annotations

from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from camtrain.files.yaml_nodes import yaml_nodes

MOST_NODES = 10_000
"""The limit of OmegaConf, which reads configurations too."""


def check_yaml_size(text: str) -> None:
    r"""Check that a YAML text stays small when its aliases are written out; a few lines can stand for gigabytes.

    Args:
        text: YAML.

    Raises:
        yaml.YAMLError: If it has more than 10,000 nodes then, contains itself, is not YAML, or is nested deeper than
            Python can follow.

    Example:
        >>> check_yaml_size("a: &a {lr: 0.1}\nb: *a")
        >>> check_yaml_size("a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *a, *c]")
        Traceback (most recent call last):
        yaml.error.YAMLError: an alias stands for what it is a part of
    """
    root = yaml_nodes(text)
    try:
        number = _num_nodes(root, {}) if root is not None else 0
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    if number > MOST_NODES:
        raise yaml.YAMLError(f"expected at most {MOST_NODES} values, got {number} with its aliases written out")


def _num_nodes(node: Any, known: dict[int, int | None]) -> int:
    """The number of nodes in a node; `known` has those of others, and `None` for the ones around it."""
    if id(node) not in known:
        known[id(node)] = None
        known[id(node)] = 1 + sum(_num_nodes(each, known) for each in _inside(node))
    number = known[id(node)]
    if number is None:
        raise yaml.YAMLError("an alias stands for what it is a part of")
    return number


def _inside(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
