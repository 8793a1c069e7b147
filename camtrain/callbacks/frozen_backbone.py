"""The first epochs of a fine-tuning, in which nothing but the head is trained."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from torch import nn
from torch.optim import Optimizer

from camtrain.callbacks.network_of import network_of
from camtrain.messages import CamtrainWarning, positive_integer
from camtrain.networks import last_linear


class FrozenBackbone(pl.Callback):
    """Trains the head alone for the first epochs, and all of the network after them.

    The head is the last linear layer. In the first epochs the gradients of all other parameters are discarded before
    the optimizer takes its step, so that neither momentum nor weight decay moves them, and the other modules are in
    evaluation mode in training steps: BatchNorm normalizes by its running statistics and does not update them, and
    dropout is off.

    All parameters are in the optimizer from the start, so that schedules, `head_learning_rate`, several processes and
    resumed runs need nothing special. Lightning's `BackboneFinetuning` adds the backbone to the optimizer later: not
    every schedule can take that, and several processes do not average its gradients.

    Args:
        epochs: The number of epochs in which the backbone does not change.

    Raises:
        ValueError: If `epochs` is less than 1; when training begins, if the network has no linear layer.

    Warns:
        CamtrainWarning: If the training ends before the backbone is trained.

    Cost:
        A step costs as much as any other, since the gradients are computed.

    Example:
        >>> trainer = pl.Trainer(callbacks=[FrozenBackbone(epochs=2)], max_epochs=8)  # doctest: +SKIP
    """

    def __init__(self, epochs: int = 1) -> None:
        self.epochs = positive_integer("epochs", epochs)
        self._backbone: list[nn.Module] = []
        self._were_training: list[tuple[nn.Module, bool]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the backbone."""
        network = network_of(pl_module)
        name = last_linear(network)
        if name is None:
            raise ValueError(
                f"FrozenBackbone: expected a network with a linear layer, its head; {type(network).__name__} has none"
            )
        fast: Any = getattr(trainer, "fast_dev_run", False)
        if not fast and 0 <= (trainer.max_epochs or -1) <= self.epochs:
            rank_zero_warn(
                f"FrozenBackbone: the training ends after {trainer.max_epochs} epochs, and the backbone is frozen for "
                f"{self.epochs}, so that only the head is trained; HeadRefitter does this on purpose",
                category=CamtrainWarning,
            )
        of_head = list(network.get_submodule(name).modules())
        self._backbone = [module for module in network.modules() if module not in of_head]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put the backbone in evaluation mode for the step."""
        if trainer.current_epoch >= self.epochs:
            return
        self._were_training = [(module, module.training) for module in self._backbone]
        for module in self._backbone:
            module.training = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Give each module its mode back."""
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Do so as well after an error in the step."""
        self._restore()

    def _restore(self) -> None:
        for module, was_training in self._were_training:
            module.training = was_training
        self._were_training = []

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Discard the gradients of the backbone: an optimizer leaves a parameter without one as it is."""
        if trainer.current_epoch >= self.epochs:
            return
        for module in self._backbone:
            for parameter in module.parameters(recurse=False):
                parameter.grad = None
