"""L = L_C + λ L_R of one batch."""

from camtrain.objective.classification_losses import LossName
from camtrain.objective.objective import Objective
from camtrain.objective.step import Step, TermStep

__all__ = ["LossName", "Objective", "Step", "TermStep"]
