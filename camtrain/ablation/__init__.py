"""Many runs: a grid of settings, trained with several seeds, scored and reported."""

from camtrain.ablation.ablate import ablate
from camtrain.ablation.ablation import Ablation
from camtrain.ablation.local_executor import LocalExecutor
from camtrain.ablation.outcome import Outcome
from camtrain.ablation.ray_executor import RayExecutor
from camtrain.ablation.trial_run import run_trial
from camtrain.ablation.wandb_sweep import sweep_config

__all__ = ["Ablation", "LocalExecutor", "Outcome", "RayExecutor", "ablate", "run_trial", "sweep_config"]
