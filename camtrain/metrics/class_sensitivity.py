"""Whether a map changes with the class that it explains."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from camtrain.metrics.map_similarity import Similarity, check_kind, named_similarity
from camtrain.metrics.mean_score import MeanScore


def class_sensitivity(cams: Tensor, other_cams: Tensor, kind: Similarity = "spearman") -> Tensor:
    """How different the maps of two classes of each image are.

        1 - max(0, similarity)

    Args:
        cams: (N, H, W) maps of one class, such as the predicted one.
        other_cams: (N, H, W) maps of another class on the same images, such as the least probable one.
        kind: The kind of similarity (see `map_similarity`).

    Returns:
        (N,) in [0, 1], higher is better; 0 if the map is the same for both classes, for example if both maps are
        constant; 1 for uncorrelated and for opposite maps.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If the maps are not (N, H, W), their shapes differ, a value is not finite, or there is no such kind.

    Source:
        Rebuffi et al., There and Back Again: Revisiting Backpropagation Saliency Methods, CVPR 2020, arXiv 2004.02866,
        which reports the correlation of the maps of the most and the least probable class. Nie et al., A Theoretical
        Explanation for Perplexing Behaviors of Backpropagation-based Visualizations, ICML 2018, ask whether maps depend
        on the class at all. Departure: one minus the similarity, so that higher is better, and rank correlation.

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[0.0, 0.1], [0.2, 1.0]]])
        >>> class_sensitivity(cam, cam), class_sensitivity(cam, 1 - cam)
        (tensor([0.]), tensor([1.]))
    """
    return 1 - named_similarity("cams", cams, "other_cams", other_cams, kind).clamp(min=0)


class ClassSensitivity(MeanScore):
    """The mean difference between the maps of two classes; higher is better.

    See `class_sensitivity` for the formula and its source. A method that shows what is in the image whatever the class,
    as guided backpropagation does, scores low however sharp its maps look. A high score does not mean that the map is
    right: noise scores high, and so does a map that is zero everywhere for the other class, which Grad-CAM's ReLU can
    produce.

    Args:
        kind: The kind of similarity (see `map_similarity`).
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: If there is no such kind.

    Example:
        >>> import torch
        >>> metric = ClassSensitivity()
        >>> cams = torch.tensor([[[0.0, 0.1], [0.2, 1.0]]]).repeat(2, 1, 1)
        >>> metric(cams, torch.cat([cams[:1], 1 - cams[1:]]))
        tensor(0.5000)
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, kind: Similarity = "spearman", **kwargs: Any) -> None:
        check_kind(kind)
        super().__init__(settings=[kind], **kwargs)
        self.kind: Similarity = kind

    def update(self, cams: Tensor, other_cams: Tensor) -> None:
        """Count a batch.

        Args:
            cams: (N, H, W) maps of one class, such as the predicted one.
            other_cams: (N, H, W) maps of another class on the same images, such as the least probable one.

        Raises:
            TypeError: If an argument is no tensor.
            ValueError: If the maps are not (N, H, W), their shapes differ, or a value is not finite.
        """
        super().update(cams, other_cams)

    def scores(self, cams: Tensor, other_cams: Tensor) -> Tensor:
        """The difference between the two maps of each image (see `class_sensitivity`)."""
        return class_sensitivity(cams, other_cams, self.kind)
