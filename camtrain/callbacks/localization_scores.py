"""How well the network's maps find the annotated objects, epoch by epoch."""

from __future__ import annotations

from typing import Literal

import torch
from pytorch_lightning import LightningModule, Trainer

from camtrain.batch import Batch
from camtrain.callbacks.map_scores import MapScores
from camtrain.evaluation import annotated_boxes
from camtrain.metrics import AdditiveScore, EnergyPointingGame, LocalizationIoU, regions

_METRICS = ("energy_pointing_game", "localization_iou_25")


class LocalizationScores(MapScores):
    """Scores maps against the annotated objects.

    It logs `<stage>/<metric>/<method>`, as `MapScores` has it, and beside it

    - `<stage>/energy_pointing_game/uniform`: what a uniform map would get, that is the share of the image that the
      object covers;
    - `<stage>/flat_maps/<method>`: the share of maps that are the same everywhere, which have nothing above a
      threshold.

    Several boxes of an image count as their union. Images without annotation are not counted, and it says how many;
    where no image has any, it says once that it is idle.

    Args:
        methods: Names of methods, such as grad_cam or layer_cam.
        metrics: Names of scores, or of groups of them, as `camtrain evaluate` takes them.
        num_images: Score so many images, evenly spaced over the data set of the stage and the same in every epoch; 0
            scores none, null all of them, as their batches come by.
        every_n_epochs: In fit, score in the first validation, then when so many epochs have passed, and in the last
            one.
        target_layer: Dotted name of the layer of the maps; null finds the last one with pixels.
        class_of: Whose map is scored: that of the label, or that of the predicted class. Where labels are unknown it is
            the prediction's.
        annotation: What maps are compared with: boxes or masks. An image without boxes has the tight one around its
            mask.
        max_batch: Most images in one pass; it bounds the memory.

    Raises:
        ValueError: if a name is unknown, or a number too small.

    Cost:
        For each annotated image one forward pass, and the map of each method.
    """

    def __init__(
        self,
        methods: list[str] | None = None,
        metrics: list[str] | None = None,
        num_images: int | None = None,
        every_n_epochs: int = 1,
        target_layer: str | None = None,
        class_of: Literal["prediction", "label"] = "label",
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
        """The annotated images; the others are counted."""
        annotation = annotated_boxes(batch) if self.settings.annotation == "boxes" else batch.masks
        size = (int(batch.images.shape[2]), int(batch.images.shape[3]))
        known = torch.zeros(len(batch), dtype=torch.bool)
        if annotation is not None:
            known = regions(annotation, size).flatten(1).any(dim=1).cpu()
        self._without += int((~known).sum())
        return batch if bool(known.all()) else batch.subset(known.nonzero().flatten().tolist())

    def further_scores(self, metrics: dict[tuple[str, str], AdditiveScore]) -> dict[str, float]:
        """The baseline of the energy, and the share of flat maps."""
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
