"""A table of validation images in W&B, which can be sorted and filtered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from camtrain.batch import Batch
from camtrain.callbacks.epoch_panels import wandb_image
from camtrain.callbacks.fixed_images import fixed_images, fixed_indices, is_read_by_index
from camtrain.callbacks.network_of import network_of, why_no_layer
from camtrain.callbacks.wandb_loggers import log_to_wandb, wandb_loggers
from camtrain.class_names import names_in_use
from camtrain.evaluation import METRICS, EvaluationSettings, Evaluator, metric_names
from camtrain.label_scores import classes_of
from camtrain.messages import checked_integer, sample_name
from camtrain.methods import method_named, method_title
from camtrain.pictures import ObjectOutline, Panel, Tile, class_name, denormalized, map_tile
from camtrain.running_loader import running_loader

FAITHFULNESS = ("average_drop", "average_gain", "deletion_auc")
LOCALIZATION = ("energy_pointing_game", "localization_iou_25")


class ImageTable(Callback):
    """Logs a table `val/images` to W&B at the end of fit: a row for each of a few validation images.

    The columns are the image beside its map, with W&B's own box overlays, the file, the true and the predicted class,
    the probability of the latter, whether it is right, and the scores of the map in percent. If images may show several
    classes, the true class is a list of those that the image shows, and the predicted class the most probable one. The
    images are evenly spaced over the validation set. The network is that of the last epoch.

    Without a `WandbLogger`, and for a data set that cannot be read by index, there is no table and no cost.

    Args:
        num_images: The number of images; 0 makes no table.
        method: The name of the method that makes the map, of the predicted class.
        metrics: The names of the scores; null is drop, gain and deletion, and energy and IoU where images have boxes or
            masks.
        target_layer: Dotted name of the layer whose map is shown; null finds the last spatial layer.

    Raises:
        ValueError: If `num_images` is negative or a metric is unknown, or, when fit begins, if there is no such method
            or layer.

    Cost:
        Once in a training, some 35 forward passes for each image with the default scores.
    """

    def __init__(
        self,
        num_images: int = 16,
        method: str = "grad_cam",
        metrics: Sequence[str] | None = None,
        target_layer: str | None = None,
    ) -> None:
        self.num_images = checked_integer("num_images", num_images, at_least=0)
        self.method = method
        self.metrics = None if metrics is None else metric_names(metrics, "prediction")
        self.target_layer = target_layer

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the method and the layer before training starts."""
        if stage == "fit" and self.num_images:
            method_named(self.method, network_of(pl_module), self.target_layer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make and log the table."""
        fast: Any = getattr(trainer, "fast_dev_run", False)
        if self.num_images == 0 or fast or not wandb_loggers(trainer) or not is_read_by_index(trainer, "val"):
            return
        batch = fixed_images(trainer, pl_module, "val", self.num_images)
        network = network_of(pl_module)
        if batch is None or why_no_layer(network, batch.images, self.target_layer):
            return
        columns, panels, cells = self._table(trainer, network, batch)
        class_names = _class_names(trainer)
        named = [label for panel in panels if (label := panel.label) is not None]
        num_classes = len(class_names) if class_names else max(named, default=0) + 1

        def made() -> dict[str, Any]:
            import wandb  # takes a second, so only if a run is logged to W&B

            images = [wandb_image(panel, class_names, num_classes) for panel in panels]
            rows = [[image, *values] for image, values in zip(images, cells, strict=True)]
            return {"val/images": wandb.Table(columns=[*columns], data=rows)}

        log_to_wandb(trainer, made)

    def _table(
        self, trainer: Trainer, network: torch.nn.Module, batch: Batch
    ) -> tuple[list[str], list[Panel], list[list[Any]]]:
        """The names of all columns, and for each image its panel and its cells in the other columns."""
        annotated = batch.boxes is not None or batch.masks is not None
        metrics = self.metrics or [*FAITHFULNESS, *(LOCALIZATION if annotated else ())]
        settings = EvaluationSettings(annotation="any", num_classes=_num_classes(trainer))
        method = method_named(self.method, network, self.target_layer)
        several = bool(getattr(trainer.lightning_module, "several_labels", False))
        evaluator = Evaluator(network, {self.method: method}, metrics, settings, several_labels=several)
        found = evaluator(batch)
        scores = [evaluator.metric(name).image_scores(found.rows[self.method, name]) for name in metrics]
        columns = ["file", "true class", "predicted class", "probability, %", "right"]
        columns += [f"{METRICS[name].title}, %" for name in metrics]
        names = _class_names(trainer)
        loader = running_loader(trainer, "val")
        samples = loader.dataset
        cells: list[list[Any]] = []
        for row, index in enumerate(fixed_indices(loader, len(batch))):
            shown = classes_of(batch.labels, row)
            prediction = int(found.predictions[row])
            values = [found.scores[row], *(each[row] for each in scores)]
            percents = [None if math.isnan(value) else 100 * float(value) for value in values]
            true_class = None if shown is None else ", ".join(class_name(names, label) for label in shown)
            right = None if shown is None else prediction in shown
            said = [sample_name(samples, index), true_class, class_name(names, prediction)]
            cells.append([*said, percents[0], right, *percents[1:]])
        panels = self._panels(trainer, batch, found.cams.get(self.method), [each[0] for each in cells])
        return [f"image and {method_title(self.method)}", *columns], panels, cells

    def _panels(
        self, trainer: Trainer, batch: Batch, cams: torch.Tensor | None, captions: Sequence[str]
    ) -> list[Panel]:
        pictures = denormalized(batch.images, _data(trainer)).float().cpu()
        cams = torch.zeros_like(pictures[:, 0]) if cams is None else cams.cpu()
        title = method_title(self.method)
        panels = []
        for row, caption in enumerate(captions):
            picture = pictures[row]
            outline = ObjectOutline.of(picture, None if batch.boxes is None else batch.boxes[row], None)
            tiles = [Tile("image", picture, outline=outline), map_tile(title, picture, cams[row], outline=outline)]
            shown = classes_of(batch.labels, row)
            # Boxes are those of an image: if it shows several classes, nobody knows of which.
            panels.append(Panel(tiles, shown[0] if shown is not None and len(shown) == 1 else None, caption))
        return panels


def _num_classes(trainer: Trainer) -> int | None:
    count = getattr(_data(trainer), "num_classes", None)
    return None if count is None else max(2, count)  # a single class is the question of a single logit


def _data(trainer: Trainer) -> Any:
    return getattr(trainer, "datamodule", None)


def _class_names(trainer: Trainer) -> list[str] | None:
    return names_in_use(trainer.lightning_module, _data(trainer))
