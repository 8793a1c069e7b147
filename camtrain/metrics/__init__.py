"""Metrics of maps: torchmetrics classes, and the pure functions that they average."""

from camtrain.metrics.adcc import ADCC, adcc, coherency, complexity
from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.area_under_curve import area_under_curve
from camtrain.metrics.average_drop import AverageDrop, drop
from camtrain.metrics.average_gain import AverageGain, gain
from camtrain.metrics.average_increase import AverageIncrease, increase
from camtrain.metrics.class_sensitivity import ClassSensitivity, class_sensitivity
from camtrain.metrics.deletion_auc import DeletionAUC
from camtrain.metrics.energy_beyond_area import EnergyBeyondArea
from camtrain.metrics.energy_pointing_game import EnergyPointingGame, energy_in_region
from camtrain.metrics.gradient_noise import GradientNoise, gradient_noise
from camtrain.metrics.guided_agreement import GuidedAgreement, guided_agreement
from camtrain.metrics.insertion_auc import InsertionAUC
from camtrain.metrics.localization_accuracy import LocalizationAccuracy, is_in_top
from camtrain.metrics.localization_iou import LocalizationIoU, localization_iou
from camtrain.metrics.map_leakage import MapLeakage, map_leakage
from camtrain.metrics.map_similarity import map_similarity
from camtrain.metrics.max_box_accuracy import MaxBoxAccuracy, box_ious
from camtrain.metrics.mean_score import MeanScore
from camtrain.metrics.normalized_auc import NormalizedDeletionAUC, NormalizedInsertionAUC
from camtrain.metrics.parameter_randomization import ParameterRandomization
from camtrain.metrics.pixel_average_precision import PixelAveragePrecision
from camtrain.metrics.pointing_game import PointingGame, pointing_hits
from camtrain.metrics.region_score import RegionScore
from camtrain.metrics.road import ROAD, road
from camtrain.metrics.win import Win, WinShare, wins
from camtrain.regions import Annotation, box_regions, regions

__all__ = [
    "ADCC",
    "ROAD",
    "AdditiveScore",
    "Annotation",
    "AverageDrop",
    "AverageGain",
    "AverageIncrease",
    "ClassSensitivity",
    "DeletionAUC",
    "EnergyBeyondArea",
    "EnergyPointingGame",
    "GradientNoise",
    "GuidedAgreement",
    "InsertionAUC",
    "LocalizationAccuracy",
    "LocalizationIoU",
    "MapLeakage",
    "MaxBoxAccuracy",
    "MeanScore",
    "NormalizedDeletionAUC",
    "NormalizedInsertionAUC",
    "ParameterRandomization",
    "PixelAveragePrecision",
    "PointingGame",
    "RegionScore",
    "Win",
    "WinShare",
    "adcc",
    "area_under_curve",
    "box_ious",
    "box_regions",
    "class_sensitivity",
    "coherency",
    "complexity",
    "drop",
    "energy_in_region",
    "gain",
    "gradient_noise",
    "guided_agreement",
    "increase",
    "is_in_top",
    "localization_iou",
    "map_leakage",
    "map_similarity",
    "pointing_hits",
    "regions",
    "road",
    "wins",
]
