"""The trials of several grids, in the order of one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from camtrain.study.trial import Trial

_SEED = ""  # the key of the seed among those of points


def in_grid_order(trials: Sequence[Trial], earlier: Sequence[Trial]) -> list[Trial]:
    """The trials of a grid and of earlier ones, sorted by values and then by seeds.

    Numbers ascend if those of the present grid do; other values come in the order in which they are first met.

    Args:
        trials: The trials of the present grid, in its order.
        earlier: The trials of earlier grids.

    Example:
        >>> earlier = [Trial({"a": a}, seed, {}) for a, seed in ((0, 0), (2, 0), (1, 7))]
        >>> [(trial.point["a"], trial.seed) for trial in in_grid_order([Trial({"a": 1}, 0, {})], earlier)]
        [(0, 0), (1, 0), (1, 7), (2, 0)]
    """
    if not earlier:
        return list(trials)
    found = [*trials, *earlier]
    keys = [*dict.fromkeys(key for trial in found for key in trial.point), _SEED]
    ranks = {
        key: _ranks([_value(trial, key) for trial in trials], [_value(trial, key) for trial in earlier]) for key in keys
    }
    return sorted(found, key=lambda trial: [ranks[key][json.dumps(_value(trial, key))] for key in keys])


def _value(trial: Trial, key: str) -> Any:
    return trial.seed if key == _SEED else trial.point.get(key)


def _ranks(present: Iterable[Any], earlier: Iterable[Any]) -> dict[str, int]:
    """The place of each value, by its JSON."""
    first = {json.dumps(value): value for value in present}
    values = first | {json.dumps(value): value for value in earlier}
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values())
    ascend = are_numbers and list(first.values()) == sorted(first.values())
    order = sorted(values, key=lambda text: values[text]) if ascend else list(values)
    return {text: place for place, text in enumerate(order)}
