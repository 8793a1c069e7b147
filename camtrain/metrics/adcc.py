"""A map's faithfulness, simplicity and stability in one number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.average_drop import drop
from camtrain.metrics.map_similarity import map_similarity


def coherency(cams: Tensor, cams_of_masked: Tensor) -> Tensor:
    """How little the map changes where only what it shows is left: correlation of both maps, brought to [0, 1].

        (1 + ρ(CAM(x), CAM(x ⊙ CAM(x)))) / 2

    Args:
        cams: (N, H, W) maps.
        cams_of_masked: (N, H, W) maps of image ⊙ map, for the same class.

    Returns:
        (N,) in [0, 1]; 1 where both are flat, 1/2 where one is.
    """
    return (1 + map_similarity(cams, cams_of_masked, "pearson")) / 2


def complexity(cams: Tensor) -> Tensor:
    """How much of the image the map shows: its mean.

    Args:
        cams: (N, H, W) in [0, 1].

    Returns:
        (N,) in [0, 1].

    Raises:
        ValueError: if the maps are not (N, H, W), or one leaves [0, 1].
    """
    if cams.dim() != 3:
        raise ValueError(f"`cams`: expected (N, H, W), got {tuple(cams.shape)}")
    low, high = (cams.amin(), cams.amax()) if cams.numel() else (0.0, 0.0)
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise ValueError(
            f"`cams`: expected values in [0, 1], got {float(low):g} to {float(high):g}; normalize the maps first "
            "(camtrain.cams.normalize)"
        )
    return cams.flatten(1).to(torch.promote_types(cams.dtype, torch.float32)).mean(dim=1).clamp(0, 1)


def adcc(coherencies: Tensor, complexities: Tensor, drops: Tensor) -> Tensor:
    """Harmonic mean of coherency, 1 - complexity and 1 - drop of each image.

        ADCC = 3 / (1/coherency + 1/(1 - complexity) + 1/(1 - drop))

    The harmonic mean is near the worst of the three. The paper leaves open of what it is taken over a data set: here,
    as in the authors' code, of each image, and then averaged. That is at most the harmonic mean of the three averages
    (it is concave), and lower the more the images differ in what they lack. (The code multiplies by 3 where the paper
    divides 3.)

    Args:
        coherencies: (N,) in [0, 1].
        complexities: (N,) in [0, 1].
        drops: (N,) in [0, 1].

    Returns:
        (N,) in [0, 1], higher is better; 0 where one of the three is 0.

    Raises:
        ValueError: if a value leaves [0, 1] by more than rounding.

    Source:
        Poppi et al., Revisiting the Evaluation of Class Activation Mapping for Explainability, CVPR workshops 2021,
        arXiv 2104.10252.

    Example:
        >>> adcc(torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.0]), torch.tensor([0.5, 1.0]))
        tensor([0.6000, 0.0000])
    """
    parts = torch.stack([coherencies, 1 - complexities, 1 - drops])
    if not bool(((parts >= -1e-6) & (parts <= 1 + 1e-6)).all()):
        raise ValueError("`coherencies`, `complexities` and `drops`: expected values in [0, 1]")
    positive = (parts > 0).all(dim=0)
    return torch.where(positive, 3 / (1 / torch.where(positive, parts, 1.0)).sum(dim=0), 0.0)


class ADCC(AdditiveScore):
    """Mean over images of the harmonic mean of coherency, 1 - complexity and 1 - drop; higher is better.

    See `adcc`, `coherency`, `complexity` and `camtrain.metrics.drop`. The mean of each of the three is in `parts`.

    Args:
        kwargs: passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = ADCC()
        >>> cam = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
        >>> metric(cam, cam, torch.tensor([0.8]), torch.tensor([0.4]))
        tensor(0.6000)
        >>> metric.parts
        {'coherency': 1.0, 'complexity': 0.5, 'drop': 0.5}
    """

    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(row_length=5, **kwargs)

    def rows(self, cams: Tensor, cams_of_masked: Tensor, scores: Tensor, masked_scores: Tensor) -> Tensor:
        """[ADCC, coherency, complexity, drop, 1] of each image, (N, 5).

        Args:
            cams: (N, H, W) maps in [0, 1].
            cams_of_masked: (N, H, W) maps of image ⊙ map, for the same class.
            scores: (N,) probability of the class on the image.
            masked_scores: (N,) the one on image ⊙ map.

        Raises:
            ValueError: if maps or scores are out of range, or not of as many images.
        """
        if len(scores) != len(cams):
            raise ValueError(f"`scores`: expected one for each of {len(cams)} maps, got {tuple(scores.shape)}")
        parts = coherency(cams, cams_of_masked).float(), complexity(cams).float(), drop(scores, masked_scores).float()
        return torch.stack([adcc(*parts), *parts, torch.ones_like(parts[0])], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """The mean score."""
        return total[..., 0] / total[..., 4]

    @property
    def parts(self) -> dict[str, float]:
        """Mean coherency, complexity and drop."""
        means = (self.total[1:4] / self.total[4]).tolist()
        return dict(zip(("coherency", "complexity", "drop"), means, strict=True))
