"""The scores of each image as a table: `images.csv`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import torch

from camtrain.evaluation.evaluated_images import EvaluatedImages
from camtrain.evaluation.evaluator import NETWORK, Evaluator
from camtrain.evaluation.metric_specs import METRICS
from camtrain.files import spreadsheet_cell
from camtrain.pictures import class_name

_ABOUT = (
    "index",
    "path",
    "label",
    "label_name",
    "predicted",
    "predicted_name",
    "explained",
    "explained_name",
    "probability",
)


def image_table(
    evaluator: Evaluator, found: EvaluatedImages, paths: Sequence[str], class_names: Sequence[str] | None
) -> str:
    """A line for each image and method or control, with its score by every metric, as CSV.

    Args:
        evaluator: The evaluator, which knows the methods and metrics.
        found: The evaluated images.
        paths: The file of each image; empty where it is not known.
        class_names: The names of all classes, or `None`, which leaves their cells empty.

    If images may show several classes, the label is a list of those that the image shows, separated by semicolons, and
    the predicted class the most probable one.
    """
    of_maps = [name for name in evaluator.metrics if not METRICS[name].of_network]
    of_network = [name for name in evaluator.metrics if METRICS[name].of_network]
    scores = {pair: evaluator.metric(pair[1]).image_scores(found.rows[pair]) for pair in evaluator.pairs}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_ABOUT, "method", *of_maps, *of_network])
    uncounted = torch.full((len(found.indices),), torch.nan)
    for method in evaluator.all_maps:
        pairs = [*((method, name) for name in of_maps), *((NETWORK, name) for name in of_network)]
        for row, index in enumerate(found.indices):
            about = [index, spreadsheet_cell(paths[row]), *_classes(found, row, class_names)]
            numbers = [float(scores.get(pair, uncounted)[row]) for pair in pairs]
            shown = ["" if math.isnan(number) else f"{number:.6g}" for number in numbers]
            writer.writerow([*about, method, *shown])
    return text.getvalue()


def _classes(found: EvaluatedImages, row: int, class_names: Sequence[str] | None) -> list[Any]:
    """Number and name of the label, the predicted and the explained class of an image, and the last one's probability.

    Empty where there is no label, or no answer.
    """
    predicted = int(found.predictions[row])
    if found.shown is None:
        label = _named(int(found.labels[row]), class_names)
    else:
        label = _all_named(found.shown[row].nonzero().flatten().tolist(), class_names)
    if predicted < 0:
        return [*label, "", "", "", "", ""]
    explained, probability = int(found.class_idx[row]), f"{float(found.scores[row]):.6g}"
    if math.isnan(float(found.scores[row])):  # it shows no class that could be explained
        return [*label, *_named(predicted, class_names), "", "", ""]
    return [*label, *_named(predicted, class_names), *_named(explained, class_names), probability]


def _all_named(indices: Sequence[int], class_names: Sequence[str] | None) -> list[Any]:
    numbers = ";".join(map(str, indices))
    if class_names is None:
        return [numbers, ""]
    return [numbers, spreadsheet_cell(";".join(class_name(class_names, index) for index in indices))]


def _named(index: int, class_names: Sequence[str] | None) -> list[Any]:
    if index < 0:
        return ["", ""]
    return [index, "" if class_names is None else spreadsheet_cell(class_name(class_names, index))]
