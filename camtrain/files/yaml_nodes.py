"""YAML as nodes, which have lines and aliases, before values are made of them."""

from __future__ import annotations

from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def yaml_nodes(text: str) -> Any:
    """The root node of a YAML text; `None` if it is empty.

    Raises:
        yaml.YAMLError: If the text is not YAML, or is nested deeper than Python can follow.

    Example:
        >>> yaml_nodes("a: 1").value[0][1].value
        '1'
    """
    try:
        return yaml.compose(text, Loader=_Loader)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
