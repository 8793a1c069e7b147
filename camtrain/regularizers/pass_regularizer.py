"""The base of penalties on a training pass."""

from __future__ import annotations

from abc import abstractmethod
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
        network: The network, from (N, 3, H, W) to (N, K) logits.
        images: (N, 3, H, W).
        labels: (N,) class indices; for soft labels the most probable class.
        logits: (N, K).
        captured: The object that the regularizer's own `watching` yielded.
        randomness: The random state of the pass, which `again` replays.
        boxes: One (M_i, 4) tensor for each image, xyxy pixels; `None` if the batch has none.
        masks: (N, H, W) bool; `None` if the batch has none.
    """

    network: nn.Module
    images: Tensor
    labels: Tensor
    logits: Tensor
    captured: Any
    randomness: Randomness
    boxes: list[Tensor] | None = None
    masks: Tensor | None = None

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
