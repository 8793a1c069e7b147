"""L_C of one batch, shared by plain steps, engines and measurements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from camtrain.checked_logits import checked_logits
from camtrain.objective.in_float64 import in_float64


@dataclass(frozen=True)
class BatchLoss:
    """L_C of one batch as a function of its logits.

    Plain steps, engines, measurements, balancing and regularizers all take L_C from here, so that a user's own loss is
    that of all of them.

    Attributes:
        function: From logits (N, K) and labels to L_C, 0-dim: `Objective.classification_loss`.
        labels: The labels of the batch, as that function takes them.
        function_of_images: The same loss before its mean, (N,); `None` if it is not known.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    labels: Tensor
    function_of_images: Callable[[Tensor, Tensor], Tensor] | None = None

    def __call__(self, logits: Tensor) -> Tensor:
        """L_C in the precision of the logits, for plain training.

        Raises:
            ValueError: If the network's output is not (N, K) logits.
        """
        return self.function(checked_logits(logits), self.labels)

    def precise(self, logits: Tensor) -> Tensor:
        """L_C computed in float64, where its gradient at the input is penalized; see `in_float64`.

        Raises:
            ValueError: If the network's output is not (N, K) logits.
        """
        return in_float64(self._with_labels_alike)(checked_logits(logits))

    def of_images(self, logits: Tensor) -> Tensor:
        """The loss of each image, (N,), whose mean is L_C, in the precision of the logits.

        A function that only gives a mean is called for each image.

        Raises:
            ValueError: If the logits are not (N, K).
        """
        checked_logits(logits)
        if self.function_of_images is not None:
            return self.function_of_images(logits, self._labels_like(logits))
        each = [
            replace(self, labels=self.labels[row : row + 1])._with_labels_alike(logits[row : row + 1])
            for row in range(len(logits))
        ]
        return torch.stack(each)

    def _labels_like(self, logits: Tensor) -> Tensor:
        is_alike = self.labels.is_floating_point() and self.labels.shape == logits.shape
        return self.labels.to(logits.dtype) if is_alike else self.labels

    def _with_labels_alike(self, logits: Tensor) -> Tensor:
        labels = self._labels_like(logits)
        try:
            return self.function(logits, labels)
        except RuntimeError as error:
            if "Double" in str(error):
                error.add_note(
                    "`classification_loss` is called with float64 logits where the gradient at the input is penalized; "
                    "bring its own tensors, such as class weights, to `logits.dtype`"
                )
            raise
