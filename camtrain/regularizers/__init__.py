"""The regularizers, L_R, and the base classes for one of your own."""

from camtrain.regularizers.annotated_regions import AnnotationKind, annotated_regions
from camtrain.regularizers.attention_branch_loss import AttentionBranchLoss
from camtrain.regularizers.attention_mining import AttentionMining
from camtrain.regularizers.cam_regularizer import CAMRegularizer
from camtrain.regularizers.energy_inside import EnergyInside
from camtrain.regularizers.expected_gradients_prior import ExpectedGradientsPrior
from camtrain.regularizers.gradient_norm import GradientNorm
from camtrain.regularizers.gradient_smoothness import GradientSmoothness
from camtrain.regularizers.input_gradient_regularizer import ExplainedScalar, InputGradientRegularizer
from camtrain.regularizers.interpretable_gradient import InterpretableGradient
from camtrain.regularizers.map_bce import MapBCE
from camtrain.regularizers.map_consistency import MapConsistency
from camtrain.regularizers.map_distillation import MapDistillation
from camtrain.regularizers.map_faithfulness import MapFaithfulness
from camtrain.regularizers.map_l1 import MapL1
from camtrain.regularizers.map_outside import MapOutside
from camtrain.regularizers.map_ranking import MapRanking
from camtrain.regularizers.map_regularizer import ClassOf, MapRegularizer
from camtrain.regularizers.map_smoothness import MapSmoothness
from camtrain.regularizers.map_sparsity import MapSparsity
from camtrain.regularizers.pass_regularizer import PassRegularizer, TrainingPass
from camtrain.regularizers.regularizer import Penalty, Regularizer
from camtrain.regularizers.right_for_better_reasons import RightForBetterReasons
from camtrain.regularizers.right_for_right_reasons import RightForRightReasons
from camtrain.regularizers.saliency_guided import SaliencyGuided
from camtrain.regularizers.soft_insertion_deletion import SoftInsertionDeletion
from camtrain.regularizers.sum import Sum, Term

__all__ = [
    "AnnotationKind",
    "AttentionBranchLoss",
    "AttentionMining",
    "CAMRegularizer",
    "ClassOf",
    "EnergyInside",
    "ExpectedGradientsPrior",
    "ExplainedScalar",
    "GradientNorm",
    "GradientSmoothness",
    "InputGradientRegularizer",
    "InterpretableGradient",
    "MapBCE",
    "MapConsistency",
    "MapDistillation",
    "MapFaithfulness",
    "MapL1",
    "MapOutside",
    "MapRanking",
    "MapRegularizer",
    "MapSmoothness",
    "MapSparsity",
    "PassRegularizer",
    "Penalty",
    "Regularizer",
    "RightForBetterReasons",
    "RightForRightReasons",
    "SaliencyGuided",
    "SoftInsertionDeletion",
    "Sum",
    "Term",
    "TrainingPass",
    "annotated_regions",
]
