"""Train image classifiers that look at the right thing, and show that they do.

Everything that the command line does is one of these functions. Names are imported when they are first used, so that
`import camtrain` itself is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camtrain.ablation import Ablation
    from camtrain.ablation.ablate import ablate
    from camtrain.batch import Batch
    from camtrain.camtrain_warning import CamtrainWarning
    from camtrain.classifier import Classifier
    from camtrain.evaluation import Evaluation, EvaluationPlan, EvaluationSettings, compare, evaluate
    from camtrain.explanation import Explanation, explain
    from camtrain.loading import load_data, load_network
    from camtrain.methods import image_maps
    from camtrain.networks import LoadedNetwork
    from camtrain.objective import Objective
    from camtrain.pictures import overlay

__all__ = [
    "Ablation",
    "Batch",
    "CamtrainWarning",
    "Classifier",
    "Evaluation",
    "EvaluationPlan",
    "EvaluationSettings",
    "Explanation",
    "LoadedNetwork",
    "Objective",
    "ablate",
    "compare",
    "evaluate",
    "explain",
    "image_maps",
    "load_data",
    "load_network",
    "overlay",
]

_HOMES = {
    "Ablation": "ablation",
    "Batch": "batch",
    "CamtrainWarning": "camtrain_warning",
    "Classifier": "classifier",
    "Evaluation": "evaluation",
    "EvaluationPlan": "evaluation",
    "EvaluationSettings": "evaluation",
    "Explanation": "explanation",
    "LoadedNetwork": "networks",
    "Objective": "objective",
    "ablate": "ablation",
    "compare": "evaluation",
    "evaluate": "evaluation",
    "explain": "explanation",
    "image_maps": "methods",
    "load_data": "loading",
    "load_network": "loading",
    "overlay": "pictures",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
