"""Maps made, images changed by them and run again, and the scores that come of it."""

from camtrain.evaluation.annotated_boxes import annotated_boxes
from camtrain.evaluation.bootstrap import Interval, difference_interval, resampling_weights, score_interval
from camtrain.evaluation.class_probabilities import ClassProbabilities
from camtrain.evaluation.evaluation_settings import EvaluationSettings
from camtrain.evaluation.evaluator import NETWORK, Evaluated, Evaluator, Rows, what_is_missing
from camtrain.evaluation.metric_specs import METRICS, MetricSpec, metric_names

__all__ = [
    "METRICS",
    "NETWORK",
    "ClassProbabilities",
    "Evaluated",
    "EvaluationSettings",
    "Evaluator",
    "Interval",
    "MetricSpec",
    "Rows",
    "annotated_boxes",
    "difference_interval",
    "metric_names",
    "resampling_weights",
    "score_interval",
    "what_is_missing",
]
