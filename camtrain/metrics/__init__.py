"""How a map is scored: torchmetrics classes and the pure functions that they use."""

from camtrain.metrics.energy_pointing_game import EnergyPointingGame, energy_in_region
from camtrain.metrics.localization_iou import LocalizationIoU, localization_iou
from camtrain.metrics.region_score import RegionScore
from camtrain.metrics.regions import Annotation, box_regions, regions

__all__ = [
    "Annotation",
    "EnergyPointingGame",
    "LocalizationIoU",
    "RegionScore",
    "box_regions",
    "energy_in_region",
    "localization_iou",
    "regions",
]
