"""Scores of maps: the maps of several methods are made, images are changed by them, and the network runs again."""

from camtrain.evaluation.annotated_boxes import annotated_boxes, annotation_of
from camtrain.evaluation.bootstrap import ConfidenceInterval, difference_interval, resampling_weights, score_interval
from camtrain.evaluation.class_probabilities import ClassProbabilities
from camtrain.evaluation.evaluation_settings import EvaluationSettings
from camtrain.evaluation.evaluator import NETWORK, Evaluated, Evaluator, Rows, what_is_missing
from camtrain.evaluation.metric_specs import METRICS, MetricSpec, metric_names
from camtrain.evaluation.need import ComparisonNeed, GradientNeed, MapNeed, Need, ProbabilityNeed

__all__ = [
    "METRICS",
    "NETWORK",
    "ClassProbabilities",
    "ComparisonNeed",
    "ConfidenceInterval",
    "Evaluated",
    "EvaluationSettings",
    "Evaluator",
    "GradientNeed",
    "MapNeed",
    "MetricSpec",
    "Need",
    "ProbabilityNeed",
    "Rows",
    "annotated_boxes",
    "annotation_of",
    "difference_interval",
    "metric_names",
    "resampling_weights",
    "score_interval",
    "what_is_missing",
]
