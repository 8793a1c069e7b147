"""What a penalty on a training pass is."""

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
    """One pass of a training step, in its graph.

    Attributes:
        network: from (N, 3, H, W) to (N, K) logits.
        images: (N, 3, H, W).
        labels: (N,) class indices; of soft labels the most probable.
        logits: (N, K).
        captured: what the regularizer's own `watching` gave.
        randomness: of the pass.
        boxes: one (M_i, 4) tensor per image, xyxy pixels.
        masks: (N, H, W) bool.
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
        """Logits of other images, (N, K): the same dropout masks, and no trace in BatchNorm's running statistics.

        Cost:
            One forward pass.
        """
        with frozen_batch_norm(self.network), self.randomness.replayed():
            logits: Tensor = self.network(images)
        return logits


class PassRegularizer(Regularizer):
    """L_R as a function of a training pass, whose graph takes its gradient to the parameters.

    A subclass implements `penalty`, and `watching` if it needs more of the pass than its logits.
    """

    needs_images_gradient: ClassVar[bool] = False
    """Whether the pass's images have to require grad."""

    def watching(self, network: nn.Module, images: Tensor) -> AbstractContextManager[Any]:
        """A context that the training pass is run in; what it gives is the pass's `captured`."""
        return nullcontext()

    @abstractmethod
    def penalty(self, training_pass: TrainingPass) -> Tensor | Penalty:
        """The penalty of each image, (N,); a `Penalty` where some images do not count."""
