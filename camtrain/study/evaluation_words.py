"""Evaluations of studies that were written before: words of `camtrain evaluate`, read as a plan."""

from __future__ import annotations

import hashlib
import json
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any, Literal

from camtrain.evaluation import EvaluationPlan, EvaluationSettings

# Old option, field of the plan or of its settings, type.
_OF_PLAN: tuple[tuple[str, str, type], ...] = (
    ("methods", "methods", str),
    ("metrics", "metrics", str),
    ("split", "split", str),
    ("limit", "num_images", int),
    ("target-layer", "target_layer", str),
    ("channels", "num_channels", int),
    ("max-batch", "max_batch", int),
    ("batch-size", "batch_size", int),
    ("resamples", "num_resamples", int),
    ("panels", "num_panel_maps", int),
    ("gallery", "num_gallery_images", int),
)
_OF_SETTINGS: tuple[tuple[str, str, type], ...] = (
    ("class-of", "class_of", str),
    ("annotation", "annotation", str),
    ("steps", "num_steps", int),
    ("insertion-start", "insertion_start", str),
    ("deletion-end", "deletion_end", str),
    ("stages", "num_stages", int),
    ("tolerance", "tolerance", float),
    ("seed", "seed", int),
)


def plan_of_words(words: Sequence[str]) -> EvaluationPlan:
    """The plan that words of an earlier `camtrain evaluate` stand for; options of the network are left out.

    Example:
        >>> plan = plan_of_words(["--metrics", "average_drop", "--limit", "8", "--steps=4"])
        >>> plan.num_images, plan.settings.num_steps
        (8, 4)
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    for option, field, kind in (*_OF_PLAN, *_OF_SETTINGS):
        parser.add_argument(f"--{option}", dest=field, type=kind)
    found, _ = parser.parse_known_args(list(words))
    given = {name: value for name, value in vars(found).items() if value is not None}
    settings: dict[str, Any] = {field: given.pop(field) for _, field, _ in _OF_SETTINGS if field in given}
    return EvaluationPlan(**given, settings=EvaluationSettings(**settings))


def split_of_words(words: Sequence[str]) -> Literal["test", "val"]:
    """The split that was typed; the last one counts.

    Example:
        >>> split_of_words(["camtrain", "ablate", "--split", "test", "--split=val"])
        'val'
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--split", default="test", choices=("test", "val"))
    found, _ = parser.parse_known_args(list(words))
    return found.split  # type: ignore[no-any-return]


def evaluation_hash(evaluation: Any) -> str:
    """The name of an evaluation's folder: a hash of the plan, or of the words that stood for it, as JSON."""
    return hashlib.sha256(json.dumps(evaluation).encode()).hexdigest()[:8]
