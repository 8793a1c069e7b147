"""How a function or a class is called, with its defaults."""

from __future__ import annotations

import enum
import inspect
from typing import Any

WIDTH = 100


def signature(name: str, value: object) -> str:
    """The call of a function or a class, with the defaults of its parameters; the name alone if it is no such thing.

    Args:
        name: The name to show.
        value: The function or class.
    """
    if not callable(value) or (isinstance(value, type) and issubclass(value, enum.Enum)):
        return name
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return name
    written, starred = [], False
    for each in parameters:
        if each.name in ("self", "cls"):
            continue
        if each.kind is each.KEYWORD_ONLY and not starred:
            written.append("*")
            starred = True
        starred |= each.kind is each.VAR_POSITIONAL
        written.append(_parameter(each))
    line = f"{name}({', '.join(written)})"
    return line if len(line) <= WIDTH else f"{name}(\n    " + ",\n    ".join(written) + ",\n)"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    if parameter.default is parameter.empty:
        return f"{stars}{parameter.name}"
    return f"{stars}{parameter.name}={_default(parameter.default)}"


def _default(value: Any) -> str:
    if inspect.isclass(value) or inspect.isroutine(value):
        return str(value.__name__)
    text = repr(value)
    return "..." if " at 0x" in text or len(text) > WIDTH // 2 else text
