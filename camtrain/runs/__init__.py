"""A run: its folder, its loggers, and its configuration resolved and trained."""

from camtrain.runs.config_resolver import NOT_OF_TRAINING, ConfigResolver
from camtrain.runs.first_process import is_first_process
from camtrain.runs.fit import fit
from camtrain.runs.run_settings import RunSettings
from camtrain.runs.stopped import TrainingStoppedError
from camtrain.runs.training_cli import TrainingCLI
from camtrain.runs.training_end import TrainingEnd, training_end
from camtrain.runs.training_progress import PROGRESS_FILE, TrainingProgress

__all__ = [
    "NOT_OF_TRAINING",
    "PROGRESS_FILE",
    "ConfigResolver",
    "RunSettings",
    "TrainingCLI",
    "TrainingEnd",
    "TrainingProgress",
    "TrainingStoppedError",
    "fit",
    "is_first_process",
    "training_end",
]
