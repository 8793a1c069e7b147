"""Scores the faithfulness of maps to the network, epoch by epoch."""

from __future__ import annotations

from camtrain.callbacks.map_scores import MapScores
from camtrain.evaluation import ClassOf

_METRICS = ("average_drop", "average_increase", "average_gain", "insertion_auc", "deletion_auc", "map_leakage")


class FaithfulnessScores(MapScores):
    """Scores the faithfulness of maps on fixed images: how the class probability changes when pixels are hidden.

    By default the metrics are average drop, increase and gain, insertion and deletion, and leakage, which tells whether
    the others gain because the network reads the class from the shape of its map. Each score is logged as
    `<stage>/<metric>/<method>`.

    Args:
        methods: Names of methods, such as grad_cam or layer_cam, or of controls (uniform, center, random,
            shuffled_grad_cam); null is grad_cam.
        metrics: Names of metrics, or of groups of metrics, as `camtrain evaluate` takes them.
        num_images: The number of images to score, evenly spaced over the data set of the stage and the same in every
            epoch; 0 scores none, null all of them.
        every_n_epochs: In fit, maps are scored in the first validation, then every this many epochs, and in the last
            validation, unless something other than `max_epochs` or `max_steps` ends the training.
        target_layer: Dotted name of the layer of the maps; null finds the last spatial layer.
        class_of: The class whose map and probability are scored: the predicted class, as in the papers of these
            metrics, or the label. If images show several classes, `label` is one of them, and `every_label` takes the
            map of each of them, with equal weights.
        num_steps: The number of steps of insertion and deletion; RISE takes one per row of the image.
        max_batch: The largest number of images in one forward pass; bounds the memory.

    Raises:
        ValueError: If a name is unknown or a number is too small.

    Cost:
        For each image and method, one map, 2 `num_steps` forward passes and two for leakage, in batches of `max_batch`;
        for each image one more for leakage.
    """

    def __init__(
        self,
        methods: list[str] | None = None,
        metrics: list[str] | None = None,
        num_images: int | None = 64,
        every_n_epochs: int = 1,
        target_layer: str | None = None,
        class_of: ClassOf = "prediction",
        num_steps: int = 28,
        max_batch: int = 64,
    ) -> None:
        super().__init__(
            ["grad_cam"] if methods is None else methods,
            list(_METRICS) if metrics is None else metrics,
            num_images,
            every_n_epochs,
            target_layer,
            class_of,
            "boxes",
            num_steps,
            max_batch,
        )
