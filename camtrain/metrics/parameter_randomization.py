"""Whether a map depends on what the network has learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from camtrain.messages import positive_integer
from camtrain.metrics.additive_score import AdditiveScore
from camtrain.metrics.checked import check_length, checked_tensor
from camtrain.metrics.map_similarity import Similarity, check_kind, named_similarity


class ParameterRandomization(AdditiveScore):
    """The mean difference between a network's maps and those of the network with random weights; higher is better.

        1/L Σ_l (1 - max(0, similarity_l))

    where similarity_l compares the map with the one after the topmost l of L groups of layers got random weights
    (`camtrain.evaluation.randomized_layers`). A method whose maps do not change, such as an edge detector, shows the
    image and not the network. The property `curve` is the mean similarity after each group.

    A high score means that the map depends on the weights, not that it is right. Noise scores high too, and so does a
    map that is zero everywhere once weights are random, which Grad-CAM's ReLU can produce. Methods also differ in how
    much structure they find with a random network (Hedström et al., Sanity Checks Revisited, 2023, arXiv 2401.06465).

    Args:
        num_stages: L, the number of groups of layers.
        kind: The kind of similarity (see `map_similarity`).
        kwargs: Passed on to `torchmetrics.Metric`.

    Raises:
        ValueError: If `num_stages` is no positive integer, or there is no such kind.

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
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    def __init__(self, num_stages: int, kind: Similarity = "spearman", **kwargs: Any) -> None:
        check_kind(kind)
        super().__init__(positive_integer("num_stages", num_stages) + 2, settings=[kind], **kwargs)
        self.num_stages = num_stages
        self.kind: Similarity = kind

    def update(self, cams: Tensor, randomized_cams: Tensor) -> None:
        """Count a batch.

        Args:
            cams: (N, H, W) maps of the network.
            randomized_cams: (N, L, H, W) maps of the same images after each group of layers was randomized.

        Raises:
            TypeError: If an argument is no tensor.
            ValueError: If the shapes do not fit, or a value is not finite.
        """
        super().update(cams, randomized_cams)

    def rows(self, cams: Tensor, randomized_cams: Tensor) -> Tensor:
        """[similarities, score, 1] of each image, (N, L + 2); the arguments are those of `update`."""
        maps = checked_tensor("cams", cams, "N, H, W")
        randomized = checked_tensor("randomized_cams", randomized_cams, f"N, {self.num_stages}, H, W")
        check_length("randomized_cams", randomized, "cams", maps)
        stages = randomized.unbind(dim=1)
        similar = [named_similarity("cams", maps, "randomized_cams", stage, self.kind) for stage in stages]
        similarities = torch.stack(similar, dim=1)
        score = (1 - similarities.clamp(min=0)).mean(dim=1, keepdim=True)
        return torch.cat([similarities, score, torch.ones_like(score)], dim=1)

    def value(self, total: Tensor) -> Tensor:
        """The mean score."""
        return total[..., -2] / total[..., -1]

    @property
    def curve(self) -> Tensor:
        """The mean similarity after each group of layers, (L,) float32."""
        return (self.total[:-2] / self.total[-1]).float()
