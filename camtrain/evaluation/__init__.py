"""Maps made, images changed by them and run again, and the scores that come of it."""

from camtrain.evaluation.annotated_boxes import annotated_boxes
from camtrain.evaluation.bootstrap import Interval, difference_interval, resampling_weights, score_interval
from camtrain.evaluation.class_probabilities import ClassProbabilities
from camtrain.evaluation.criteria import CRITERIA, Criterion, criteria_named
from camtrain.evaluation.evaluation_settings import EvaluationSettings
from camtrain.evaluation.evaluator import NETWORK, Evaluated, Evaluator, Rows, what_is_missing

__all__ = [
    "CRITERIA",
    "NETWORK",
    "ClassProbabilities",
    "Criterion",
    "Evaluated",
    "EvaluationSettings",
    "Evaluator",
    "Interval",
    "Rows",
    "annotated_boxes",
    "criteria_named",
    "difference_interval",
    "resampling_weights",
    "score_interval",
    "what_is_missing",
]
