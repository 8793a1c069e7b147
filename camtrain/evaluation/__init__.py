"""Scores of maps: the maps of several methods are made, images are changed by them, and the network runs again."""

from camtrain.evaluation.annotated_boxes import annotated_boxes, annotation_of
from camtrain.evaluation.bootstrap import (
    ConfidenceInterval,
    combined_interval,
    resampling_weights,
    score_interval,
)
from camtrain.evaluation.class_probabilities import ClassProbabilities
from camtrain.evaluation.comparison import Comparison
from camtrain.evaluation.evaluate import PreparedEvaluation, compare, evaluate
from camtrain.evaluation.evaluation import BeyondControl, Evaluation
from camtrain.evaluation.evaluation_folder import OtherEvaluationError, evaluation_files
from camtrain.evaluation.evaluation_plan import EvaluationPlan
from camtrain.evaluation.evaluation_settings import ClassOf, EvaluationSettings
from camtrain.evaluation.evaluator import NETWORK, Evaluated, Evaluator, Rows, what_is_missing
from camtrain.evaluation.gallery import Gallery, name_in, outline_in, read_gallery
from camtrain.evaluation.image_source import NoImagesError, validates_on_test_images
from camtrain.evaluation.metric_specs import METRICS, MetricSpec, metric_names
from camtrain.evaluation.need import ComparisonNeed, GradientNeed, MapNeed, Need, ProbabilityNeed
from camtrain.evaluation.score import Score, ScoreTable
from camtrain.evaluation.score_map_files import read_score_map, write_score_map
from camtrain.evaluation.score_maps import score_maps

__all__ = [
    "METRICS",
    "NETWORK",
    "BeyondControl",
    "ClassOf",
    "ClassProbabilities",
    "Comparison",
    "ComparisonNeed",
    "ConfidenceInterval",
    "Evaluated",
    "Evaluation",
    "EvaluationPlan",
    "EvaluationSettings",
    "Evaluator",
    "Gallery",
    "GradientNeed",
    "MapNeed",
    "MetricSpec",
    "Need",
    "NoImagesError",
    "OtherEvaluationError",
    "PreparedEvaluation",
    "ProbabilityNeed",
    "Rows",
    "Score",
    "ScoreTable",
    "annotated_boxes",
    "annotation_of",
    "combined_interval",
    "compare",
    "evaluate",
    "evaluation_files",
    "metric_names",
    "name_in",
    "outline_in",
    "read_gallery",
    "read_score_map",
    "resampling_weights",
    "score_interval",
    "score_maps",
    "validates_on_test_images",
    "what_is_missing",
    "write_score_map",
]
