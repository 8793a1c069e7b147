"""Top-1 Loc, Top-5 Loc and GT-known Loc: how often the box of a map and the predicted class are right."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from camtrain.messages import checked_number, positive_integer
from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.checked import check_finite, check_length, check_values, checked_tensor
from camtrain.metrics.max_box_accuracy import THRESHOLDS, box_hits
from camtrain.regions import Annotation

_IOU = 0.5


def is_in_top(class_probabilities: Tensor, labels: Tensor, count: int) -> Tensor:
    """Whether the label is among the most probable classes.

    Args:
        class_probabilities: (N, K) probabilities, or logits.
        labels: (N,) class indices.
        count: The number of most probable classes; of fewer classes, all are.

    Returns:
        (N,) bool.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If shapes or kinds are wrong, numbers of images differ, a probability is NaN or infinite, or a label
            is no class.

    Example:
        >>> import torch
        >>> is_in_top(torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), torch.tensor([1, 2]), 2)
        tensor([ True, False])
    """
    known = checked_tensor("labels", labels, "N", "integer")
    ranked = checked_tensor("class_probabilities", class_probabilities, "N, K")
    check_length("class_probabilities", ranked, "labels", known)
    check_finite("class_probabilities", ranked)
    classes = ranked.shape[1]
    check_values("labels", known, 0, classes - 1, f"classes from 0 to {classes - 1}", "give as many probabilities")
    top = ranked.topk(min(count, ranked.shape[1]), dim=1).indices
    return (top == known.unsqueeze(1)).any(dim=1)


class LocalizationAccuracy(AdditiveScore):
    """The fraction of images on which the map's box has an IoU of at least ½ with one of the object's boxes.

        GT-known Loc = 1/N Σ_i 1[IoU(largest component of {map_i > τ}) ≥ 0.5]
        Top-k Loc    = 1/N Σ_i 1[... and the label is among the k most probable classes]

    The map is that of the label, not of the predicted class. τ is a fraction of the map's largest value. By default it
    is the one that is best for all images together, as in `MaxBoxAccuracy`, which GT-known Loc then equals in version
    v1. Older papers use a fixed τ, such as 0.2, that suits their own method. Images without a box are not counted.

    Args:
        top_k: k; `None` is GT-known Loc, which does not ask what the network predicts.
        threshold: τ in [0, 1), such as the best one of validation images. `None` finds the best one.
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: If `top_k` is no positive integer, or the threshold is out of range.
        TypeError: If the threshold is no number.

    Source:
        Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, arXiv 1512.04150; Choe et al.,
        Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020, arXiv 2001.07437.

    Example:
        >>> import torch
        >>> cams = torch.zeros(2, 8, 8)
        >>> cams[:, 2:6, 2:6] = 1.0
        >>> boxes, labels = [torch.tensor([[2.0, 2.0, 6.0, 6.0]])] * 2, torch.tensor([0, 1])
        >>> metric = LocalizationAccuracy(top_k=1)
        >>> metric(cams, boxes, torch.tensor([[0.9, 0.1], [0.9, 0.1]]), labels)
        tensor(0.5000)
        >>> LocalizationAccuracy()(cams, boxes)
        tensor(1.)
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, top_k: int | None = None, threshold: float | None = None, **kwargs: Any) -> None:
        top_k = None if top_k is None else positive_integer("top_k", top_k)
        if threshold is not None:
            expected = "a number in [0, 1), or None for the best one"
            threshold = checked_number("threshold", threshold, expected, at_least=0, below=1)
        super().__init__(row_length=THRESHOLDS + 1, settings=[top_k, threshold], **kwargs)
        self.top_k = top_k
        self.threshold = threshold

    def update(
        self,
        cams: Tensor,
        annotation: Annotation,
        class_probabilities: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> None:
        """Count a batch.

        Args:
            cams: (N, H, W) maps of the labels in [0, 1], at the size of the images.
            annotation: Boxes, one (M_i, 4) tensor per image (xyxy pixels, half-open); or (N, H, W) bool masks, each of
                which counts as the smallest box around its true pixels.
            class_probabilities: (N, K) probabilities of all classes, or logits; GT-known Loc does not need them.
            labels: (N,) class indices; GT-known Loc does not need them.

        Raises:
            TypeError: If an argument is no tensor, or the annotation is neither a tensor nor a list of tensors.
            ValueError: If shapes or numbers of images differ, a map holds NaN or leaves [0, 1], a box is bad (see
                `camtrain.metrics.box_regions`), or probabilities or labels are needed and missing.
        """
        super().update(cams, annotation, class_probabilities, labels)

    def rows(
        self,
        cams: Tensor,
        annotation: Annotation,
        class_probabilities: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Tensor:
        """The hits at every threshold, and 1 for a counted image, (N, 256).

        The arguments are those of `update`.
        """
        rows = box_hits(cams, annotation, (_IOU,), largest=True)
        if self.top_k is None:
            return rows
        if class_probabilities is None or labels is None:
            raise ValueError(f"`class_probabilities`, `labels`: expected both for Top-{self.top_k} Loc, got None")
        right = is_in_top(class_probabilities, labels, self.top_k)
        check_length("labels", right, "cams", rows)
        rows[:, :-1] *= right.to(rows).unsqueeze(1)
        return rows

    def value(self, total: Tensor) -> Tensor:
        """The accuracy at the threshold."""
        hits = total[..., :-1]
        best = hits.amax(dim=-1) if self.threshold is None else hits[..., self._place(total)]
        return best / total[..., -1]

    def image_scores(self, rows: Tensor) -> Tensor:
        """Whether each image is a hit at the threshold that holds for all images."""
        rows = rows.double()
        return rows[:, self._place(rows.sum(dim=0))] / rows[:, -1]

    def best_threshold(self, total: Tensor) -> float:
        """The threshold for a sum of rows, (S,): the given one, or the best; NaN if no image was counted."""
        if not bool(total[-1] > 0):
            return float("nan")
        return self._place(total) / THRESHOLDS if self.threshold is None else self.threshold

    def _place(self, total: Tensor) -> int:
        if self.threshold is None:
            return int(total[:-1].argmax())
        return int(self.threshold * THRESHOLDS + 1e-9)  # 0.2 · 255 is 51 and a little less in floating point
