"""A run: its folder, its loggers, and its configuration resolved and trained."""

from camtrain.runs.config_resolver import NOT_OF_TRAINING, ConfigResolver
from camtrain.runs.fit import TrainingStoppedError, fit
from camtrain.runs.run_settings import RunSettings
from camtrain.runs.training_cli import TrainingCLI

__all__ = ["NOT_OF_TRAINING", "ConfigResolver", "RunSettings", "TrainingCLI", "TrainingStoppedError", "fit"]
