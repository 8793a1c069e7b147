"""Whether a map changes with what the network has learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.map_similarity import Similarity, map_similarity
from camtrain.positive_integer import positive_integer


class ParameterRandomization(AdditiveScore):
    """Mean difference of a network's maps from those of the same network with random weights, higher is better.

        1/L Σ_l (1 - max(0, similarity_l))

    where similarity_l compares the map with the one after the l topmost of L groups of layers were given random weights
    (`camtrain.evaluation.randomized_layers`). A method whose maps stay the same, such as an edge detector, shows the
    image and not the network. `curve` is the mean similarity after each group.

    A high score says that the map depends on the weights, not that it is right: noise scores high too, so does a map
    that is zero everywhere once weights are random, as Grad-CAM's ReLU can make it, and methods differ in how much a
    random network makes of an image (Hedström et al., Sanity Checks Revisited, 2023, arXiv 2401.06465).

    Args:
        num_stages: L.
        kind: of similarity (see `map_similarity`).
        kwargs: passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: if `num_stages` is no positive integer.

    Source:
        Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv 1810.03292, section 3: cascading
        randomization. Departures: groups of layers, and one number.

    Example:
        >>> metric = ParameterRandomization(num_stages=2)
        >>> cam = torch.tensor([[[0.0, 0.1], [0.2, 1.0]]])
        >>> metric(cam, torch.stack([cam, 1 - cam], dim=1))
        tensor(0.5000)
        >>> metric.curve
        tensor([ 1., -1.])
    """

    higher_is_better = True

    def __init__(self, num_stages: int, kind: Similarity = "spearman", **kwargs: Any) -> None:
        super().__init__(row_length=positive_integer("num_stages", num_stages) + 2, **kwargs)
        self.num_stages = num_stages
        self.kind: Similarity = kind

    def rows(self, cams: Tensor, randomized_cams: Tensor) -> Tensor:
        """[similarities, score, 1] of each image, (N, L + 2).

        Args:
            cams: (N, H, W) maps of the network.
            randomized_cams: (N, L, H, W) maps after each group of layers.

        Raises:
            ValueError: as `map_similarity`, or if there is another number of stages.
        """
        if randomized_cams.dim() != 4 or randomized_cams.shape[1] != self.num_stages:
            raise ValueError(
                f"`randomized_cams`: expected (N, {self.num_stages}, H, W), got {tuple(randomized_cams.shape)}"
            )
        similar = [map_similarity(cams, stage, self.kind) for stage in randomized_cams.unbind(dim=1)]
        similarities = torch.stack(similar, dim=1)
        score = (1 - similarities.clamp(min=0)).mean(dim=1, keepdim=True)
        return torch.cat([similarities, score, torch.ones_like(score)], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """The mean score."""
        return total[..., -2] / total[..., -1]

    @property
    def curve(self) -> Tensor:
        """Mean similarity after each group of layers, (L,) float32."""
        return (self.total[:-2] / self.total[-1]).float()
