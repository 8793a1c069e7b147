"""Settings without what says where things are on a machine."""

from __future__ import annotations

import re
from typing import Any

_LOCAL = re.compile(r"(?:/|~|[A-Za-z]:[\\/]|\\\\|file:)")  # how a path begins that says where it is


def without_places(value: Any, *, keep_none: bool = False) -> Any:
    """A setting in which of each path that starts at a root its last name is left.

    Args:
        value: The setting: a text, a number, or any nesting of lists and mappings of them.
        keep_none: Whether entries that are `None` stay in mappings.

    Example:
        >>> without_places({"root": "/home/ann/photos", "classes": ["cat", "dog"], "val_fraction": None})
        {'root': 'photos', 'classes': ['cat', 'dog']}
    """
    if isinstance(value, dict):
        found = {name: without_places(each, keep_none=keep_none) for name, each in value.items()}
        return {name: each for name, each in found.items() if keep_none or each is not None}
    if isinstance(value, list):
        return [without_places(each, keep_none=keep_none) for each in value]
    if isinstance(value, str) and _LOCAL.match(value):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return value
