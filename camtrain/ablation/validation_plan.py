"""How a study scores maps on the validation images, by which its best point is chosen."""

from __future__ import annotations

from dataclasses import replace

from camtrain.evaluation import EvaluationPlan
from camtrain.messages import checked_integer

NUM_VALIDATION_IMAGES = 128
"""The number of validation images that a study scores by default."""


def validation_plan(evaluation: EvaluationPlan | None, num_images: int | None = None) -> EvaluationPlan | None:
    """The scores of an evaluation on validation images, without what only a report shows.

    Args:
        evaluation: How maps are scored for the report. Only one of test images leaves the choice to others.
        num_images: The number of validation images; 0 scores none. `None` takes `NUM_VALIDATION_IMAGES`, and no more
            than the evaluation takes.

    Returns:
        The plan; `None` if nothing is scored on validation images as well.

    Raises:
        TypeError: If the number is none at all.
        ValueError: If the number is no integer of at least 0, or is given where there is nothing to choose by it.

    Example:
        >>> print(validation_plan(EvaluationPlan(metrics="average_drop", controls="shuffled", num_images=100)))
        grad_cam by average_drop on 100 val images
        >>> validation_plan(EvaluationPlan(metrics="average_drop"), 0) is None
        True
    """
    if num_images is not None:
        num_images = checked_integer("num_validation_images", num_images, at_least=0)
    if num_images == 0:
        return None
    if evaluation is None or evaluation.split == "val":
        if num_images is not None:
            why = "no maps are scored" if evaluation is None else "all scores are of validation images"
            raise ValueError(f"`num_validation_images`: expected none, since {why}, got {num_images}")
        return None
    if num_images is None:
        num_images = min(NUM_VALIDATION_IMAGES, evaluation.num_images or NUM_VALIDATION_IMAGES)
    # Controls are left out of the choice: what is beyond control is reported of test images.
    return replace(evaluation, split="val", num_images=num_images, controls=(), num_panel_maps=0, num_gallery_images=0)
