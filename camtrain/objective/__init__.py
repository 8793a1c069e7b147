"""L = L_C + λ L_R of one batch."""

from camtrain.objective.objective import Objective
from camtrain.objective.step import Step, TermStep

__all__ = ["Objective", "Step", "TermStep"]
