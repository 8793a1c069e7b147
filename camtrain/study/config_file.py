"""The configuration of a trial as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from camtrain.files import DamagedFileError, write_whole

_LARGEST = 4 * 2**20  # bytes


class _Loader(yaml.SafeLoader):  # type: ignore[misc, unused-ignore]
    """YAML without aliases, which no configuration of ours has: a few can stand for more than any memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias, which no configuration of a trial has")
        return super().compose_node(parent, index)


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write the configuration of a trial.

    Args:
        path: The file; its folder is made.
        config: The configuration, as plain containers.
    """
    # What occurs twice in it is written twice, not as an alias.
    write_whole(path, yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False))


def read_config(path: Path) -> dict[str, Any]:
    """Read the configuration of a trial.

    Raises:
        FileNotFoundError: If there is none.
        DamagedFileError: If it cannot be read.
    """
    if path.is_dir():
        raise DamagedFileError(path, "it is a folder")
    size = path.stat().st_size
    if not 0 < size <= _LARGEST:
        raise DamagedFileError(path, f"it has {size >> 20} MiB" if size else "it is empty")
    try:
        found = yaml.load(path.read_bytes(), _Loader)
        json.dumps(found)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DamagedFileError(path, f"it cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise DamagedFileError(path, f"expected a mapping, got {type(found).__name__}")
    return found
