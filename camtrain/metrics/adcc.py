"""A map's faithfulness, simplicity and stability in one number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.average_drop import drop
from camtrain.metrics.checked import check_length, check_shape, checked_tensor, checked_unit_maps
from camtrain.metrics.map_similarity import named_similarity


def coherency(cams: Tensor, masked_cams: Tensor) -> Tensor:
    """How little the map changes if the image is masked with it: the correlation of both maps, scaled to [0, 1].

        (1 + ρ(CAM(x), CAM(x ⊙ CAM(x)))) / 2

    Args:
        cams: (N, H, W) maps.
        masked_cams: (N, H, W) maps of image ⊙ map, for the same class.

    Returns:
        (N,) in [0, 1]; 1 where both maps are constant, 1/2 where only one is.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If the maps are not (N, H, W), their shapes differ, or a value is not finite.
    """
    return (1 + named_similarity("cams", cams, "masked_cams", masked_cams, "pearson")) / 2


def complexity(cams: Tensor) -> Tensor:
    """How much of the image the map shows: its mean.

    Args:
        cams: (N, H, W) maps in [0, 1].

    Returns:
        (N,) in [0, 1].

    Raises:
        TypeError: If `cams` is no tensor.
        ValueError: If the maps are not (N, H, W), or a value is NaN or outside [0, 1].
    """
    maps = checked_unit_maps("cams", cams)
    return maps.flatten(1).to(torch.promote_types(maps.dtype, torch.float32)).mean(dim=1).clamp(0, 1)


def adcc(coherencies: Tensor, complexities: Tensor, drops: Tensor) -> Tensor:
    """The harmonic mean of coherency, 1 - complexity and 1 - drop of each image.

        ADCC = 3 / (1/coherency + 1/(1 - complexity) + 1/(1 - drop))

    The harmonic mean is close to the worst of the three. The paper does not say whether to average over the data set
    before or after it. Here, as in the authors' code, each image has its harmonic mean, and these are averaged. The
    result is at most the harmonic mean of the three averages, and lower the more the images differ in what they lack.
    (The code multiplies by 3 where the paper divides 3.)

    Args:
        coherencies: (N,) in [0, 1].
        complexities: (N,) in [0, 1].
        drops: (N,) in [0, 1].

    Returns:
        (N,) in [0, 1], higher is better; 0 where one of the three is 0.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If a value is outside [0, 1] by more than rounding, or the shapes differ.

    Source:
        Poppi et al., Revisiting the Evaluation of Class Activation Mapping for Explainability, CVPR workshops 2021,
        arXiv 2104.10252.

    Example:
        >>> adcc(torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.0]), torch.tensor([0.5, 1.0]))
        tensor([0.6000, 0.0000])
    """
    given = checked_tensor("coherencies", coherencies, "N")
    for name, other in (("complexities", complexities), ("drops", drops)):
        check_shape(name, checked_tensor(name, other, "N"), "coherencies", given)
    parts = torch.stack([given, 1 - complexities, 1 - drops])
    if not bool(((parts >= -1e-6) & (parts <= 1 + 1e-6)).all()):
        raise ValueError("`coherencies`, `complexities` and `drops`: expected values in [0, 1]")
    positive = (parts > 0).all(dim=0)
    return torch.where(positive, 3 / (1 / torch.where(positive, parts, 1.0)).sum(dim=0), 0.0)


class ADCC(AdditiveScore):
    """The mean over images of the harmonic mean of coherency, 1 - complexity and 1 - drop; higher is better.

    See `adcc`, `coherency`, `complexity` and `camtrain.metrics.drop`. The property `parts` holds the mean of each.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = ADCC()
        >>> cam = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
        >>> metric(cam, cam, torch.tensor([0.8]), torch.tensor([0.4]))
        tensor(0.6000)
        >>> metric.parts
        {'coherency': 1.0, 'complexity': 0.5, 'drop': 0.5}
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(row_length=5, **kwargs)

    def update(self, cams: Tensor, masked_cams: Tensor, probabilities: Tensor, masked_probabilities: Tensor) -> None:
        """Count a batch.

        Args:
            cams: (N, H, W) maps in [0, 1].
            masked_cams: (N, H, W) maps of image ⊙ map, for the same class.
            probabilities: (N,) probability of the explained class on each image.
            masked_probabilities: (N,) probability of the same class on image ⊙ map.

        Raises:
            TypeError: If an argument is no tensor.
            ValueError: If maps or probabilities are out of range, or describe different numbers of images.
        """
        super().update(cams, masked_cams, probabilities, masked_probabilities)

    def rows(self, cams: Tensor, masked_cams: Tensor, probabilities: Tensor, masked_probabilities: Tensor) -> Tensor:
        """[ADCC, coherency, complexity, drop, 1] of each image, (N, 5); the arguments are those of `update`."""
        parts = [
            coherency(cams, masked_cams).float(),
            complexity(cams).float(),
            drop(probabilities, masked_probabilities).float(),
        ]
        check_length("probabilities", probabilities, "cams", cams)
        return torch.stack([adcc(*parts), *parts, torch.ones_like(parts[0])], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """The mean score."""
        return total[..., 0] / total[..., 4]

    @property
    def parts(self) -> dict[str, float]:
        """The mean coherency, complexity and drop."""
        means = (self.total[1:4] / self.total[4]).tolist()
        return dict(zip(("coherency", "complexity", "drop"), means, strict=True))
