"""L_C of one batch, shared by plain steps, engines and measurements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from camtrain.gradients.checked_logits import checked_logits
from camtrain.objective.in_float64 import in_float64


@dataclass(frozen=True)
class BatchLoss:
    """L_C of one batch as a function of its logits.

    Plain steps, engines, measurements and balancing all take L_C from here, so that a subclass of `Objective` that
    overrides `classification_loss` changes all of them.

    Attributes:
        function: From logits (N, K) and labels to L_C, 0-dim: `Objective.classification_loss`.
        labels: The labels of the batch, as that function takes them.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    labels: Tensor

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

    def _with_labels_alike(self, logits: Tensor) -> Tensor:
        labels = self.labels
        if labels.is_floating_point() and labels.shape == logits.shape:
            labels = labels.to(logits.dtype)
        try:
            return self.function(logits, labels)
        except RuntimeError as error:
            if "Double" in str(error):
                error.add_note(
                    "`classification_loss` is called with float64 logits where the gradient at the input is penalized; "
                    "bring its own tensors, such as class weights, to `logits.dtype`"
                )
            raise
