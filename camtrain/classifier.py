"""The Lightning module: any classifier, trained with L = L_C + λ L_R."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BaseFinetuning
from pytorch_lightning.cli import LRSchedulerCallable, ReduceLROnPlateau
from pytorch_lightning.core.mixins.hparams_mixin import _given_hyperparameters
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from camtrain.batch import Batch, check_finite_images, check_images
from camtrain.class_names import names_of_data, renamed_classes
from camtrain.files import local_path
from camtrain.gradients import Engine
from camtrain.gradients.seeded import seeded
from camtrain.label_scores import StageScores, class_indices
from camtrain.messages import CamtrainWarning, DataError, checked_integer, checked_number, positive_integer
from camtrain.networks import Stem, backbone, build_network, load_initial_weights
from camtrain.networks.head_group import check_head_rate, learning_rates, with_head_group
from camtrain.networks.input_channels import channels_remark
from camtrain.objective import ClassificationLoss, LossFunction, LossName, Objective, Step
from camtrain.objective.class_weights import ClassWeights
from camtrain.objective.epoch_counts import EpochCounts
from camtrain.objective.group_accuracies import GroupAccuracies
from camtrain.objective.weighted_means import WeightedMeans
from camtrain.optimizer_numbers import check_optimizer, check_schedule
from camtrain.probabilities import class_probabilities, with_both_classes
from camtrain.regularizers import Regularizer, Term
from camtrain.regularizers.sum import risen_fraction
from camtrain.running_loader import running_loader
from camtrain.unrepeated import unrepeated

Stage = Literal["train", "val", "test"]


_NEARLY_RISEN = 0.95  # the share of λ that a rising weight has to reach


class NonFiniteLossError(RuntimeError):
    """A loss or a parameter is NaN or infinite; training stops before it is saved."""


class Classifier(pl.LightningModule):
    """Trains an image classifier with L = L_C + λ L_R, and logs both terms.

    The stages `train`, `val` and `test` log once per epoch:

    - `<stage>/loss` (L), `<stage>/loss_classification` (L_C) and `<stage>/loss_regularizer` (L_R), and, if the
      regularizer is a sum, `<stage>/loss_regularizer/<term>` for each term;
    - `<stage>/accuracy`, and except in `train` also `<stage>/accuracy_per_class/<class>` and, with more than five
      classes, `<stage>/accuracy_top5`;
    - except in `train`, if images have groups, `<stage>/accuracy_per_group/<group>` and
      `<stage>/accuracy_worst_group`;
    - where images may show several classes, `<stage>/accuracy` is the fraction of right answers over all images and
      classes, and except in `train`, there are `<stage>/mean_average_precision`, the same by class as
      `<stage>/average_precision_per_class/<class>`, and `<stage>/f1`, the mean F1 score of the classes, instead.

    Images show several classes if their labels are (N, K) and L_C does not let classes compete, as with binary
    cross-entropy. A probability is then the sigmoid of a logit, and an answer is right if it is on the right side of
    1/2. `checkpoint.monitor: val/mean_average_precision` keeps the checkpoint that is best by it.

    Training also logs:

    - `train/learning_rate`: that of the optimizer as the epoch begins; with several groups of parameters it is
      `train/learning_rate/<group>`, by the name of the group, `backbone` or `head`, or its number;
    - `train/regularizer_weight`: λ;
    - `train/gradient_share`: the fraction of the parameter gradient that λ L_R contributes,
      ‖λ ∇L_R‖ / (‖∇L_C‖ + ‖λ ∇L_R‖);
    - `train/regularizer_counted/<term>`: the fraction of images for which a regularizer has a penalty;
    - `train/flat_maps/<term>`: the fraction of those whose map has no positive value;
    - `train/regularizer_scale/<term>`: the factor of a regularizer, if terms are balanced;
    - `train/engine/<note>`: notes of the engine.

    A checkpoint from the command line holds the whole configuration, and `Classifier.load_from_checkpoint(path,
    weights_only=True)` rebuilds the module; pass `initial_weights=None` or `weights=None` if the file that these came
    from is gone. A checkpoint of a module built in Python holds only its plain settings, so pass the objects again:
    `Classifier.load_from_checkpoint(path, network=..., regularizer=...)`.

    Args:
        network: A torchvision name such as `resnet18`, a timm name such as `timm:convnext_nano`, one of camtrain's
            `cifar_resnet8` to `cifar_resnet56`, or any module from (N, C, H, W) images to (N, K) logits, in a config by
            its `class_path`. `camtrain.networks.build_network` is one for images of other channels than three.
        num_classes: K, the number of classes; the command line takes it from the data. A network of two classes may
            have a single logit, whose sigmoid is the probability of class 1; `classification_loss` is then
            `binary_cross_entropy`. 1 gives a network by name a single logit.
        stem: The first layers of a network given by name. `imagenet`: as published. `small`: a 3×3 convolution without
            pooling, for images of 32 to 64 pixels.
        weights: Pretrained weights of a network given by name: those of torchvision or timm by their name, such as
            `DEFAULT`, or a file, `.safetensors`, `.pth` or `.pt`; null is random weights.
        initial_weights: A checkpoint of `camtrain fit`, the folder of a run, whose best checkpoint is taken, or a file
            of weights as for `weights`: the training begins with the weights of this network. They may also be those of
            the network's backbone, where the network is one such as `AttentionBranch` or `CAStream`.
        regularizer: The penalty L_R; null is plain training.
        regularizer_weight: λ, at least 0; null is the regularizer's `default_weight`.
        regularizer_start_epoch: The epoch before which λ is 0; may be fractional. Earlier steps are plain training and
            cost no more. Validation still measures L_R before it, but `val/loss` is L_C alone.
        regularizer_warmup_epochs: The number of epochs after this start over which λ rises linearly from 0; may be
            fractional. Validation in these epochs uses the full λ.
        regularizer_every_n_steps: k; lazy regularization applies k·λ·L_R in every k-th training batch, and trains
            plainly in between.
        regularizer_balance_steps: The number of steps at the start over which L_C and each regularizer are measured.
            Each regularizer is then multiplied by the ratio, so that λ = 1 makes the two terms equal at the start. 0
            does not balance.
        engine: How the gradient of L_R reaches the parameters; null is `FrozenGates`.
        optimizer: A function from the parameters to an optimizer; in a config the `class_path` and `init_args` of a
            torch optimizer. The default, AdamW with a learning rate of 3e-4, is safe for small data and pretrained
            weights; see experiments/default_optimizer.
        lr_scheduler: A function from the optimizer to a schedule; in a config the `class_path` and `init_args` of a
            torch scheduler.
        lr_scheduler_interval: Whether the schedule advances every `epoch` or every `step`.
        classification_loss: What L_C is. `cross_entropy`: the classes of an image compete. `binary_cross_entropy`: each
            class is a question of its own, summed over the classes, so that images may show several; maps of a head
            that is trained so are more specific to their class (How to Probe, arXiv 2503.00641). `focal`: cross-entropy
            in which recognized images count less. In a config also the `class_path` and `init_args` of a loss with
            settings, such as `camtrain.objective.CrossEntropy` with `class_weights: balanced`, computed from the
            training images, or of any other module from (logits, labels) to the mean loss, or a function that does so,
            by its dotted name. If images have one label, the prediction is the largest logit, and probabilities are the
            softmax of the logits, whatever L_C is.
        label_smoothing: The label smoothing of an L_C that is given by its name, in [0, 1].
        gradient_share_every_n_steps: The number of steps from one measurement of `train/gradient_share` to the next; a
            measurement costs two more backward passes. 0 never measures.
        head_learning_rate: The learning rate of the head, the network's last linear layer, if it differs from the
            optimizer's. It is usual in fine-tuning, where the head is new and the rest is pretrained. `optimizer` then
            gets two groups of parameters, `backbone` and `head`, and most schedules scale the rates of both;
            `OneCycleLR` takes a list of two.
        channels_last: Whether the channels of a pixel are side by side in memory. Only the rounding changes, and
            convolutional networks are usually faster, most of all with mixed precision on a GPU.

    Raises:
        TypeError: If `network` is neither a name nor a module.
        ValueError: If a setting is out of range, settings contradict each other, or `initial_weights` do not fit.
        FileNotFoundError: If there is no checkpoint at `initial_weights`.

    Example:
        >>> classifier = Classifier("cifar_resnet8", num_classes=10)
        >>> classifier(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    added_settings: ClassVar[dict[str, Any]] = {"head_learning_rate": None, "channels_last": False}

    def __init__(
        self,
        network: nn.Module | str,
        num_classes: int,
        stem: Stem = "imagenet",
        weights: str | None = None,
        initial_weights: str | None = None,
        regularizer: Regularizer | None = None,
        regularizer_weight: float | None = None,
        regularizer_start_epoch: float = 0.0,
        regularizer_warmup_epochs: float = 0.0,
        regularizer_every_n_steps: int = 1,
        regularizer_balance_steps: int = 0,
        engine: Engine | None = None,
        optimizer: Callable[[Iterable], Optimizer] = lambda parameters: AdamW(parameters, lr=3e-4),  # type: ignore[type-arg]
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: Literal["epoch", "step"] = "epoch",
        classification_loss: LossName | nn.Module | LossFunction = "cross_entropy",
        label_smoothing: float = 0.0,
        gradient_share_every_n_steps: int = 50,
        head_learning_rate: float | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        checked_number("regularizer_start_epoch", regularizer_start_epoch, at_least=0)
        checked_number("regularizer_warmup_epochs", regularizer_warmup_epochs, at_least=0)
        if regularizer_weight is not None:
            checked_number("regularizer_weight", regularizer_weight, at_least=0)
        # The objective has these two under shorter names.
        positive_integer("regularizer_every_n_steps", regularizer_every_n_steps)
        checked_integer("regularizer_balance_steps", regularizer_balance_steps, at_least=0)
        checked_integer("gradient_share_every_n_steps", gradient_share_every_n_steps, at_least=0)
        positive_integer("num_classes", num_classes)
        if head_learning_rate is not None:
            checked_number("head_learning_rate", head_learning_rate, at_least=0)
        for name, function in {"optimizer": optimizer, "lr_scheduler": lr_scheduler}.items():
            if not (callable(function) or (function is None and name == "lr_scheduler")):
                raise TypeError(f"`{name}`: expected a function, got {function!r}")
        if lr_scheduler_interval not in ("epoch", "step"):
            raise ValueError(f"`lr_scheduler_interval`: expected epoch or step, got {lr_scheduler_interval!r}")
        if regularizer is None and regularizer_weight:
            raise ValueError(
                f"`regularizer_weight`: expected 0 or None without a regularizer, got {regularizer_weight}"
            )
        if not isinstance(network, (str, nn.Module)):
            raise TypeError(f"`network`: expected a torchvision name or a module, got {network!r}")
        if weights is not None and initial_weights is not None:
            raise ValueError(f"`initial_weights`: expected None beside weights={weights!r}, got {initial_weights}")
        if not isinstance(network, str) and (stem != "imagenet" or weights is not None):
            raise ValueError(
                f"`stem` and `weights` are for a network given by name, got stem={stem!r} and weights={weights!r} "
                f"with a {type(network).__name__}"
            )
        # A checkpoint that loads with weights_only=True cannot hold objects. The command line passes descriptions.
        # A checkpoint has its own weights and needs no initial ones.
        objects = ["engine", "optimizer", "lr_scheduler", "initial_weights"]
        objects += [] if isinstance(network, str) else ["network"]
        objects += [] if regularizer is None else ["regularizer", "regularizer_weight"]
        objects += [] if isinstance(classification_loss, str) else ["classification_loss"]
        described = _given_hyperparameters.get() is not None
        # The command line logs the whole configuration, so the module's part need not be logged again.
        self.save_hyperparameters(ignore=[] if described else objects, logger=not described)

        if isinstance(network, str):
            network = build_network(network, num_classes, stem=stem, weights=weights)
        if initial_weights is not None:
            rank_zero_info(f"The initial weights are those of {load_initial_weights(network, initial_weights)}")
        self.network = network.to(memory_format=torch.channels_last) if channels_last else network
        self.objective = Objective(
            regularizer,
            regularizer_weight,
            engine,
            label_smoothing,
            regularizer_every_n_steps,
            regularizer_balance_steps,
            classification_loss,
        )
        self.num_classes = num_classes
        self._full_weight = self.objective.weight
        self._start_epoch = regularizer_start_epoch
        self._warmup_epochs = regularizer_warmup_epochs
        self._optimizer = optimizer
        self._head_learning_rate = head_learning_rate
        self._lr_scheduler = lr_scheduler
        self._lr_scheduler_interval = lr_scheduler_interval
        self._share_every = gradient_share_every_n_steps
        self._epoch_counts = EpochCounts()
        self._training_means = self._new_means("train")
        self._warned: set[tuple[str, str]] = set()
        num_answers = max(2, num_classes)  # a single logit answers yes or no
        self.class_names: list[str] | None = None
        """What the classes were called in training, by their index, as a checkpoint stores it; `None` if not known."""
        self.val_metrics = StageScores(num_answers, "val")
        self.test_metrics = StageScores(num_answers, "test")

    @property
    def several_labels(self) -> bool:
        """Whether images may show several classes, so that each has a probability of its own; see `Objective`."""
        return self.objective.several_labels

    @several_labels.setter
    def several_labels(self, several: bool) -> None:
        self.objective.several_labels = several

    def setup(self, stage: str) -> None:
        """Take the names of the classes from the data that it is trained with, and compare them with other data.

        Raises:
            ValueError: If data that it is not trained with give one of these names to another class.
        """
        if stage == "fit":
            self.class_names = self._names_of_data()
        else:
            self._compare_class_names()

    def _compare_class_names(self) -> None:
        if remark := renamed_classes(self.class_names, self._names_of_data()):
            rank_zero_warn(remark, category=CamtrainWarning)

    def _names_of_data(self) -> list[str] | None:
        return names_of_data(getattr(self._trainer, "datamodule", None))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what a module built in Python does not store: the names of classes, of the regularizer and the loss."""
        regularizer = self.objective.regularizer
        checkpoint["regularizer"] = None if regularizer is None else type(regularizer).__name__
        checkpoint["classification_loss"] = self.objective.loss_name
        for name, module in self.named_modules():
            if isinstance(module, ClassWeights):
                # An average of weights is of a copy from before balanced class weights were computed.
                checkpoint["state_dict"].update(module.state_dict(prefix=f"{name}."))
        if self.several_labels:
            checkpoint["several_labels"] = True
        if self.class_names is not None:
            checkpoint["class_names"] = self.class_names

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Warn if the checkpoint was trained with a regularizer or a loss that this module does not have.

        Before a test, also warn if a regularizer had not begun when the checkpoint was written.

        Raises:
            ValueError: If the data give the name of a class to another one than in the training of the checkpoint.
        """
        if (names := checkpoint.get("class_names")) is not None:
            self.class_names = names
            self._compare_class_names()
        if self._trainer is not None and self._trainer.testing:
            self._warn_of_late_terms(int(checkpoint["epoch"]))
        self.several_labels = bool(checkpoint.get("several_labels", False))
        loss = checkpoint.get("classification_loss", self.objective.loss_name)
        if loss != self.objective.loss_name:
            rank_zero_warn(
                f"the checkpoint was trained with the classification loss {loss}, and this classifier has "
                f"{self.objective.loss_name}: pass it again, load_from_checkpoint(path, classification_loss=...)"
            )
        name = checkpoint.get("regularizer")
        if name is not None and self.objective.regularizer is None:
            rank_zero_warn(
                f"the checkpoint was trained with {name}, and this classifier has no regularizer: pass it again, "
                f"load_from_checkpoint(path, regularizer={name}(...), regularizer_weight=...), to train on with it"
            )

    def _warn_of_terms_without_time(self) -> None:
        """Say which regularizers take part in no step of the training that begins."""
        if not self._full_weight or getattr(self.trainer, "fast_dev_run", False):
            return
        last, num_epochs = self._end()
        told = []
        for name, term in self.objective.terms.items():
            start, end = max(self._start_epoch, term.start_epoch), term.end_epoch
            risen = self._risen(term, last)
            if term.weight and (not risen or (end is not None and start >= end)):
                why = f"the training ends after {num_epochs:g}, with its last step at epoch {last:g}"
                if risen:
                    why = f"it ends at epoch {end:g}"
                elif start <= last:
                    why = f"its weight, which rises from 0, is still 0 in the last step, at epoch {last:g}"
                told.append(f"{name} begins at epoch {start:g}, and {why}")
        if told:
            rank_zero_warn(
                f"no step is regularized by some terms: {'; '.join(told)}. Let them begin sooner, or train longer",
                category=CamtrainWarning,
            )

    def _warn_of_terms_that_still_rise(self) -> None:
        """Say which regularizers never reach their weight, though they take part in some steps."""
        if not self._full_weight or getattr(self.trainer, "fast_dev_run", False):
            return
        told = []
        for name, term in self.objective.terms.items():
            end = min(self._end()[0], math.inf if term.end_epoch is None else term.end_epoch)
            most = self._risen(term, end)
            if term.weight and max(self._start_epoch, term.start_epoch) < end and 0 < most < _NEARLY_RISEN:
                told.append(f"{name} reaches {100 * most:.0f} % of its weight, at epoch {end:.3g}")
        if told:
            rank_zero_warn(
                f"λ is still rising when its terms end: {'; '.join(told)}. Let it rise faster, or train longer",
                category=CamtrainWarning,
            )

    def _risen(self, term: Term, epoch: float) -> float:
        """The fraction of its weight that a term has at an epoch, by its own schedule and by that of λ."""
        of_all = risen_fraction(epoch, self._start_epoch, self._warmup_epochs)
        return of_all * risen_fraction(epoch, term.start_epoch, term.warmup_epochs)

    def _warn_of_unknown_length(self) -> None:
        """Say it if λ cannot change within an epoch, of which nobody knows how far it is."""
        terms = [each for each in self.objective.terms.values() if each.weight]
        rises = any([self._warmup_epochs, *(each.warmup_epochs for each in terms)])
        times = [self._start_epoch, *(time or 0.0 for each in terms for time in (each.start_epoch, each.end_epoch))]
        # In a training without a number of epochs, the first one may never end.
        changes_within = rises or any(time % 1 for time in times) or (self.trainer.max_epochs == -1 and any(times))
        if self._full_weight and math.isinf(self.trainer.num_training_batches) and changes_within:
            rank_zero_warn(
                "the number of batches in an epoch is not known, so that λ changes only from one epoch to the next; "
                "set trainer.limit_train_batches if it is to rise or begin within one",
                category=CamtrainWarning,
            )

    def _warn_of_slow_schedule(self) -> None:
        """Say it if a schedule of steps advances once in an epoch."""
        schedule: Any = None if self._lr_scheduler is None else self.lr_schedulers()
        total, epochs = getattr(schedule, "total_steps", None), self.trainer.max_epochs or -1
        fast = getattr(self.trainer, "fast_dev_run", False)
        if total is not None and not fast and self._lr_scheduler_interval == "epoch" and 0 < 2 * epochs < total:
            rank_zero_warn(
                f"`lr_scheduler_interval`: {type(schedule).__name__} has {total} steps and takes {epochs} of them, one "
                "in each epoch; expected step",
                category=CamtrainWarning,
            )

    def _warn_of_late_terms(self, epoch: int) -> None:
        """Say which regularizers had not begun at the end of an epoch."""
        if not self._full_weight:
            return
        starts = {
            name: max(self._start_epoch, term.start_epoch) for name, term in self.objective.terms.items() if term.weight
        }
        late = {name: start for name, start in starts.items() if epoch + 1 <= start}
        if late:
            told = " and ".join(f"{name} (from epoch {start:g} on)" for name, start in late.items())
            rank_zero_warn(
                f"the checkpoint is of epoch {epoch}, counted from 0, in which {told} had not begun: its scores are "
                "those of a training without. Let it begin sooner, train longer, or choose the checkpoint by a score "
                "of the maps",
                category=CamtrainWarning,
            )

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        **kwargs: Any,
    ) -> Self:
        """Rebuild a classifier with all that a checkpoint names: network, regularizer, engine, optimizer.

        That imports the classes that the checkpoint names. Use `camtrain.load_network` for one from somebody else.

        Args:
            checkpoint_path: A file on this machine, or one that is open.
            map_location: See Lightning.
            hparams_file: See Lightning.
            strict: See Lightning.
            weights_only: False runs any code that is in the file.
            kwargs: Arguments of the classifier, in the place of those in the checkpoint.

        Raises:
            ValueError: If `checkpoint_path` is an address.
        """
        if isinstance(checkpoint_path, (str, Path)):
            # Lightning would take `http.ckpt` for an address.
            checkpoint_path = local_path(checkpoint_path, "checkpoint_path").absolute()
        return super().load_from_checkpoint(checkpoint_path, map_location, hparams_file, strict, weights_only, **kwargs)

    def forward(self, images: Tensor) -> Tensor:
        """The logits (N, K) of images (N, C, H, W)."""
        logits: Tensor = self.network(images)
        return logits

    @property
    def backbone(self) -> nn.ModuleList:
        """The network without its last linear layer, which Lightning's `BackboneFinetuning` freezes and lets go.

        Raises:
            ValueError: If the network has no linear layer.
        """
        return backbone(self.network)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer of the parameters that require grad, and the schedule.

        Raises:
            ValueError: If a number of either is out of its range, no parameter of the network requires grad, or
                `head_learning_rate` is given and no head is trained, or the schedule overrules it.
        """
        optimizer = self._new_optimizer()
        check_optimizer(optimizer)
        if self._lr_scheduler is None:
            return optimizer
        tried = self._new_optimizer()
        before = learning_rates(tried)
        schedule = self._lr_scheduler(tried)
        check_head_rate(before, tried, schedule)
        check_schedule(schedule, tried)
        scheduler = self._lr_scheduler(optimizer)
        settings: dict[str, Any] = {"scheduler": scheduler, "interval": self._lr_scheduler_interval}
        if isinstance(scheduler, ReduceLROnPlateau):
            settings["monitor"] = scheduler.monitor
        return {"optimizer": optimizer, "lr_scheduler": settings}  # type: ignore[return-value]

    def on_fit_start(self) -> None:
        """Compute balanced weights of the classification loss."""
        self._balance_classes()

    def on_test_start(self) -> None:
        """Compute balanced weights of the classification loss, if the checkpoint has none."""
        self._balance_classes()

    def on_train_start(self) -> None:
        """Warn of settings without effect, and let a resumed fine-tuning train what it has unfrozen."""
        self._warn_of_terms_without_time()
        self._warn_of_terms_that_still_rise()
        self._warn_of_unknown_length()
        self._warn_of_slow_schedule()
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
        finetunes = any(isinstance(each, BaseFinetuning) for each in callbacks)
        if self.trainer.world_size > 1 and finetunes:
            warnings.warn(
                "Lightning's BaseFinetuning: several processes do not average the gradients of what it adds to the "
                "optimizer later; use camtrain.callbacks.FrozenBackbone",
                CamtrainWarning,
                stacklevel=2,
            )
        if finetunes:
            # It freezes again what the optimizer of a resumed run has unfrozen.
            optimizer: Any = self.optimizers(use_pl_optimizer=False)
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.requires_grad_()

    def _end(self) -> tuple[float, float]:
        """The epoch of the last step, as `training_step` counts it, and the length of the training in epochs.

        Both may be fractional, and are infinite if the end is not known.
        """
        trainer, num_batches = self.trainer, self.trainer.num_training_batches
        is_counted = math.isfinite(num_batches) and num_batches > 0
        last_steps: list[float] = []
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            last_steps.append(trainer.max_epochs - 1 + ((num_batches - 1) / num_batches if is_counted else 0))
        if trainer.max_steps >= 0 and is_counted:
            window = trainer.accumulate_grad_batches
            # The last step of an epoch takes the batches that are left.
            epoch, step = divmod(trainer.max_steps - 1, math.ceil(num_batches / window))
            last_steps.append(epoch + (min((step + 1) * window, num_batches) - 1) / num_batches)
        last = min(last_steps, default=math.inf)
        return last, last + (1 / num_batches if is_counted else 1)

    def _new_optimizer(self) -> Optimizer:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if not trained:
            raise ValueError(
                f"`network`: expected one with parameters to train, got {type(self.network).__name__}, which has none"
            )
        if self._head_learning_rate is None:
            return self._optimizer(trained)
        return self._optimizer(with_head_group(trained, self.network, self._head_learning_rate))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """L of one batch, for a single backward pass."""
        batch = _labeled(batch)
        self.objective.epoch = self.current_epoch + batch_idx / self.trainer.num_training_batches
        self.objective.weight = self._full_weight * risen_fraction(
            self.objective.epoch, self._start_epoch, self._warmup_epochs
        )
        with self._naming_batch("train", batch_idx, batch.images):
            step: Step = self.objective(
                self.network,
                batch.images,
                batch.labels,
                boxes=batch.boxes,
                masks=batch.masks,
                measure_gradient_share=self._share_every > 0 and batch_idx % self._share_every == 0,
            )
            self._check_classes(step)
            self._check_finite(step, batch, "train", batch_idx)
        for name, value in (("loss", step.loss), ("loss_classification", step.classification)):
            self._training_means.add(f"train/{name}", value, len(batch))
        self._add_terms(self._training_means, step, "train", len(batch))
        self._epoch_counts.add(step.terms, len(batch))
        self._training_means.add("train/regularizer_weight", self.objective.weight, 1)
        # The plain steps of lazy regularization have no L_R whose share could be measured.
        if step.gradient_share is not None and (step.regularized or self.objective.every_n_steps == 1):
            self._training_means.add("train/gradient_share", step.gradient_share, 1)
        for name, note in step.notes.items():
            self._training_means.add(f"train/engine/{name}", note, 1)
        self._add_training_answers(step.logits, batch.labels)
        return step.loss

    def _add_training_answers(self, logits: Tensor, labels: Tensor | None) -> None:
        assert labels is not None  # _labeled
        shown = self.objective.shown_classes(labels)
        answers, truth = _answers(logits, labels, shown)
        right = answers.argmax(dim=1) == truth if shown is None else (answers >= 0.5) == truth
        self._training_means.add("train/accuracy", right.float().mean(), right.numel())

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """L, L_C, L_R and accuracies of one validation batch."""
        labeled = unrepeated(_labeled(batch), running_loader(self.trainer, "val"), batch_idx)
        self._evaluation_step(labeled, batch_idx, "val", self.val_metrics)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """L, L_C, L_R and accuracies of one test batch."""
        labeled = unrepeated(_labeled(batch), running_loader(self.trainer, "test"), batch_idx)
        self._evaluation_step(labeled, batch_idx, "test", self.test_metrics)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Class probabilities, (N, K): the softmax of the logits, whatever L_C is.

        If images may show several classes, the sigmoid of each logit; of a single logit, (N, 2), of no and of yes.
        """
        labeled = Batch.of(batch)
        with self._naming_batch("predict", batch_idx, labeled.images):
            check_images(labeled.images)
            check_finite_images(labeled.images)
            logits = self(labeled.images)
        if labeled.labels is not None:
            self.objective.shown_classes(labeled.labels)
        return class_probabilities(logits, independent=self.several_labels)

    def on_validation_epoch_start(self) -> None:
        """Begin the means of the losses."""
        self._means, self._groups = self._new_means("val"), self._new_groups()

    def on_test_epoch_start(self) -> None:
        """Begin the means of the losses."""
        self._means, self._groups = self._new_means("test"), self._new_groups()

    def on_validation_epoch_end(self) -> None:
        """Log the losses and accuracies of the epoch."""
        self._log_means("val")
        self._log_accuracies(self.val_metrics)
        self._log_groups("val")

    def on_test_epoch_end(self) -> None:
        """Log the losses and accuracies of the test set."""
        self._log_means("test")
        self._log_accuracies(self.test_metrics)
        self._log_groups("test")

    def on_train_epoch_start(self) -> None:
        """Begin the means of the epoch, and log the learning rate of each group of parameters."""
        self._training_means = self._new_means("train")
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        rates = learning_rates(optimizer)
        for name, rate in rates.items():
            self.log("train/learning_rate" + f"/{name}" * (len(rates) > 1), rate, rank_zero_only=True)

    def on_validation_start(self) -> None:
        """Stop before a checkpoint of a broken network is written; compute balanced weights if there are none."""
        self._check_parameters()
        self._balance_classes()

    def on_train_epoch_end(self) -> None:
        """Stop before a checkpoint of a broken network is written; log the epoch; say if a regularizer does not act."""
        self._check_parameters()
        self._log_training()
        self._log_counts()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the epoch with its last batch, so that callbacks find it at the epoch's end."""
        if self.trainer.is_last_batch:
            self._log_training()

    def _log_training(self) -> None:
        """Log the means of the epoch, unless that is done: an epoch that is stopped has no last batch."""
        # Once in an epoch: logging in each step takes Lightning as long as a small network takes for an image.
        once: dict[str, Any] = {"on_step": False, "on_epoch": True, "batch_size": 1}
        means, self._training_means = self._training_means, self._new_means("train")
        if not means.own_values():
            return
        values = means.values(self.device)
        for name, value in values.items():
            self.log(name, value, prog_bar=name in ("train/loss", "train/loss_classification"), **once)

    def _evaluation_step(self, batch: Batch, batch_idx: int, stage: Stage, metrics: StageScores) -> None:
        if len(batch) == 0:
            return
        assert batch.labels is not None  # _labeled
        epoch = self.objective.epoch
        has_started = epoch is None or epoch >= self._start_epoch
        self.objective.weight = self._full_weight if has_started else 0.0
        # What a regularizer draws is the same in each epoch, and other numbers for each batch.
        draws = seeded(batch_idx * self.trainer.world_size + self.global_rank, self.device)
        with self._naming_batch(stage, batch_idx, batch.images), draws:
            step = self.objective.measure(
                self.network, batch.images, batch.labels, boxes=batch.boxes, masks=batch.masks
            )
            self._check_classes(step)
            self._check_finite(step, batch, stage, batch_idx)
        self._means.add(f"{stage}/loss_classification", step.classification, len(batch))
        self._add_terms(self._means, step, stage, len(batch))
        shown = self.objective.shown_classes(batch.labels)
        metrics.add(*_answers(step.logits, batch.labels, shown))
        if batch.groups is not None and shown is None:
            predictions = with_both_classes(step.logits).argmax(dim=1)
            self._groups.add(predictions, class_indices(batch.labels), batch.groups)

    def _new_groups(self) -> GroupAccuracies:
        return GroupAccuracies(getattr(getattr(self.trainer, "datamodule", None), "group_names", None) or ())

    def _log_groups(self, stage: Stage) -> None:
        values = {f"{stage}/{name}": value for name, value in self._groups.values(self.device).items()}
        # All processes hold the same values; see `_log_means`.
        self.log_dict(values, sync_dist=True, batch_size=1)

    def _new_means(self, stage: Stage) -> WeightedMeans:
        terms = self.objective.terms
        of_terms = [f"{stage}/loss_regularizer/{name}" for name in terms] if len(terms) > 1 else []
        names = [f"{stage}/loss_classification", *(of_terms or [f"{stage}/loss_regularizer"])]
        if stage == "train":
            # A schedule of the learning rate may follow any of these, and must do the same in all processes.
            names += ["train/loss", "train/accuracy", *(["train/loss_regularizer"] if of_terms else [])]
        return WeightedMeans(names)

    def _log_means(self, stage: Stage) -> None:
        """Log L_C, L_R and L, which are those of all images, however these are divided into batches."""
        values = self._means.values(self.device)
        if not values:
            return
        name, several = f"{stage}/loss_regularizer", len(self.objective.terms) > 1
        keys = {term: f"{name}/{term}" if several else name for term in self.objective.terms}
        terms = {term: values[key] for term, key in keys.items() if key in values}
        values[f"{stage}/loss"], regularization = self.objective.combined(values[f"{stage}/loss_classification"], terms)
        if several and terms:
            values[name] = regularization
        # All processes hold the same values. Averaging them changes nothing, but Lightning warns without it.
        self.log_dict(values, sync_dist=True, batch_size=1)

    def _log_counts(self) -> None:
        """Log the fraction of flat maps, and warn once of each regularizer that does not act as it should."""
        self._epoch_counts.gather(self.objective.terms, self.device)
        for name, share in self._epoch_counts.flat_maps.items():
            self.log(f"train/flat_maps/{name}", share, sync_dist=True)
        regularizers = {name: term.regularizer for name, term in self.objective.terms.items()}
        for key, message in self._epoch_counts.warnings(regularizers).items():
            if key not in self._warned:
                self._warned.add(key)
                rank_zero_warn(f"in epoch {self.current_epoch} {message}", category=CamtrainWarning)
        self._epoch_counts.clear()

    def _add_terms(self, means: WeightedMeans, step: Step, stage: Stage, batch_size: int) -> None:
        """Add L_R and its terms.

        In training a term is the mean over all images of a batch, divided by the running fraction of images that count,
        and is weighted by the batch size. In evaluation it is the mean over the images that count, weighted by their
        number.
        """
        several = len(self.objective.terms) > 1
        for name, term in step.terms.items():
            counted = batch_size if stage == "train" else int(term.counted)
            means.add(f"{stage}/loss_regularizer" + several * f"/{name}", term.value, counted)
            if stage == "train":
                share = term.counted.float() / batch_size
                means.add(f"train/regularizer_counted/{name}", share, batch_size)
                if self.objective.balance_steps:
                    means.add(f"train/regularizer_scale/{name}", term.scale, 1)
        if several and step.terms and stage == "train":
            means.add("train/loss_regularizer", step.regularization, batch_size)

    def _log_accuracies(self, metrics: StageScores) -> None:
        for name, value in metrics.pop().items():
            if value.dim() == 0:
                if not bool(value.isnan()):
                    self.log(name, value, prog_bar=name in ("val/accuracy", "val/mean_average_precision"))
            else:
                by_class = dict(zip(self._class_names(len(value)), value.tolist(), strict=True))
                self.log_dict({f"{name}/{label}": each for label, each in by_class.items() if not math.isnan(each)})

    def _class_names(self, count: int) -> list[str]:
        names = self.class_names or self._names_of_data()
        return names if names is not None and len(names) == count else [str(index) for index in range(count)]

    def _balance_classes(self) -> None:
        """Compute balanced weights of L_C, unless they came with a checkpoint."""
        loss = self.objective.loss_function
        if not isinstance(loss, ClassificationLoss) or not loss.needs_class_frequencies:
            return
        data = getattr(self.trainer, "datamodule", None)
        frequencies = getattr(data, "class_frequencies", None)
        if frequencies is None:
            kind = "loaders without one" if data is None else f"{type(data).__name__} without one"
            raise ValueError(
                "`classification_loss`: balanced weights need a data module with a method class_frequencies(), which "
                f"returns the fraction of the training images that show each class, got {kind}; give one number for "
                "each class, or call set_class_frequencies of the loss"
            )
        loss.set_class_frequencies(frequencies())

    def _check_classes(self, step: Step) -> None:
        # A question of two classes may be answered by a single logit.
        if step.logits.shape[1] != self.num_classes and (self.num_classes, step.logits.shape[1]) != (2, 1):
            raise ValueError(
                f"`network`: expected logits of `num_classes` = {self.num_classes} classes, got {step.logits.shape[1]}"
            )

    @contextmanager
    def _naming_batch(self, stage: str, batch_idx: int, images: Tensor) -> Iterator[None]:
        """Say of which batch an error in the images is, and that the network is for images of other channels."""
        try:
            yield
        except DataError as error:
            raise DataError(f"{stage} batch {batch_idx} of epoch {self.current_epoch}: {error}") from error
        except RuntimeError as error:
            remark = channels_remark(self.network, images) if "channels" in str(error) else ""
            if not remark:
                raise
            raise ValueError(
                f"`network`: {type(self.network).__name__} cannot be trained: {remark}: {error}"
            ) from error

    def _check_finite(self, step: Step, batch: Batch, stage: Stage, batch_idx: int) -> None:
        if bool(torch.isfinite(step.loss.detach())):
            return
        check_finite_images(batch.images)
        terms = {"L_C": step.classification} | ({"L_R": step.regularization} if step.regularized else {})
        broken = [f"{name} is {float(term)}" for name, term in terms.items() if not bool(torch.isfinite(term))]
        raise NonFiniteLossError(
            f"{' and '.join(broken) or 'L is not finite'} in {stage} batch {batch_idx} of epoch {self.current_epoch} "
            f"(λ = {self.objective.weight:g}). Lower the learning rate or λ, clip the gradient, or look at that batch. "
            + self._last_checkpoint()
        )

    def _check_parameters(self) -> None:
        for name, parameter in self.network.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise NonFiniteLossError(
                    f"parameter {name} is not finite after epoch {self.current_epoch}: its last update was too large. "
                    "Lower the learning rate or λ, or clip the gradient. " + self._last_checkpoint()
                )

    def _last_checkpoint(self) -> str:
        callbacks: list[Any] = list(self.trainer.checkpoint_callbacks)
        paths = [Path(path) for each in callbacks if (path := getattr(each, "best_model_path", ""))]
        last = max(filter(Path.exists, paths), key=lambda path: path.stat().st_mtime, default=None)
        return f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."


def _labeled(batch: Any) -> Batch:
    labeled = Batch.of(batch)
    if labeled.labels is None:
        raise ValueError("`batch`: expected images with labels, got images alone; these can only be predicted")
    return labeled


def _answers(logits: Tensor, labels: Tensor, shown: Tensor | None) -> tuple[Tensor, Tensor]:
    """What the network says and what is right: logits and class indices, or probabilities and the classes shown."""
    if shown is not None:
        return logits.float().sigmoid(), shown
    return with_both_classes(logits), class_indices(labels)
