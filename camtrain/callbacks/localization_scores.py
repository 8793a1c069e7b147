"""Scores how well maps find the annotated objects, epoch by epoch."""

from __future__ import annotations

from typing import Literal

import torch
from pytorch_lightning import LightningModule, Trainer

from camtrain.batch import Batch
from camtrain.callbacks.map_scores import MapScores
from camtrain.evaluation import ClassOf, annotated_boxes
from camtrain.metrics import AdditiveScore, EnergyPointingGame, LocalizationIoU, regions

_METRICS = ("energy_pointing_game", "localization_iou_25")


class LocalizationScores(MapScores):
    """Scores how well maps find the annotated objects.

    Each score is logged as `<stage>/<metric>/<method>`. Two further numbers are logged, the first with
    `energy_pointing_game` and the second with IoU:

    - `<stage>/energy_pointing_game/uniform`: the score of a uniform map, which is the fraction of the image that the
      object covers;
    - `<stage>/flat_maps/<method>`: the fraction of maps that are the same everywhere, as a Grad-CAM without a positive
      value is, so that nothing is above a threshold.

    If an image has several boxes, their union counts. Images without annotation are left out, and a message says how
    many they are. If no image has annotation, a message says once that the callback is idle.

    Args:
        methods: Names of methods, such as grad_cam or layer_cam, or of controls (uniform, center, random,
            shuffled_grad_cam); null is grad_cam.
        metrics: Names of metrics, or of groups of metrics, as `camtrain evaluate` takes them.
        num_images: The number of images to score, evenly spaced over the data set of the stage and the same in every
            epoch; 0 scores none, null all of them, during the stage's own batches.
        every_n_epochs: In fit, maps are scored in the first validation, then every this many epochs, and in the last
            validation, unless something other than `max_epochs` or `max_steps` ends the training.
        target_layer: Dotted name of the layer of the maps; null finds the last spatial layer.
        class_of: The class whose map is scored: the label or the predicted class. If labels are unknown, it is the
            predicted class. If images show several classes, `label` is one of them, the same in every epoch, and
            `every_label` takes the map of each of them, with equal weights.
        annotation: Whether maps are compared with boxes or with masks. If an image has a mask and no box, its box is
            the tight one around the mask.
        max_batch: The largest number of images in one forward pass; bounds the memory.

    Raises:
        ValueError: If a name is unknown or a number is too small.

    Cost:
        For each annotated image, one forward pass and the map of each method.
    """

    def __init__(
        self,
        methods: list[str] | None = None,
        metrics: list[str] | None = None,
        num_images: int | None = None,
        every_n_epochs: int = 1,
        target_layer: str | None = None,
        class_of: ClassOf = "label",
        annotation: Literal["boxes", "masks"] = "boxes",
        max_batch: int = 64,
    ) -> None:
        super().__init__(
            ["grad_cam"] if methods is None else methods,
            list(_METRICS) if metrics is None else metrics,
            num_images,
            every_n_epochs,
            target_layer,
            class_of,
            annotation,
            28,
            max_batch,
        )

    def of_interest(self, batch: Batch) -> Batch:
        """The annotated images of a batch; the others are counted."""
        annotation = annotated_boxes(batch) if self.settings.annotation == "boxes" else batch.masks
        size = (int(batch.images.shape[2]), int(batch.images.shape[3]))
        known = torch.zeros(len(batch), dtype=torch.bool)
        if annotation is not None:
            known = regions(annotation, size).flatten(1).any(dim=1).cpu()
        self._without += int((~known).sum())
        return batch if bool(known.all()) else batch.subset(known.nonzero().flatten().tolist())

    def further_scores(self, metrics: dict[tuple[str, str], AdditiveScore]) -> dict[str, float]:
        """The score of a uniform map, and the fraction of flat maps."""
        further = {}
        for (method, _), metric in metrics.items():
            if isinstance(metric, EnergyPointingGame):
                further["energy_pointing_game/uniform"] = float(metric.area)
            if isinstance(metric, LocalizationIoU):
                further[f"flat_maps/{method}"] = float(metric.flat_share)
        return further

    def _begin(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._without = 0
        super()._begin(trainer, pl_module, stage)

    def _finish(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> dict[str, float]:
        found = super()._finish(trainer, pl_module, stage)
        without = int(trainer.strategy.reduce(torch.tensor(self._without, device=pl_module.device), reduce_op="sum"))
        kind = self.settings.annotation
        if not found and without:
            self.say_once("idle", f"no image has {kind}, so there is nothing to score: it is idle.")
        elif without:
            self.say_once(f"{stage} without", f"{without} images of {stage} have no {kind} and are not counted.")
        return found
