"""Train image classifiers that look at the right thing, and show that they do.

Everything that the command line does is one of these functions. Names and packages are imported when they are first
used, so that `import camtrain` itself is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from camtrain.ablation.ablate import DEFAULT_EVALUATION, ablate
    from camtrain.ablation.ablation import Ablation
    from camtrain.batch import Batch
    from camtrain.classifier import Classifier
    from camtrain.evaluation import (
        METRICS,
        Comparison,
        Evaluation,
        EvaluationPlan,
        EvaluationSettings,
        compare,
        evaluate,
        read_score_map,
        score_maps,
        write_score_map,
    )
    from camtrain.explanation import Explanation, Explanations, explain
    from camtrain.exporting import Exported, export
    from camtrain.loading import load_data, load_network
    from camtrain.messages import CamtrainWarning
    from camtrain.methods import METHODS, image_maps
    from camtrain.networks import LoadedNetwork
    from camtrain.objective import Objective
    from camtrain.pictures import overlay

__all__ = [
    "DEFAULT_EVALUATION",
    "METHODS",
    "METRICS",
    "Ablation",
    "Batch",
    "CamtrainWarning",
    "Classifier",
    "Comparison",
    "Evaluation",
    "EvaluationPlan",
    "EvaluationSettings",
    "Explanation",
    "Explanations",
    "Exported",
    "LoadedNetwork",
    "Objective",
    "ablate",
    "compare",
    "evaluate",
    "explain",
    "export",
    "image_maps",
    "load_data",
    "load_network",
    "overlay",
    "read_score_map",
    "score_maps",
    "write_score_map",
]

_HOMES = {
    "ablation": ("DEFAULT_EVALUATION", "Ablation", "ablate"),
    "batch": ("Batch",),
    "messages": ("CamtrainWarning",),
    "classifier": ("Classifier",),
    "evaluation": (
        "METRICS",
        "Comparison",
        "Evaluation",
        "EvaluationPlan",
        "EvaluationSettings",
        "compare",
        "evaluate",
        "read_score_map",
        "score_maps",
        "write_score_map",
    ),
    "explanation": ("Explanation", "Explanations", "explain"),
    "exporting": ("Exported", "export"),
    "loading": ("load_data", "load_network"),
    "methods": ("METHODS", "image_maps"),
    "networks": ("LoadedNetwork",),
    "objective": ("Objective",),
    "pictures": ("overlay",),
}
_PACKAGES = {*_HOMES, "attributions", "callbacks", "cams", "data", "gradients", "metrics", "regularizers", "report"}


def __getattr__(name: str) -> object:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is not None:
        found: object = getattr(import_module(f"camtrain.{home}"), name)
        globals()[name] = found
        return found
    if name in _PACKAGES:
        return import_module(f"camtrain.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("camtrain")
    raise AttributeError(f"module 'camtrain' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_PACKAGES, "__version__"})
