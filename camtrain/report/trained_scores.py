"""Which scores the regularizer of a run trains by construction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from camtrain import regularizers
from camtrain.report.score_columns import ScoreColumn

_OURS = "camtrain.regularizers."


def trained_scores(config: Mapping[str, Any], scores: Sequence[ScoreColumn]) -> list[ScoreColumn]:
    """The scores that a run's regularizer improves by construction, so that their gain is no surprise.

    A score is trained if its metric is one of the regularizer's `trained_metrics`, and its maps are of the method that
    the regularizer penalizes. Only camtrain's own regularizers are known: a study may be of somebody else, and a report
    imports no code that it names.

    Args:
        config: The resolved configuration of the run.
        scores: The scores to choose from.

    Example:
        >>> energy = {"class_path": "camtrain.regularizers.EnergyInside", "init_args": {"method": "grad_cam"}}
        >>> scores = [ScoreColumn("energy_pointing_game", name) for name in ("grad_cam", "layer_cam")]
        >>> trained_scores({"model": {"regularizer": energy, "regularizer_weight": 0.1}}, scores)
        [ScoreColumn(metric='energy_pointing_game', method='grad_cam', prefix='evaluated/')]
    """
    model = config.get("model") or {}
    if model.get("regularizer_weight") == 0:  # null is the weight that the regularizer has by default
        return []
    found = {each for term in _terms(model.get("regularizer")) for each in _trained(term)}
    return [score for score in scores if (score.metric, score.method) in found]


def _terms(regularizer: Any) -> Iterator[Mapping[str, Any]]:
    """A regularizer, or the terms of a sum."""
    if not isinstance(regularizer, Mapping):
        return
    terms = (regularizer.get("init_args") or {}).get("terms")
    if not isinstance(terms, Sequence):
        yield regularizer
        return
    for term in terms:
        if isinstance(term, Mapping):
            # jsonargparse writes a dataclass with or without its class.
            fields = term.get("init_args", term)
            if fields.get("weight") != 0:
                yield from _terms(fields.get("regularizer"))


def _trained(regularizer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    name = str(regularizer.get("class_path", ""))
    cls = getattr(regularizers, name.removeprefix(_OURS), None) if name.startswith(_OURS) else None
    method = (regularizer.get("init_args") or {}).get("method", "grad_cam")
    for metric in getattr(cls, "trained_metrics", ()):
        yield metric, str(method)
