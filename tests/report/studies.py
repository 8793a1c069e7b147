"""Studies with made up scores, on disk."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np

from camtrain.evaluation import EvaluationPlan
from camtrain.study import VALIDATED, Axis, Study, StudyPlan, Trial

WEIGHT = "model.regularizer_weight"
TWO_METRICS = EvaluationPlan(metrics="average_drop,insertion_auc")


def made_up(folder, rows, *, more_axes=(), evaluation=TWO_METRICS, model=None):
    """A study with a row for each (point, seed, scores); `model` is that of all configurations."""
    keys = list(dict.fromkeys(key for point, _, _ in rows for key in point))
    # Keyed by JSON, since a value may be a mapping.
    values = [{json.dumps(point[key]): point[key] for point, _, _ in rows} for key in keys]
    axes = [Axis(key, tuple(each.values())) for key, each in zip(keys, values, strict=True)]
    seeds = tuple(sorted({seed for _, seed, _ in rows}))
    split = "test" if evaluation is None else evaluation.split
    plan = StudyPlan("made_up", "c.yaml", (*axes, *more_axes), seeds, evaluation, split, "disabled")
    if any(column.startswith(VALIDATED) for _, _, scores in rows for column in scores):
        plan = replace(plan, validation=replace(evaluation, split="val"))
    trials = [Trial(point, seed, {"point": point, "seed": seed, "model": model or {}}) for point, seed, _ in rows]
    study = Study(folder, plan, trials)
    study.write()
    for trial, (_, _, scores) in zip(study.trials, rows, strict=True):
        study.write_row(trial, scores)
    return study


def simple(weight, seed, accuracy, drop, insertion, **more):
    """A row of one method and two metrics."""
    scores = {
        "test/accuracy": accuracy,
        "evaluated/average_drop/grad_cam": drop,
        "evaluated/insertion_auc/grad_cam": insertion,
    }
    return {WEIGHT: weight}, seed, scores | more


def with_pictures(study, methods=("grad_cam",)):
    """Adds curves and a gallery to each trial."""
    for number, trial in enumerate(study.trials):
        folder = study.evaluation_of(trial)
        folder.mkdir(parents=True)
        with (folder / "curves.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["method", "way", "share_of_pixels", "probability"])
            for method in methods:
                for way in ("insertion", "deletion"):
                    writer.writerows([method, way, step / 4, 0.1 * step + 0.01 * number] for step in range(5))
        random = np.random.default_rng(number)
        arrays = {f"cam/{method}": random.integers(0, 256, (2, 8, 8), dtype=np.uint8) for method in methods}
        np.savez_compressed(
            folder / "gallery.npz",
            indices=np.array([1, 4]),
            labels=np.array([0, 2]),
            predictions=np.array([0, 1]),
            probabilities=np.array([0.9, 0.4]),
            pictures=np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8),
            **arrays,
        )
    return study


def unfinished(study, *places):
    """The study without the rows of some of its trials."""
    for place in places:
        (study.folder_of(study.trials[place]) / "row.json").unlink()
    return study


def with_other_gallery(study, place, change):
    """The study with another gallery of a trial.

    Args:
        study: with pictures.
        place: of the trial.
        change: from its arrays by name to those that it has instead.
    """
    path = study.evaluation_of(study.trials[place]) / "gallery.npz"
    with np.load(path) as arrays:
        found = change(dict(arrays))
    np.savez_compressed(path, **found)
    return study
