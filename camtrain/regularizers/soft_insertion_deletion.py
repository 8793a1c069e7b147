"""Soft insertion and deletion (ID-ExpO): the insertion and deletion scores of a map as a loss."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.blurred import blurred
from camtrain.messages import checked_fraction, checked_number, positive_integer
from camtrain.probabilities import log_odds, log_probabilities
from camtrain.regularizers.cam_regularizer import CAMRegularizer
from camtrain.regularizers.map_faithfulness import top_pixels
from camtrain.regularizers.normalized_maps import positive_by_maximum
from camtrain.regularizers.pass_regularizer import TrainingPass
from camtrain.regularizers.regularizer import Penalty

Background = Literal["zeros", "blurred"]
DeletionForm = Literal["ratio", "complement"]


class SoftInsertionDeletion(CAMRegularizer):
    """ID-ExpO: trains the insertion and deletion scores of the maps, which soft thresholds make differentiable.

        I_i = -1/M Σ_m log p(x_i ⊙ T_m + b_i ⊙ (1 - T_m)),    T_m = T_f(Â_i) with f = m F / M, m = 1 … M
        D_i = 1/M Σ_m log p(x_i ⊙ (1 - T_m) + b_i ⊙ T_m) - log p(x_i)
        E_i = w_I I_i + w_D D_i

    p is the probability of the label, Â = A⁺ / max A⁺ the label's map at the size of the images, T_f a soft threshold
    that selects the fraction f of the pixels (see `top_pixels`), and b_i the background. Needs no annotation. The
    gradient runs through the predictions and through the map. D_i, and with it E_i, may be negative.

    A map without a positive value does not count, and a map can evade the penalty in this way; watch
    `train/regularizer_counted/soft_insertion_deletion`. Nothing keeps a network from writing the label into the shape
    of its map and reading it there; report `MapLeakage`, or train `MapFaithfulness`, which swaps maps.

    Args:
        method: The method that makes the map, such as `grad_cam` or `layer_cam`.
        target_layer: The layer of the map, by its dotted name; null is the last layer with pixels or tokens.
        insertion_weight: w_I, at least 0.
        deletion_weight: w_D, at least 0; not both are 0.
        num_thresholds: M, at least 1.
        largest_fraction: F, the fraction of the pixels that the last threshold selects, in (0, 1].
        sharpness: ω, the slope of the soft threshold, above 0.
        background: b: `zeros`, which is the mean color, as in the paper, or `blurred`, the blurred image of the
            insertion metric.
        deletion: The form of D_i: `ratio`, the one above, or `complement`, -1/M Σ_m log(1 - p), which is at least 0.

    Raises:
        ValueError: If a setting is out of its range, or as in `CAMRegularizer`.

    Cost:
        A second-order backward pass to the target layer, and M forward and backward passes for each of the two terms
        whose weight is not 0, whose graphs are all in memory at the same time. Methods other than those of gradients
        and activations also run their own pass.

    Source:
        Yoshikawa and Iwata, Explanation-Based Training with Differentiable Insertion/Deletion Metric-Aware
        Regularizers, AISTATS 2024, arXiv 2310.12553. λ, F and the form of D_i are those of its code for Grad-CAM on
        CIFAR-10. Departures: 4 thresholds instead of 32. With few thresholds, the gradient reaches the whole map only
        through a soft one: the map is divided by its maximum and has the slope ω, whereas the code divides a map by the
        mean difference of neighboring ranks, which is about ω = HW. The gradient also runs through the threshold, so
        that it does not raise or lower a map as a whole; in the code, a softmax over the pixels does this. The code's
        small penalty on the square of the map, 1e-4 · mean A², is left out. Batch normalization sees the images of
        each threshold by themselves.

    Example:
        >>> from camtrain import Objective
        >>> from camtrain.networks import CIFARResNet
        >>> objective = Objective(SoftInsertionDeletion(num_thresholds=2))
        >>> objective(CIFARResNet(depth=8), torch.rand(4, 3, 32, 32), torch.arange(4)).loss.backward()
    """

    default_weight: ClassVar[float] = 0.01
    trained_metrics: ClassVar[tuple[str, ...]] = ("insertion_auc", "deletion_auc")

    def __init__(
        self,
        method: str = "grad_cam",
        target_layer: str | list[str] | None = None,
        insertion_weight: float = 1.0,
        deletion_weight: float = 1.0,
        num_thresholds: int = 4,
        largest_fraction: float = 0.5,
        sharpness: float = 30.0,
        background: Background = "zeros",
        deletion: DeletionForm = "ratio",
    ) -> None:
        super().__init__(method, target_layer)
        self.insertion_weight = checked_number("insertion_weight", insertion_weight, at_least=0)
        self.deletion_weight = checked_number("deletion_weight", deletion_weight, at_least=0)
        if not (self.insertion_weight or self.deletion_weight):
            raise ValueError("`insertion_weight`: expected it or `deletion_weight` to be above 0, got 0 for both")
        if background not in get_args(Background):
            raise ValueError(f"`background`: expected zeros or blurred, got {background!r}")
        if deletion not in get_args(DeletionForm):
            raise ValueError(f"`deletion`: expected ratio or complement, got {deletion!r}")
        self.num_thresholds = positive_integer("num_thresholds", num_thresholds)
        self.largest_fraction = checked_fraction("largest_fraction", largest_fraction, zero=False)
        self.sharpness = checked_number("sharpness", sharpness, above=0)
        self.background: Background = background
        self.deletion: DeletionForm = deletion

    def penalty(self, training_pass: TrainingPass) -> Penalty:
        """See the class."""
        cams = self.cams(training_pass)
        with torch.autocast(cams.device.type, enabled=False):
            maps, alive = positive_by_maximum(cams)
            masks = self._masks(maps)
        values = torch.zeros_like(maps[:, 0, 0])
        if self.insertion_weight:
            values = values + self.insertion_weight * self._insertion(training_pass, masks)
        if self.deletion_weight:
            values = values + self.deletion_weight * self._deletion(training_pass, masks)
        return Penalty(values, alive)

    def _masks(self, maps: Tensor) -> list[Tensor]:
        """T_m for each threshold, (N, H, W) each."""
        fractions = [(m + 1) * self.largest_fraction / self.num_thresholds for m in range(self.num_thresholds)]
        return [top_pixels(maps, maps.new_full((len(maps),), each), self.sharpness) for each in fractions]

    def _insertion(self, training_pass: TrainingPass, masks: list[Tensor]) -> Tensor:
        """I_i, (N,)."""
        of_masks = [-_log_probabilities(logits, training_pass) for logits in self._logits(training_pass, masks)]
        return torch.stack(of_masks).mean(dim=0)

    def _deletion(self, training_pass: TrainingPass, masks: list[Tensor]) -> Tensor:
        """D_i, (N,)."""
        of_masks = self._logits(training_pass, [1 - mask for mask in masks])
        if self.deletion == "complement":
            odds = torch.stack([_log_odds(logits, training_pass) for logits in of_masks])
            return F.softplus(odds).mean(dim=0)
        own = _log_probabilities(training_pass.logits.to(masks[0].dtype), training_pass)
        return torch.stack([_log_probabilities(logits, training_pass) for logits in of_masks]).mean(dim=0) - own

    def _logits(self, training_pass: TrainingPass, masks: list[Tensor]) -> list[Tensor]:
        """The logits, (N, K) in the precision of the masks, of the images seen through each mask."""
        images = training_pass.images.detach()
        with torch.autocast(images.device.type, enabled=False):
            background = blurred(images) if self.background == "blurred" else torch.zeros_like(images)
        found = []
        for mask in masks:
            kept = mask.to(images.dtype).unsqueeze(1)
            found.append(training_pass.again(images * kept + background * (1 - kept)).to(mask.dtype))
        return found

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return (
            f"{super().extra_repr()}, insertion_weight={self.insertion_weight}, "
            f"deletion_weight={self.deletion_weight}, num_thresholds={self.num_thresholds}, "
            f"background={self.background!r}, deletion={self.deletion!r}"
        )


def _log_probabilities(logits: Tensor, training_pass: TrainingPass) -> Tensor:
    """The log-probability of the label of each image, (N,)."""
    return log_probabilities(logits, training_pass.labels, independent=training_pass.independent)


def _log_odds(logits: Tensor, training_pass: TrainingPass) -> Tensor:
    """The log-odds of the label of each image, (N,)."""
    return log_odds(logits, training_pass.labels, independent=training_pass.independent)
