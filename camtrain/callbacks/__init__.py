"""Lightning callbacks: panels and scores of maps, step cost, the final table, predictions, resuming, head refits."""

from camtrain.callbacks.best_checkpoint import BestCheckpoint
from camtrain.callbacks.cam_logger import CAMLogger
from camtrain.callbacks.cut_mix import CutMix
from camtrain.callbacks.data_summary import DataSummary
from camtrain.callbacks.faithfulness_scores import FaithfulnessScores
from camtrain.callbacks.frozen_backbone import FrozenBackbone
from camtrain.callbacks.head_refitter import HeadRefitter
from camtrain.callbacks.image_table import ImageTable
from camtrain.callbacks.localization_scores import LocalizationScores
from camtrain.callbacks.lost_checkpoints import LostCheckpoints
from camtrain.callbacks.mix_up import MixUp
from camtrain.callbacks.moved_checkpoints import MovedCheckpoints
from camtrain.callbacks.prediction_writer import PredictionWriter
from camtrain.callbacks.score_reporter import ScoreReporter
from camtrain.callbacks.step_cost import StepCost
from camtrain.callbacks.training_randomness import TrainingRandomness

__all__ = [
    "BestCheckpoint",
    "CAMLogger",
    "CutMix",
    "DataSummary",
    "FaithfulnessScores",
    "FrozenBackbone",
    "HeadRefitter",
    "ImageTable",
    "LocalizationScores",
    "LostCheckpoints",
    "MixUp",
    "MovedCheckpoints",
    "PredictionWriter",
    "ScoreReporter",
    "StepCost",
    "TrainingRandomness",
]
