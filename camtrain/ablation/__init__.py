"""Runs all trials of a study: on this machine, on a Ray cluster, or as the agents of a W&B sweep."""

from camtrain.ablation.local_executor import run_locally
from camtrain.ablation.progress import Progress
from camtrain.ablation.ray_executor import run_on_ray
from camtrain.ablation.study_summary import log_study
from camtrain.ablation.trial_run import Outcome, run_trial
from camtrain.ablation.wandb_sweep import sweep_config

__all__ = ["Outcome", "Progress", "log_study", "run_locally", "run_on_ray", "run_trial", "sweep_config"]
