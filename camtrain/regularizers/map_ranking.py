"""HINT: the regions of the object must be more important than all others."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from camtrain.messages import checked_integer
from camtrain.regularizers.annotated_regions import AnnotationKind
from camtrain.regularizers.map_regularizer import ClassOf, MapRegularizer
from camtrain.regularizers.normalized_maps import by_largest_magnitude
from camtrain.regularizers.regularizer import Penalty

_SAME = 1e-5  # A smaller difference between two human importances is rounding.


def rank_violations(importance: Tensor, human: Tensor) -> Penalty:
    """By how much the importance of regions violates the order that human importance asks for.

        E_i = 1/|P_i| Σ_{(r,s) ∈ P_i} max(0, α_is - α_ir),    P_i = {(r, s): h_ir > h_is}

    Args:
        importance: α, (N, R), the importance of each region to the network.
        human: h, (N, R), its importance to humans.

    Returns:
        (N,). Images whose regions are all equally important to humans do not count.

    Cost:
        N·R² numbers in memory.

    Example:
        >>> import torch
        >>> rank_violations(torch.tensor([[0.1, 0.4, 0.3]]), torch.tensor([[1.0, 0.0, 0.0]])).values
        tensor([0.2500])
    """
    ordered = human.unsqueeze(2) > human.unsqueeze(1) + _SAME
    violations = (importance.unsqueeze(1) - importance.unsqueeze(2)).relu() * ordered
    num_pairs = ordered.flatten(1).sum(dim=1)
    return Penalty(violations.flatten(1).sum(dim=1) / num_pairs.clamp(min=1), num_pairs > 0)


class MapRanking(MapRegularizer):
    """HINT: the more of a region belongs to the object, the more important the region must be to the network.

        E_i = 1/|P_i| Σ_{(r,s) ∈ P_i} max(0, α_is - α_ir),    P_i = {(r, s): h_ir > h_is}

    The regions are g × g rectangles that cover the image, and overlap by a pixel where g does not divide its size. h_ir
    is the fraction of region r that lies on the object, and α_ir the mean of the raw map in region r, divided by the
    largest magnitude of all regions. E_i is in [0, 2], and 0 if all regions are in the right order: how important the
    object is does not matter, as long as nothing else is more important. An image does not count if the object
    fills all regions alike. For a map that is zero everywhere see `MapRegularizer`.

    The default map, HiResCAM, is the sum over the channels of gradient times activation.

    Args:
        method: The method that makes the map, such as `hi_res_cam` or `grad_cam`; or `input_gradient`.
        target_layer: The layer of the map, by its dotted name; null is the last layer with pixels or tokens.
        annotation: Where the object is: `masks`, `boxes`, or `any`: masks where an image has one, otherwise its boxes.
        class_of: The class whose map is penalized: `label`; `every_label`, each class that the image shows, if there
            may be several; or `random`, drawn for each image in each step.
        grid: g, the number of rows and columns of regions, at least 2. 6 makes 36 regions, as many as the object
            proposals of the paper's network.

    Raises:
        ValueError: If `grid` is below 2, or as in `MapRegularizer`.

    Source:
        Selvaraju et al., Taking a HINT: Leveraging Explanations to Make Vision and Language Models More Grounded, ICCV
        2019, arXiv 1902.03751, for visual question answering. Departures: rectangles of the image replace object
        proposals. Gradient times activation replaces the sum of the gradient over the channels, which behind global
        average pooling is the same in all regions and ranks nothing. The importances are divided by the largest, so
        that a network cannot shrink the penalty with them, and the mean over the pairs replaces the sum, so that λ
        depends neither on the layer nor on the number of regions.

    Example:
        >>> import torch
        >>> cams, regions = torch.tensor([[[2.0, 4.0], [1.0, 1.0]]]), torch.tensor([[[True, False], [False, False]]])
        >>> MapRanking(grid=2)(cams, regions).values
        tensor([0.1667])
    """

    needs_annotation: ClassVar[bool] = True

    def __init__(
        self,
        method: str = "hi_res_cam",
        target_layer: str | list[str] | None = None,
        annotation: AnnotationKind = "any",
        class_of: ClassOf = "label",
        grid: int = 6,
    ) -> None:
        super().__init__(method, target_layer, annotation, class_of)
        self.grid = checked_integer("grid", grid, at_least=2)

    def forward(self, cams: Tensor, regions: Tensor | None = None) -> Penalty:
        """See `MapRegularizer`."""
        assert regions is not None
        importance, alive = by_largest_magnitude(self._in_regions(cams))
        human = self._in_regions(regions.to(cams.dtype))
        found = rank_violations(importance.flatten(1), human.flatten(1))
        return Penalty(found.values, found.counted & alive)

    def _in_regions(self, maps: Tensor) -> Tensor:
        """The mean of each region, (N, g, g)."""
        return F.adaptive_avg_pool2d(maps, self.grid)

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"{super().extra_repr()}, grid={self.grid}"
