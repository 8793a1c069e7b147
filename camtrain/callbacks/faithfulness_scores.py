"""How faithful the network's maps are to it, epoch by epoch."""

from __future__ import annotations

from typing import Literal

from camtrain.callbacks.map_scores import MapScores

_METRICS = ("average_drop", "average_increase", "average_gain", "insertion_auc", "deletion_auc")


class FaithfulnessScores(MapScores):
    """Scores how faithful maps are, on a fixed set of images: what the network says where only the map's part is left.

    It logs `<stage>/<metric>/<method>`, as `MapScores` has it: average drop, increase and gain, insertion and deletion.

    Args:
        methods: Names of methods, such as grad_cam or layer_cam.
        metrics: Names of scores, or of groups of them, as `camtrain evaluate` takes them.
        num_images: Score so many images, evenly spaced over the data set of the stage and the same in every epoch; 0
            scores none, null all of them.
        every_n_epochs: In fit, score in the first validation, then when so many epochs have passed, and in the last
            one.
        target_layer: Dotted name of the layer of the maps; null finds the last one with pixels.
        class_of: Whose map is scored, and whose probability: that of the predicted class, as these scores are defined,
            or that of the label.
        num_steps: Of insertion and deletion; RISE takes as many as an image is high.
        max_batch: Most images in one pass; it bounds the memory.

    Raises:
        ValueError: if a name is unknown, or a number too small.

    Cost:
        For each image and method a map and 2 `num_steps` forward passes, in batches of `max_batch`.
    """

    def __init__(
        self,
        methods: list[str] | None = None,
        metrics: list[str] | None = None,
        num_images: int | None = 64,
        every_n_epochs: int = 1,
        target_layer: str | None = None,
        class_of: Literal["prediction", "label"] = "prediction",
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
