"""The points of earlier grids in the folder of a study, which its report shows beside those of the present grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from camtrain.report.value_names import value_key
from camtrain.runs import ConfigResolver
from camtrain.study import Study, Trial

_MISSING = object()


def with_earlier_points(study: Study, resolver: ConfigResolver) -> Study:
    """The study with those earlier trials of its folder that differ from its own only in keys of the grids.

    An earlier trial belongs to it if the present configuration, with the values of the earlier point, is the
    configuration that the trial was trained with. All points then have the keys in which any two of them differ.

    Args:
        study: The study of the present grid.
        resolver: The resolver of its configuration.
    """
    planned = {trial.hash for trial in study.trials}
    others = [trial for trial in Study.trials_in(study.folder) if trial.hash not in planned]
    keys = [axis.key for axis in study.plan.axes]
    alike = [_without_seed(trial) for trial in study.trials]
    earlier = []
    for trial in others:
        # Another seed of a known point needs no look: to resolve a configuration takes a quarter of a second.
        if _without_seed(trial) in alike or _belongs(trial, keys, resolver):
            earlier.append(trial)
            alike.append(_without_seed(trial))
    if not earlier:
        return study
    # A key with one value is no part of the points of its grid.
    only = {axis.key: axis.values[0] for axis in study.plan.axes if len(axis.values) == 1}
    whole = [replace(trial, point={**only, **trial.point}) for trial in study.trials]
    whole, earlier = _alike(whole, earlier)
    return Study(study.folder, study.plan, whole, earlier, Study.commands_in(study.folder))


def _without_seed(trial: Trial) -> dict[str, Any]:
    return {key: value for key, value in trial.config.items() if key != "seed_everything"}


def _belongs(trial: Trial, keys: Sequence[str], resolver: ConfigResolver) -> bool:
    """Whether the present configuration comes to that of the trial, with its values of the grids' keys."""
    found = {key: _at(trial.config, key) for key in keys if key not in trial.point}
    values = {**trial.point, **{key: value for key, value in found.items() if value is not _MISSING}}
    try:
        return Trial({}, trial.seed, resolver.resolved(values, trial.seed)).hash == trial.hash
    except ValueError:  # the present configuration has no such key, or another kind of value
        return False


def _alike(trials: Sequence[Trial], earlier: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    """The trials with points of the same keys: those of which there are several values."""
    found = [*trials, *earlier]
    keys = list(dict.fromkeys(key for trial in found for key in trial.point))
    typed: dict[str, dict[str, Any]] = {key: {} for key in keys}

    def value(trial: Trial, key: str) -> Any:
        # Of a value that was typed in two ways, such as 0 and 0.0, the first one counts.
        resolved = _at(trial.config, key)
        if resolved is _MISSING:
            resolved = trial.point.get(key)
        return typed[key].setdefault(value_key(resolved), trial.point.get(key, resolved))

    points = [{key: value(trial, key) for key in keys} for trial in found]
    varying = [key for key in keys if len(typed[key]) > 1] or keys
    alike = [
        replace(trial, point={key: point[key] for key in varying}) for trial, point in zip(found, points, strict=True)
    ]
    return alike[: len(trials)], alike[len(trials) :]


def _at(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key, which leaves out `init_args` as the command line does; `_MISSING` if there is none."""
    found: Any = config
    for name in key.split("."):
        if isinstance(found, Mapping) and name not in found:
            found = found.get("init_args")
        if not isinstance(found, Mapping) or name not in found:
            return _MISSING
        found = found[name]
    return found
