"""One run of a study."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from camtrain.files import safe_words, shortened
from camtrain.messages import printable

_LONGEST_NAME = 100  # characters of a folder's name, which holds the values that differ
_LONGEST_BYTES = 240


@dataclass(frozen=True)
class Trial:
    """One run of a study: a resolved configuration.

    Attributes:
        point: The values of the keys that differ between the trials of a study.
        seed: The seed of the run.
        config: All settings that training depends on, as plain containers.
        known_hash: The hash, where the configuration is lost; empty where it is there.
    """

    point: Mapping[str, Any]
    seed: int
    config: Mapping[str, Any]
    known_hash: str = field(default="", compare=False, repr=False)

    @property
    def hash(self) -> str:
        """A hash of the whole configuration: runs with the same hash are the same run.

        Example:
            >>> one, other = (Trial({}, 0, {"model": {"regularizer_weight": weight}}).hash for weight in (0.1, 0.2))
            >>> one == other, len(one)
            (False, 16)
        """
        if self.known_hash:
            return self.known_hash
        text = json.dumps(self.config, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The name of its folder and its run: what differs, the seed, and the beginning of the hash.

        Example:
            >>> Trial({"model.regularizer_weight": 0.001}, 2, {}).name
            'regularizer_weight=0.001,seed=2-44136fa3'
        """
        parts = [f"{key.rpartition('.')[2]}={shown(value)}" for key, value in self.point.items()]
        words = safe_words(",".join([*parts, f"seed={self.seed}"]))[:_LONGEST_NAME]
        return f"{shortened(words, _LONGEST_BYTES)}-{self.hash[:8]}"


def shown(value: Any) -> str:
    """A value of the grid as people write it.

    Example:
        >>> [shown(value) for value in (0, 0.0075, "cosine", {"class_path": "camtrain.regularizers.MapL1"}, None)]
        ['0', '0.0075', 'cosine', 'MapL1', 'null']
    """
    if isinstance(value, Mapping) and "class_path" in value:
        value = value["class_path"]
    if isinstance(value, str):
        return value.rpartition(".")[2] if re.fullmatch(r"[A-Za-z_][\w.]*", value) else printable(value)
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value)
