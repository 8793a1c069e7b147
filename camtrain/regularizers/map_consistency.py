"""Consistency: the map of a transformed image should be the transformed map of the image."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.messages import checked_fraction, checked_number
from camtrain.methods import resized_maps
from camtrain.regularizers.cam_regularizer import CAMRegularizer
from camtrain.regularizers.flat_maps import answered_for_flat_maps
from camtrain.regularizers.normalized_maps import by_norm, positive_by_maximum
from camtrain.regularizers.pass_regularizer import TrainingPass
from camtrain.regularizers.regularizer import Penalty

MapTransform = Literal["flip", "crop", "flip_crop"]


class MapConsistency(CAMRegularizer):
    """Pulls the map of a transformed image towards the transformed map of the image.

        E_i = 1/(HW) Σ (norm(T A(x_i)) - norm(A(T x_i)))²,    norm: A⁺ / max A⁺
        E_i = -log exp(s_ii/τ) / Σ_j exp(s_ij/τ),    s_ij: cosine of A(T x_i)⁺ and T A(x_j)⁺    with `contrastive`

    T is a horizontal flip, a random crop scaled to the size of the image, or both; each image has its own crop. A pair
    with a flat map has the penalty 1, as in `MapRegularizer`. Needs no annotation. Departures: the first form compares
    the normalized maps of the label; Guo et al. compare the maps of all classes without normalizing them.

    Args:
        method: The method that makes the map, such as `grad_cam` or `layer_cam`.
        target_layer: The layer of the map, by its dotted name; null is the last spatial layer.
        transform: T: `flip`, `crop`, or `flip_crop`.
        smallest_crop: The smallest height and width of a crop, as a fraction of the image's, in (0, 1].
        contrastive: Whether a map must also differ from the maps of other images (Pillai et al.).
        temperature: τ; 0.5 in the paper.

    Raises:
        ValueError: If there is no such transform, or a number is out of its range.

    Cost:
        A second forward and backward pass, with the transformed images.

    Source:
        Guo et al., Visual Attention Consistency under Image Transforms for Multi-Label Image Classification, CVPR 2019;
        Pillai et al., Consistent Explanations by Contrastive Learning, CVPR 2022, arXiv 2110.00527, eq. 3.
    """

    revives_flat_maps: ClassVar[bool] = True

    def __init__(
        self,
        method: str = "grad_cam",
        target_layer: str | list[str] | None = None,
        transform: MapTransform = "flip_crop",
        smallest_crop: float = 0.7,
        contrastive: bool = False,
        temperature: float = 0.5,
    ) -> None:
        super().__init__(method, target_layer)
        if transform not in get_args(MapTransform):
            raise ValueError(f"`transform`: expected one of {get_args(MapTransform)}, got {transform!r}")
        self.transform: MapTransform = transform
        self.smallest_crop = checked_fraction("smallest_crop", smallest_crop, zero=False)
        self.contrastive = contrastive
        self.temperature = checked_number("temperature", temperature, above=0)

    def penalty(self, training_pass: TrainingPass) -> Penalty:
        """See the class."""
        images = training_pass.images.detach()
        grid = self._grid(images)
        cams = self.cams(training_pass)
        moved_cams = F.grid_sample(cams.unsqueeze(1), grid.to(cams.dtype), align_corners=False).squeeze(1)
        moved_images = F.grid_sample(images, grid.to(images.dtype), align_corners=False)
        method = self.method_of(training_pass.network, images)
        return self._of_pairs(moved_cams, resized_maps(method, moved_images, training_pass.labels))

    def _of_pairs(self, moved_cams: Tensor, cams_of_moved: Tensor) -> Penalty:
        """The penalty of transformed maps and maps of transformed images, (N, H, W) each."""
        if self.contrastive:
            found = self._contrasted(moved_cams.relu(), cams_of_moved.relu())
        else:
            (first, first_alive), (second, second_alive) = map(positive_by_maximum, (moved_cams, cams_of_moved))
            found = Penalty((first - second).square().flatten(1).mean(dim=1), first_alive & second_alive)
        return answered_for_flat_maps(found, (moved_cams + cams_of_moved) / 2, ~found.counted)

    def _contrasted(self, moved_cams: Tensor, cams_of_moved: Tensor) -> Penalty:
        (first, first_alive), (second, second_alive) = map(by_norm, (moved_cams, cams_of_moved))
        alive = first_alive & second_alive
        similarities = second.flatten(1) @ first.flatten(1).T / self.temperature
        # A map of zeros is not a negative for other images. Its own row does not count, but has to stay finite.
        others = alive | torch.eye(len(alive), dtype=torch.bool, device=alive.device)
        similarities = similarities.masked_fill(~others, -torch.inf)
        own = torch.arange(len(alive), device=alive.device)
        return Penalty(F.cross_entropy(similarities, own, reduction="none"), alive)

    def _grid(self, images: Tensor) -> Tensor:
        """The source of each pixel of T x, (N, H, W, 2) in [-1, 1]."""
        count = len(images)
        scale = torch.ones(count)
        if "crop" in self.transform:
            scale = torch.empty(count).uniform_(self.smallest_crop, 1)
        shift = (torch.rand(count, 2) * 2 - 1) * (1 - scale).unsqueeze(1)
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0] = -scale if "flip" in self.transform else scale
        theta[:, 1, 1] = scale
        theta[:, :, 2] = shift
        return F.affine_grid(theta, list(images.shape), align_corners=False).to(images.device)

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"{super().extra_repr()}, transform={self.transform!r}, contrastive={self.contrastive}"
