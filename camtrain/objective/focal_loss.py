"""The focal loss: images that are recognized already count less."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.messages import checked_number
from camtrain.objective.binary_cross_entropy import OverClasses, balanced_positive_weights, checked_over_classes
from camtrain.objective.check_labels import check_labels
from camtrain.objective.class_weights import ClassNumbers, ClassWeights
from camtrain.objective.classification_loss import ClassificationLoss, targets_of
from camtrain.objective.cross_entropy import balanced_weights


class FocalLoss(ClassificationLoss):
    """The mean over the images of −Σ_k w_k t_k (1 − p_k)^γ log p_k, with p the softmax of the logits.

    If the classes are independent, p_k is the sigmoid of logit k, as in the paper, and the classes that an image does
    not show are added, −Σ_k (1 − t_k) p_k^γ log(1 − p_k). The paper's α is then the weight α / (1 − α), but for the
    size of the loss. With γ = 0, the loss is the cross-entropy, or the binary cross-entropy.

    Departure from the paper, which divides by the number of objects that anchors were assigned to: the loss is a mean
    over the images.

    Args:
        gamma: γ, at least 0.
        class_weights: w, one number for each class, in the order of their indices; `balanced`: those of `CrossEntropy`,
            or, if the classes are independent, of `BinaryCrossEntropy`; null: 1.
        independent_classes: Whether an image may show several classes, or none; see `BinaryCrossEntropy` for the
            labels. A network of a single logit needs it.
        over_classes: Whether the losses of independent classes are added up (`sum`) or averaged (`mean`).

    Raises:
        TypeError: If an argument has another type.
        ValueError: If an argument is out of its range, or `over_classes` is given for classes that are not independent.
            When called: as `CrossEntropy` or `BinaryCrossEntropy`.

    Source:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002.

    Example:
        >>> FocalLoss(gamma=1)(torch.zeros(1, 2), torch.tensor([1]))  # half of the cross-entropy
        tensor(0.3466)
    """

    def __init__(
        self,
        gamma: float = 2.0,
        class_weights: ClassNumbers = None,
        independent_classes: bool = False,
        over_classes: OverClasses = "sum",
    ) -> None:
        super().__init__()
        self.gamma = checked_number("gamma", gamma, at_least=0)
        rule = balanced_positive_weights if independent_classes else balanced_weights
        self.class_weights = ClassWeights("class_weights", class_weights, rule)
        self.independent_classes = independent_classes
        self.over_classes = checked_over_classes(over_classes)
        if over_classes == "mean" and not independent_classes:
            raise ValueError("`over_classes`: expected sum for classes that are not independent, got mean")

    def of_images(self, logits: Tensor, labels: Tensor) -> Tensor:
        """See `ClassificationLoss`."""
        check_labels(logits, labels, independent=self.independent_classes)
        targets = targets_of(logits, labels)
        odds = logits if self.independent_classes else odds_of_all(logits)
        weights = self.class_weights.of(logits)
        of_shown = targets if weights is None else targets * weights
        # (1 − p)^γ as exp(γ log(1 − p)), whose derivatives are finite wherever p rounds to 0 or 1.
        losses = of_shown * (-self.gamma * F.softplus(odds)).exp() * F.softplus(-odds)
        if self.independent_classes:
            losses = losses + (1 - targets) * (-self.gamma * F.softplus(-odds)).exp() * F.softplus(odds)
        return losses.mean(dim=1) if self.over_classes == "mean" else losses.sum(dim=1)

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"gamma={self.gamma}, independent_classes={self.independent_classes}, over_classes={self.over_classes!r}"


def odds_of_all(logits: Tensor) -> Tensor:
    """The log-odds of every class under the softmax, log p_k − log(1 − p_k), finite also where p_k rounds to 1.

    Args:
        logits: (N, K), of at least two classes.

    Returns:
        (N, K).

    Example:
        >>> odds_of_all(torch.tensor([[500.0, 0.0]]))
        tensor([[ 500., -500.]])
    """
    log_p = logits.log_softmax(dim=1)
    largest = logits.argmax(dim=1, keepdim=True)
    # Of all classes but the largest p is at most 1/2, so that 1 − p loses no digits.
    log_rest = torch.log1p(-log_p.scatter(1, largest, -torch.inf).exp())
    of_largest = logits.gather(1, largest) - logits.scatter(1, largest, -torch.inf).logsumexp(dim=1, keepdim=True)
    return (log_p - log_rest).scatter(1, largest, of_largest)
