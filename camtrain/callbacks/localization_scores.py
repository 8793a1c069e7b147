"""How well the network's maps find the annotated objects, epoch by epoch."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from camtrain.batch import Batch
from camtrain.callbacks.network_of import network_of, why_no_layer
from camtrain.cams import GradCAM, normalize, resize
from camtrain.gradients import evaluation_mode, gradients_enabled
from camtrain.metrics import EnergyPointingGame, LocalizationIoU, regions


class LocalizationScores(Callback):
    """Scores Grad-CAM against the annotated objects in fit's validation, validate, test and predict.

    It logs, as fractions in [0, 1], with `<stage>` one of val, test and predict:

    - `<stage>/energy_pointing_game/grad_cam`: the share of the map's energy on the object, of the resized map;
    - `<stage>/energy_pointing_game/uniform`: what a uniform map would get, that is the share of the image that the
      object covers;
    - `<stage>/localization_iou/grad_cam`: intersection over union of {map > threshold} and the object, of the resized
      map normalized to [0, 1];
    - `<stage>/flat_maps/grad_cam`: the share of maps that are the same everywhere, which have nothing above the
      threshold.

    Several boxes of an image count as their union. Images without annotation are not counted, and it says how many;
    where no image has any, it says once that it is idle. Of several loaders, the images are pooled. Under DDP all
    processes add up, as torchmetrics does. The network is explained in evaluation mode and left as found.

    The latest values of every stage are in `scores`. In predict, where Lightning does not allow `log`, they go
    straight to the loggers.

    Args:
        iou_threshold: Threshold on the normalized map for the intersection over union; Grad-CAM++ uses 0, 0.25 and 0.5.
        target_layer: Dotted name of the layer whose map is scored; by default the last spatial layer.
        class_of: Whose map is scored: that of the label, or that of the predicted class. Where labels are unknown it is
            the prediction's.
        annotation: What the map is compared with: boxes or masks.
        max_images: Score only so many annotated images of each epoch, the first ones; by default all. Under DDP each
            process takes its share.

    Raises:
        ValueError: if the threshold is not in [0, 1), `class_of` or `annotation` is unknown, or `max_images`
            is below 1.
        TypeError: when a stage begins, if the module has no `network`.

    Cost:
        For each annotated image one more forward pass, and a backward pass to the target layer.
    """

    def __init__(
        self,
        iou_threshold: float = 0.25,
        target_layer: str | None = None,
        class_of: Literal["label", "prediction"] = "label",
        annotation: Literal["boxes", "masks"] = "boxes",
        max_images: int | None = None,
    ) -> None:
        if class_of not in ("label", "prediction"):
            raise ValueError(f'`class_of`: expected "label" or "prediction", got {class_of!r}')
        if annotation not in ("boxes", "masks"):
            raise ValueError(f'`annotation`: expected "boxes" or "masks", got {annotation!r}')
        if max_images is not None and max_images < 1:
            raise ValueError(f"`max_images`: expected at least 1, or none for all, got {max_images}")
        LocalizationIoU(iou_threshold)  # raises if it is out of range
        self.iou_threshold = iou_threshold
        self.target_layer = target_layer
        self.class_of = class_of
        self.annotation = annotation
        self.max_images = max_images
        self.scores: dict[str, float] = {}
        self._said: set[str] = set()
        self._cam: GradCAM | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the module and the layer before anything is trained."""
        self._cam = GradCAM(network_of(pl_module), self.target_layer)
        self._has_no_layer: bool | None = None  # not known before there is an image

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let go of the network."""
        self._cam = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._begin(trainer, pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._begin(trainer, pl_module)

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._begin(trainer, pl_module)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Score the maps of the batch."""
        self._update(pl_module, Batch.of(batch))

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Score the maps of the batch."""
        self._update(pl_module, Batch.of(batch))

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Score the maps of the batch."""
        self._update(pl_module, Batch.of(batch))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the scores of the epoch."""
        if not trainer.sanity_checking:
            self._log(pl_module, self._finish("val"))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the scores of the test."""
        self._log(pl_module, self._finish("test"))

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the scores to the loggers."""
        scores = self._finish("predict")
        if scores and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics({**scores, "epoch": trainer.current_epoch})
                logger.save()

    def _begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """New counters: those that were reset under inference mode could not be used outside of it."""
        with torch.inference_mode(False):
            self._energy = EnergyPointingGame().to(pl_module.device)
            self._iou = LocalizationIoU(self.iou_threshold).to(pl_module.device)
        self._wanted = math.inf if self.max_images is None else math.ceil(self.max_images / trainer.world_size)

    def _update(self, pl_module: LightningModule, batch: Batch) -> None:
        if self._has_no_layer is None:
            why = why_no_layer(network_of(pl_module), batch.images, self.target_layer)
            self._has_no_layer = bool(why)
            if why:
                self._say_once("no layer", f"it is idle. {why}", warn=True)
        if self._has_no_layer:
            return
        size = (int(batch.images.shape[2]), int(batch.images.shape[3]))
        annotation = batch.boxes if self.annotation == "boxes" else batch.masks
        none: Tensor = torch.zeros(len(batch), *size, dtype=torch.bool, device=batch.images.device)
        truth = none if annotation is None else regions(annotation, size)
        known = truth.flatten(1).any(dim=1)
        chosen = known & (known.cumsum(dim=0) <= self._wanted)
        self._wanted -= int(chosen.sum())
        counted = chosen | ~known
        cams = torch.zeros(truth.shape, device=truth.device)
        if bool(chosen.any()):
            cams[chosen] = resize(self._cams(pl_module, batch, chosen), size)
        self._energy.update(cams[counted], truth[counted])
        self._iou.update(normalize(cams[counted]), truth[counted])

    def _cams(self, pl_module: LightningModule, batch: Batch, chosen: Tensor) -> Tensor:
        assert self._cam is not None
        with gradients_enabled(), evaluation_mode(self._cam.network):
            # What came out of an inference-mode loop cannot enter a graph; a copy made in here can.
            images = batch.images[chosen].clone()
            return self._cam(images, self._classes(batch, chosen)).float()

    def _classes(self, batch: Batch, chosen: Tensor) -> Tensor | None:
        if self.class_of == "prediction":
            return None
        if batch.labels is None:
            self._say_once("no labels", "the labels are unknown: maps of the predicted classes are scored.", warn=True)
            return None
        return batch.labels[chosen].clone()

    def _finish(self, stage: str) -> dict[str, float]:
        """The scores of the epoch over all processes; none where no image was annotated."""
        with self._energy.sync_context(), self._iou.sync_context():
            counted, without = int(self._energy.counted), int(self._energy.without_annotation)
            scores = {
                f"{stage}/energy_pointing_game/grad_cam": float(self._energy.score),
                f"{stage}/energy_pointing_game/uniform": float(self._energy.area),
                f"{stage}/localization_iou/grad_cam": float(self._iou.score),
                f"{stage}/flat_maps/grad_cam": float(self._iou.flat_share),
            }
        if self._has_no_layer:
            return {}
        if counted == 0:
            self._say_once("idle", f"no image has {self.annotation}, so there is nothing to score: it is idle.")
            return {}
        if without:
            self._say_once(
                f"{stage} without", f"{without} images of {stage} have no {self.annotation} and are not counted."
            )
        self.scores.update(scores)
        return scores

    def _log(self, pl_module: LightningModule, scores: dict[str, float]) -> None:
        # All processes hold the same values: their mean over processes changes nothing, but it is what Lightning asks
        # for.
        pl_module.log_dict(scores, on_step=False, on_epoch=True, sync_dist=True, add_dataloader_idx=False, batch_size=1)

    def _say_once(self, what: str, message: str, *, warn: bool = False) -> None:
        if what not in self._said:
            self._said.add(what)
            (rank_zero_warn if warn else rank_zero_info)(f"LocalizationScores: {message}")
