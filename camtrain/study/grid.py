"""The grid of a study: the values of configuration keys that are combined."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

Point = dict[str, Any]
"""One value for each key of the grid."""


@dataclass(frozen=True)
class Axis:
    """A configuration key and the values that it takes.

    Attributes:
        key: The dotted key, as OmegaConf and the command line have it: `model.regularizer_weight`.
        values: At least one value, no two the same.

    Raises:
        ValueError: If the key is empty, there is no value, a value is empty or not finite, or it comes twice.
    """

    key: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        # NumPy's numbers as Python's, so that JSON and the command line can hold them.
        plain = tuple(value.item() if hasattr(value, "item") else value for value in self.values)
        object.__setattr__(self, "values", plain)
        for value in plain:
            try:
                json.dumps(value)
            except TypeError as error:
                raise ValueError(
                    f"`grid`: expected values of {self.key} that YAML can hold, got {value!r}; a class is named by "
                    "{'class_path': 'camtrain.regularizers.MapL1'}"
                ) from error
            if isinstance(value, str) and not value.strip():
                raise ValueError(f"`grid`: expected values of {self.key}, got an empty one; no value at all is null")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"`grid`: expected finite values of {self.key}, got {value}")
        if not self.key or not self.values:
            raise ValueError(f"`grid`: expected a key and at least one value, got {self.key!r} and {self.values!r}")
        if len({repr(value) for value in self.values}) < len(self.values):
            raise ValueError(f"`grid`: expected each value of {self.key} once, got {list(self.values)}")

    @classmethod
    def parsed(cls, words: str) -> Axis:
        """The axis that `KEY=VALUE,VALUE,...` means; values are YAML, so that one may be a list or a mapping.

        Raises:
            ValueError: If the words have another form, or a value comes twice.

        Example:
            >>> Axis.parsed("model.regularizer_weight=0,1e-3,7.5e-3")
            Axis(key='model.regularizer_weight', values=(0, 0.001, 0.0075))
            >>> Axis.parsed("data.classes=[apple, bee],null").values
            (['apple', 'bee'], None)
        """
        key, equals, text = words.partition("=")
        try:
            found = yaml.safe_load(f"[{text}]")
        except yaml.YAMLError as error:
            raise ValueError(
                f"`grid`: expected KEY=VALUE,VALUE,... with YAML values, got {words!r}: {error}"
            ) from error
        if not key or not equals or not found:
            raise ValueError(f"`grid`: expected KEY=VALUE,VALUE,..., got {words!r}")
        return cls(key.strip(), tuple(_number(value) for value in found))


def grid(axes: Sequence[Axis]) -> Iterator[Point]:
    """All combinations of the axes' values, the last axis changing fastest.

    Example:
        >>> list(grid([Axis("a", (0, 1)), Axis("b", ("x",))]))
        [{'a': 0, 'b': 'x'}, {'a': 1, 'b': 'x'}]
    """
    for values in itertools.product(*(axis.values for axis in axes)):
        yield dict(zip((axis.key for axis in axes), values, strict=True))


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3, without a dot, as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
