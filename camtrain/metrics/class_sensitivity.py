"""Whether a map changes with the class that it is to explain."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from camtrain.metrics.map_similarity import Similarity, map_similarity
from camtrain.metrics.mean_score import MeanScore


def class_sensitivity(cams: Tensor, other_cams: Tensor, kind: Similarity = "spearman") -> Tensor:
    """How different the maps of two classes of each image are.

        1 - max(0, similarity)

    Args:
        cams: (N, H, W) maps of one class, such as the predicted one.
        other_cams: (N, H, W) maps of another class of the same images, such as the least probable one.
        kind: of similarity (see `map_similarity`).

    Returns:
        (N,) in [0, 1], higher is better; 0 for a map that is the same for both classes, as where both are flat; 1 for
        maps that have nothing in common, and for opposite ones.

    Raises:
        ValueError: as `map_similarity`.

    Source:
        Rebuffi et al., There and Back Again: Revisiting Backpropagation Saliency Methods, CVPR 2020, arXiv 2004.02866,
        which reports the correlation of the maps of the most and the least probable class. That maps should depend on
        the class at all: Nie et al., A Theoretical Explanation for Perplexing Behaviors of Backpropagation-based
        Visualizations, ICML 2018. Departure: one minus the similarity, so that more is better, and rank correlation.

    Example:
        >>> import torch
        >>> cam = torch.tensor([[[0.0, 0.1], [0.2, 1.0]]])
        >>> class_sensitivity(cam, cam), class_sensitivity(cam, 1 - cam)
        (tensor([0.]), tensor([1.]))
    """
    return 1 - map_similarity(cams, other_cams, kind).clamp(min=0)


class ClassSensitivity(MeanScore):
    """Mean difference of the maps of two classes, higher is better.

    See `class_sensitivity` for the formula and its source. A method that shows what is in the image whatever the class,
    as guided backpropagation does, scores low however sharp it looks. A high score does not say that the map is right:
    noise scores high, and so does a map that is zero everywhere for the other class, as Grad-CAM's ReLU can make it.

    Args:
        kind: of similarity (see `map_similarity`).
        kwargs: passed on to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = ClassSensitivity()
        >>> cams = torch.tensor([[[0.0, 0.1], [0.2, 1.0]]]).repeat(2, 1, 1)
        >>> metric(cams, torch.cat([cams[:1], 1 - cams[1:]]))
        tensor(0.5000)
    """

    higher_is_better = True

    def __init__(self, kind: Similarity = "spearman", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind: Similarity = kind

    def scores(self, cams: Tensor, other_cams: Tensor) -> Tensor:
        """See `class_sensitivity`."""
        return class_sensitivity(cams, other_cams, self.kind)
