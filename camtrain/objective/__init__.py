"""L = L_C + λ L_R of one batch."""

from camtrain.objective.binary_cross_entropy import BinaryCrossEntropy
from camtrain.objective.classification_loss import ClassificationLoss
from camtrain.objective.classification_losses import LossFunction, LossName
from camtrain.objective.cross_entropy import CrossEntropy
from camtrain.objective.focal_loss import FocalLoss
from camtrain.objective.objective import Objective
from camtrain.objective.step import Step, TermStep

__all__ = [
    "BinaryCrossEntropy",
    "ClassificationLoss",
    "CrossEntropy",
    "FocalLoss",
    "LossFunction",
    "LossName",
    "Objective",
    "Step",
    "TermStep",
]
