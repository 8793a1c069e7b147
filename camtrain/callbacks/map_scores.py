"""The base of callbacks that score the network's maps in validation, test and prediction."""

from __future__ import annotations

import copy
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn

from camtrain.batch import Batch
from camtrain.callbacks.every_n_epochs import EveryNEpochs
from camtrain.callbacks.fixed_images import fixed_batches, is_read_by_index
from camtrain.callbacks.network_of import network_of
from camtrain.evaluation import NETWORK, ClassOf, EvaluationSettings, Evaluator, metric_names, what_is_missing
from camtrain.messages import checked_integer, positive_integer
from camtrain.methods import method_names, methods_named
from camtrain.metrics import AdditiveScore

_BATCH = 16  # the number of images that are scored together
_FEW = 2  # the number of images in a fast_dev_run


class MapScores(Callback):
    """Scores the maps of chosen methods by chosen metrics; a subclass sets the defaults.

    The network is explained in evaluation mode and left as found. Each score is logged as `<stage>/<metric>/<method>`,
    where `<stage>` is val, test or predict. A score of the network itself, such as `guided_agreement`, is logged as
    `<stage>/<metric>`. The numbers are those of `camtrain evaluate` on the same images with the same `class_of`, but
    leakage and controls also depend on which images are scored together, here 16. The attribute `scores` holds the
    latest ones of every stage. In predict, Lightning does not allow `log`, so they go straight to the loggers.

    Under DDP the processes divide the images among themselves, and torchmetrics adds up their sums.

    Args:
        methods: Names of methods, such as grad_cam or layer_cam, and of controls: uniform, center, random, or
            shuffled_grad_cam, which is another image's Grad-CAM.
        metrics: Names of metrics, or of groups of metrics, as `camtrain evaluate` takes them.
        num_images: The number of images to score, evenly spaced over the data set of the stage and the same in every
            epoch for any sampler; 0 scores none, null all of them, during the stage's own batches. (If these come in
            the order of their classes, leakage is measured over noise alone, and another image's map shows the same
            class. If the data set cannot be read by index, the first images are scored. If there are several loaders,
            null scores the images of all of them, and a number those of the first one.) `fast_dev_run` scores at most
            two.
        every_n_epochs: In fit, maps are scored in the first validation, then every this many epochs, and in the last
            validation, unless something other than `max_epochs` or `max_steps` ends the training.
        target_layer: Dotted name of the layer of the maps; null finds the last spatial layer.
        class_of: The class whose map and probability are scored: the label or the predicted class. If labels are
            unknown, it is the predicted class. If images show several classes, `label` is one of them, the same in
            every epoch, and `every_label` takes the map of each of them, with equal weights.
        annotation: Whether maps are compared with boxes or with masks. If an image has a mask and no box, its box is
            the tight one around the mask.
        num_steps: The number of steps of insertion and deletion.
        max_batch: The largest number of images in one forward pass; bounds the memory.

    Raises:
        ValueError: If a name is unknown or a number is too small, or, when a stage begins, if the network has no layer
            of that name.
        TypeError: When a stage begins, if the module has no `network`.
    """

    def __init__(
        self,
        methods: Sequence[str],
        metrics: Sequence[str],
        num_images: int | None,
        every_n_epochs: int,
        target_layer: str | None,
        class_of: ClassOf,
        annotation: Literal["boxes", "masks"],
        num_steps: int,
        max_batch: int,
    ) -> None:
        self.methods = method_names(methods)
        self.metrics = metric_names(metrics, class_of)
        if num_images is not None:
            checked_integer("num_images", num_images, 0, "an integer of at least 0, or `None` for all")
        self.num_images = num_images
        self.schedule = EveryNEpochs(every_n_epochs)
        self.target_layer = target_layer
        self.settings = EvaluationSettings(class_of=class_of, annotation=annotation, num_steps=num_steps)
        self.max_batch = positive_integer("max_batch", max_batch)
        self.scores: dict[str, float] = {}
        self._said: set[str] = set()
        self._evaluator: Evaluator | None = None

    def of_interest(self, batch: Batch) -> Batch:
        """The images of a batch that are scored: all of them, unless a subclass selects some."""
        return batch

    def further_scores(self, metrics: dict[tuple[str, str], AdditiveScore]) -> dict[str, float]:
        """Further numbers that a subclass logs, by `<quantity>/<method>`, from metrics in sync over all processes."""
        return {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the module and the layer before training starts."""
        network = network_of(pl_module)
        num_classes = getattr(getattr(trainer, "datamodule", None), "num_classes", None)
        # A single class is the question of a single logit, which has two answers.
        settings = replace(self.settings, num_classes=None if num_classes is None else max(2, num_classes))
        options = {"max_batch": self.max_batch, "seed": settings.seed}
        methods = methods_named(self.methods, network, self.target_layer, **options)
        self._evaluator = Evaluator(network, methods, self.metrics, settings, self.max_batch)
        self._check_that_no_other_logs_the_same(trainer)
        if stage == "fit":
            self.schedule.reset()

    def _check_that_no_other_logs_the_same(self, trainer: Trainer) -> None:
        """Lightning would log the mean of both."""
        for other in getattr(trainer, "callbacks", []):
            if other is self:  # those that come later compare themselves with this one
                return
            if isinstance(other, MapScores) and (same := self._logged & other._logged):
                both = f"{type(other).__name__} and {type(self).__name__}"
                raise ValueError(
                    f"`metrics`: expected each score from one callback, got {min(same)} from {both}; give one of them "
                    "other metrics or methods, or num_images=0"
                )

    @property
    def _logged(self) -> set[str]:
        pairs = () if self._evaluator is None or self.num_images == 0 else self._evaluator.pairs
        return {name if method == NETWORK else f"{name}/{method}" for method, name in pairs}

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Release the network."""
        self._evaluator = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a new count."""
        self._begin(trainer, pl_module, "val")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a new count."""
        self._begin(trainer, pl_module, "test")

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a new count."""
        self._begin(trainer, pl_module, "predict")

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Score the maps of the batch, unless the images are read by index."""
        self._pass_by(batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Score the maps of the batch, unless the images are read by index."""
        self._pass_by(batch)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Score the maps of the batch, unless the images are read by index."""
        self._pass_by(batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the scores of the epoch."""
        if not trainer.sanity_checking and self._is_due:
            self._log(pl_module, self._finish(trainer, pl_module, "val"))
            self.schedule.done(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the scores of the test images."""
        if self._is_due:
            self._log(pl_module, self._finish(trainer, pl_module, "test"))

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pass the scores to the loggers."""
        scores = self._finish(trainer, pl_module, "predict") if self._is_due else {}
        if scores and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics({**scores, "epoch": trainer.current_epoch})
                logger.save()

    def _begin(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert self._evaluator is not None
        if getattr(pl_module, "several_labels", False):
            self._evaluator.take_classes_for_independent()
        self._is_due = self.schedule.is_due(trainer) and self.num_images != 0
        self._count = self.num_images
        if self.num_images is not None and getattr(trainer, "fast_dev_run", False):
            self._count = min(self.num_images, _FEW)
        # With several processes, a sampler repeats some images so that all processes have equally many. Images that are
        # read by index count once.
        by_index = self._count is not None or trainer.world_size > 1
        self._by_index = by_index and is_read_by_index(trainer, stage)
        self._wanted = math.inf if self._count is None else math.ceil(self._count / trainer.world_size)
        self._scored = 0
        self._left_out: Counter[str] = Counter()
        # Metrics are made anew: one that was reset in inference mode cannot be used outside of it.
        with torch.inference_mode(False):
            self._metrics = {
                (method, name): copy.deepcopy(self._evaluator.metric(name)).to(pl_module.device)
                for method, name in self._evaluator.pairs
            }

    def _pass_by(self, batch: Any) -> None:
        """Score a batch of the stage itself, unless the images are read by index."""
        if self._is_due and not self._by_index and self._wanted > 0:
            images = Batch.of(batch)
            images = images if len(images) <= self._wanted else images.subset(range(int(self._wanted)))
            self._wanted -= len(images)
            self._update(images)

    def _update(self, batch: Batch) -> None:
        batch = self.of_interest(batch)
        for start in range(0, len(batch), _BATCH):
            part = batch.subset(range(start, min(start + _BATCH, len(batch))))
            found = self._evaluator_for(part)(part)
            self._scored += len(part)
            self._left_out.update({name: int(which.sum()) for name, which in found.left_out.items()})
            for cell, rows in found.rows.items():
                self._metrics[cell].add_rows(rows)

    def _evaluator_for(self, batch: Batch) -> Evaluator:
        assert self._evaluator is not None
        if batch.labels is None and self._evaluator.settings.class_of != "prediction":
            self.say_once("no labels", "the labels are unknown: maps of the predicted classes are scored.", warn=True)
            self._evaluator.settings = replace(self._evaluator.settings, class_of="prediction")
        return self._evaluator

    def _finish(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> dict[str, float]:
        """The scores of the epoch over all processes; empty if no image was counted."""
        if self._by_index:
            for batch in self._fixed(trainer, pl_module, stage):
                self._update(batch)
        with ExitStack() as in_sync:
            for metric in self._metrics.values():
                in_sync.enter_context(metric.sync_context())
            scores = {
                name if method == NETWORK else f"{name}/{method}": float(metric.value(metric.total))
                for (method, name), metric in self._metrics.items()
                if bool(metric.total.any())
            }
            scores |= self.further_scores(self._metrics) if scores else {}
        found = {f"{stage}/{name}": value for name, value in scores.items() if not math.isnan(value)}
        self._say_why(found, trainer.world_size)
        self.scores.update(found)
        return found

    def _say_why(self, found: dict[str, float], world_size: int) -> None:
        """Warn about images that are not counted: how many, and why."""
        assert self._evaluator is not None
        left_out, reasons, scored = _of_all_processes(
            (self._left_out, self._evaluator.reasons, self._scored), world_size
        )
        for name, why in reasons.items():
            missing = what_is_missing(name, f"{left_out[name]} of {scored} images") if found else "it is idle"
            if left_out[name]:
                self.say_once(f"why {name}", f"{missing}. {why}", warn=True)

    def _fixed(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> Iterator[Batch]:
        count = sys.maxsize if self._count is None else self._count
        return fixed_batches(trainer, pl_module, stage, count, _BATCH, shared=True)

    def _log(self, pl_module: LightningModule, scores: dict[str, float]) -> None:
        # All processes hold the same values. Averaging them changes nothing, but Lightning warns without it.
        pl_module.log_dict(scores, on_step=False, on_epoch=True, sync_dist=True, add_dataloader_idx=False, batch_size=1)

    def say_once(self, what: str, message: str, *, warn: bool = False) -> None:
        """Print a message the first time that `what` occurs."""
        if what not in self._said:
            self._said.add(what)
            (rank_zero_warn if warn else rank_zero_info)(f"{type(self).__name__}: {message}")


_Missing = tuple[Counter[str], dict[str, str], int]


def _of_all_processes(own: _Missing, world_size: int) -> _Missing:
    """The numbers of images left out, the reasons, and the number of images scored, over all processes."""
    every: list[Any] = [own]
    if world_size > 1:
        every = [None] * world_size
        torch.distributed.all_gather_object(every, own)
    left_out: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for of_process, why, _ in every:
        left_out.update(of_process)
        reasons = why | reasons
    return left_out, reasons, sum(scored for _, _, scored in every)
