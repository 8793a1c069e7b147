"""Scores of maps that are read from files, whatever code has made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camtrain.batch import Batch
from camtrain.cams import resize
from camtrain.evaluation.bootstrap import resampling_weights, score_interval
from camtrain.evaluation.evaluation_plan import EvaluationPlan, Split
from camtrain.evaluation.evaluation_settings import EvaluationSettings
from camtrain.evaluation.image_source import image_source
from camtrain.evaluation.measured import ExplainedBatch, Measured
from camtrain.evaluation.metric_specs import METRICS, metric_names, named_metrics
from camtrain.evaluation.score import Score, ScoreTable
from camtrain.evaluation.score_map_files import read_score_map
from camtrain.files import local_folder
from camtrain.label_scores import class_indices
from camtrain.metrics import AdditiveScore, LocalizationAccuracy


def score_maps(
    maps: str | Path,
    data: Any,
    metrics: str | Sequence[str] = "localization",
    *,
    split: Split = "test",
    num_images: int | None = None,
    settings: EvaluationSettings | None = None,
    batch_size: int = 16,
    num_resamples: int = 1000,
) -> ScoreTable:
    """Score maps in `.npy` files by the annotation of the images, with bootstrap intervals. No network is run.

    The maps are scored as they are in the files. Those that `evaluate` writes go from 0 to 1, since the minimum of each
    is subtracted, while `evaluate` itself scores energy by the maps as a method makes them: so `energy_pointing_game`
    and `energy_beyond_area` of its files are other numbers where the minimum of a map is not 0.

    Args:
        maps: The folder of the maps: `<path of the image>.npy`, each (H, W) in [0, 1] (see `read_score_map`). A map
            of another size than the image in its batch is interpolated.
        data: The images, as `evaluate` takes them. The path of an image is that below the folder of all images; images
            that are no files have numbers, `000000.npy`.
        metrics: Names of metrics of localization that need no prediction, or `localization`, which is all of them.
        split: The images of a data module that are meant.
        num_images: The number of images, evenly spaced over the data set; the default is all.
        settings: The choices that change the numbers. `class_of` is not asked for: the maps are what they are.
        batch_size: The number of images that are read together.
        num_resamples: The number of bootstrap resamples behind the 95 % intervals.

    Returns:
        The scores; the name of the method is that of the folder.

    Raises:
        FileNotFoundError: If there is no map of an image.
        TypeError: If `settings` are no `EvaluationSettings`, or a number is no integer.
        ValueError: If a metric needs more than maps and annotation, a map cannot be read, or an argument is out of its
            range.

    Example:
        >>> import tempfile
        >>> from camtrain.evaluation.score_map_files import write_score_map
        >>> folder, batch = tempfile.mkdtemp(), Batch(torch.zeros(1, 3, 8, 8), masks=torch.eye(8).bool().unsqueeze(0))
        >>> _ = write_score_map(folder, "000000", torch.eye(8))
        >>> score_maps(folder, [batch], "pixel_average_precision")[0].value
        1.0
    """
    where = local_folder(maps, "maps")
    if not where.is_dir():
        raise FileNotFoundError(f"`maps`: expected the folder {where}, which does not exist")
    # It checks these as those of `evaluate`.
    plan = EvaluationPlan(
        split=split,
        num_images=num_images,
        settings=EvaluationSettings() if settings is None else settings,
        batch_size=batch_size,
        num_resamples=num_resamples,
    )
    images = image_source(data, plan.split, plan.num_images, plan.batch_size)
    chosen = replace(plan.settings, class_of="label")
    if chosen.num_classes is None:
        # A single class is the question of a single logit, which has two answers.
        chosen = replace(chosen, num_classes=2 if images.num_classes == 1 else images.num_classes)
    used = _metrics(metrics, chosen)
    rows: dict[str, list[Tensor]] = {name: [] for name in used}
    for part in images.parts():
        batch, names = part.read(), images.image_ids(part.indices)
        size = (int(batch.images.shape[-2]), int(batch.images.shape[-1]))
        cams = torch.stack([_at_size(read_score_map(where, name), size) for name in names])
        measured = _measured(batch, cams, chosen)
        for name, metric in used.items():
            rows[name].append(metric.rows(*METRICS[name].arguments(measured)).double())
    if not next(iter(rows.values())):
        raise ValueError("`data`: there are no images")
    scores = []
    for name, metric in used.items():
        of_all = torch.cat(rows[name])
        weights = resampling_weights(len(of_all), num_resamples, chosen.seed)
        counted = int(metric.image_scores(of_all).isfinite().sum())
        interval = score_interval(metric, of_all, weights)
        scores.append(Score(where.name, name, interval, counted, bool(metric.higher_is_better)))
    return ScoreTable(f"maps in {where}", scores)


def _metrics(names: str | Sequence[str], settings: EvaluationSettings) -> dict[str, AdditiveScore]:
    """The metrics that need nothing but maps and annotation."""
    made = {name: METRICS[name].make(settings) for name in metric_names(names, "label")}
    usable = {name: metric for name, metric in made.items() if _needs_maps_alone(name, metric)}
    # A group stands for those of its metrics that can be used; a name is meant.
    wrong = [name for name in (named_metrics(names) if usable else made) if name not in usable]
    if wrong or not usable:
        known = [name for name in METRICS if _needs_maps_alone(name, METRICS[name].make(settings))]
        raise ValueError(
            f"`metrics`: expected metrics of maps and annotation alone ({', '.join(known)}), got "
            f"{', '.join(wrong) or 'none'}"
        )
    return usable


def _needs_maps_alone(name: str, metric: AdditiveScore) -> bool:
    asks_for_prediction = isinstance(metric, LocalizationAccuracy) and metric.top_k is not None
    return METRICS[name].truth is not None and not METRICS[name].needs and not asks_for_prediction


def _at_size(cam: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(cam.shape) == size:
        return cam
    return resize(cam.unsqueeze(0), size)[0].clamp(0, 1)


def _measured(batch: Batch, cams: Tensor, settings: EvaluationSettings) -> Measured:
    """The maps of a batch, as metrics take them."""
    count = len(batch)
    # Without labels, every image counts as one of class 0, as for a map of a class that is known to whoever made it.
    labels = torch.zeros(count, dtype=torch.int64) if batch.labels is None else batch.labels
    usable = torch.ones(count, dtype=torch.bool)
    explained = ExplainedBatch(
        replace(batch, labels=labels), nn.Identity(), settings, torch.ones(count, 1), class_indices(labels), usable
    )
    return Measured(batch=explained, usable=usable, raw_cams=cams, is_normalized=True)
