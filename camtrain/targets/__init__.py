"""What methods explain in place of a class: numbers of each image from any output of a network."""

from camtrain.gradients import Target
from camtrain.targets.detection_score import DetectionScore
from camtrain.targets.each_image import EachImage
from camtrain.targets.output_part import OutputPart
from camtrain.targets.segmentation_score import SegmentationScore
from camtrain.targets.similarity import Similarity
from camtrain.targets.softmax_score import SoftmaxScore

__all__ = [
    "DetectionScore",
    "EachImage",
    "OutputPart",
    "SegmentationScore",
    "Similarity",
    "SoftmaxScore",
    "Target",
]
