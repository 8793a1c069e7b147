"""The base of penalties on a training pass."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from camtrain.gradients import frozen_batch_norm
from camtrain.gradients.randomness import Randomness
from camtrain.regularizers.regularizer import Penalty, Regularizer


@dataclass(frozen=True)
class TrainingPass:
    """The forward pass of a training step, with its graph.

    Attributes:
        network: The network, from (N, C, H, W) to (N, K) logits.
        images: (N, C, H, W).
        labels: (N,) class indices; for soft labels the most probable class. If images have several labels, one class of
            each image, drawn at random among those that it shows; where it shows none, 0, and the image does not count.
        logits: (N, K).
        captured: The object that the regularizer's own `watching` yielded.
        randomness: The random state of the pass, which `again` replays.
        boxes: One (M_i, 4) tensor for each image, xyxy pixels; `None` if the batch has none.
        masks: (N, H, W) bool; `None` if the batch has none.
        shown: (N, K) bool, the classes that each image shows; `None` if each image has one label.
        losses: From logits (N, K) to the loss of each image, (N,), whose mean over the images is L_C.
    """

    network: nn.Module
    images: Tensor
    labels: Tensor
    logits: Tensor
    captured: Any
    randomness: Randomness
    boxes: list[Tensor] | None = None
    masks: Tensor | None = None
    shown: Tensor | None = None
    losses: Callable[[Tensor], Tensor] | None = None

    @property
    def independent(self) -> bool:
        """Whether images have several labels, so that the probability of a class is the sigmoid of its logit."""
        return self.shown is not None

    def again(self, images: Tensor) -> Tensor:
        """The logits of other images, (N, K), with the same dropout masks and without updating BatchNorm statistics.

        Cost:
            One forward pass.
        """
        with frozen_batch_norm(self.network), self.randomness.replayed():
            logits: Tensor = self.network(images)
        return logits


class PassRegularizer(Regularizer):
    """L_R as a function of a training pass; the graph of the pass takes its gradient to the parameters.

    A subclass implements `penalty`, and also `watching` if it needs more of the pass than its logits.
    """

    needs_images_gradient: ClassVar[bool] = False
    """Whether the penalty needs the gradient with respect to the images of the pass."""

    def watching(self, network: nn.Module, images: Tensor) -> AbstractContextManager[Any]:
        """A context for the training pass to run in; what it yields becomes `TrainingPass.captured`."""
        return nullcontext()

    @abstractmethod
    def penalty(self, training_pass: TrainingPass) -> Tensor | Penalty:
        """The penalty of each image, (N,), or a `Penalty` if some images do not count."""
