"""Many runs: a grid of settings, trained with several seeds, scored and reported."""

from camtrain.ablation.ablate import DEFAULT_EVALUATION, ablate
from camtrain.ablation.ablation import Ablation
from camtrain.ablation.local_executor import LocalExecutor
from camtrain.ablation.outcome import Executor, Outcome
from camtrain.ablation.ray_executor import RayExecutor
from camtrain.ablation.trial_run import run_trial

__all__ = [
    "DEFAULT_EVALUATION",
    "Ablation",
    "Executor",
    "LocalExecutor",
    "Outcome",
    "RayExecutor",
    "ablate",
    "run_trial",
]
