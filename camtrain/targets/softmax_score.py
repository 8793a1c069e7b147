"""The probability of a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from camtrain.checked_logits import checked_logits
from camtrain.gradients import Target
from camtrain.probabilities import class_probabilities
from camtrain.targets.per_image import changed_classes, classes_of


@dataclass(frozen=True, eq=False)
class SoftmaxScore(Target):
    """The probability of a class, p_c = softmax(z)_c, in place of its logit z_c.

    A logit also counts evidence that speaks for other classes as much; a probability does not. Its gradient vanishes
    where the network is certain, and the map with it.

    Args:
        class_idx: The class: one for all images, or (N,) integers. `None` takes the predicted class of each image.

    Example:
        >>> import torch
        >>> SoftmaxScore(1)(torch.tensor([[0.0, 0.0]]))
        tensor([0.5000])
    """

    class_idx: int | Tensor | None = None

    @property
    def is_fraction(self) -> bool:
        """True."""
        return True

    def __call__(self, output: Any) -> Tensor:
        """The probability of each image's class, (N,); of a single logit, of class 0 or 1.

        Raises:
            ValueError: If the output is not (N, K) logits, or a class is none of the K.
        """
        probabilities = class_probabilities(checked_logits(output))
        return probabilities.gather(1, classes_of(self.class_idx, probabilities).unsqueeze(1)).squeeze(1)

    def fixed(self, output: Any) -> SoftmaxScore:
        """With the predicted classes in the place of `None`."""
        return SoftmaxScore(classes_of(self.class_idx, class_probabilities(checked_logits(output))))

    def changed(self, change: Callable[[Tensor], Tensor]) -> SoftmaxScore:
        """See `Target.changed`."""
        return SoftmaxScore(changed_classes(self.class_idx, change))
