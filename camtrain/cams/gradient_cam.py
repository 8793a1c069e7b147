"""What maps from activations and gradients share: capture, choice of class, differentiation, fusion of layers."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from camtrain.cams.base_cam import BaseCAM
from camtrain.cams.normalize import normalize
from camtrain.cams.rectified import rectified
from camtrain.cams.resize import resize
from camtrain.gradients import ClassIndex, class_score
from camtrain.gradients.scaled_gradients import scaled_gradients


class GradientCAM(BaseCAM):
    """A map from the activations of a layer and the gradients of a class score: the base class of such methods.

    A subclass overrides `combine`, and `fuse` if it fuses the maps of several layers in its own way. See `BaseCAM` for
    the arguments.
    """

    is_rectified: ClassVar[bool] = False
    """Whether the map of a layer is the positive part of what `combine` returns."""
    revives_flat_maps = False
    """Whether a rectified map without a positive value keeps a gradient, with which a penalty can bring it back (see
    `camtrain.cams.rectified`)."""

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """Capture, differentiate, combine; fuse if there are several layers."""
        return self._combined(self.derivatives(images, class_idx))

    def maps_of_pass(self, activations: list[Tensor], logits: Tensor, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """Make maps from a pass that has been run already, such as the pass of a training step.

        Args:
            activations: The activations of each target layer in that pass, (N, C, h, w), as `captured` returns them.
            logits: The logits of that pass, (N, K).
            images: The images that the pass was run on, (N, C, H, W).
            class_idx: The class to explain, as for the call.

        Returns:
            (N, h, w), raw; in the graph if the method is `differentiable`.

        Raises:
            ValueError: If a class is out of range, or the logits do not depend on the activations.
        """
        return self._combined(self._derivatives_of_pass(activations, logits, images, class_idx))

    def _combined(self, derivatives: list[tuple[Tensor, Tensor]]) -> Tensor:
        maps = [self.combine(*of_layer) for of_layer in derivatives]
        if self.is_rectified:
            maps = [rectified(each, revived=self.revives_flat_maps) for each in maps]
        return maps[0] if len(maps) == 1 else self.fuse(maps)

    @abstractmethod
    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """The map of one layer, (N, h, w), from its activations and gradients, both (N, C, h, w).

        If `is_rectified`, the ReLU of the method follows and is not part of it.
        """

    def fuse(self, maps: list[Tensor]) -> Tensor:
        """Fuse the maps of several layers: the mean of the normalized maps, at the size of the largest.

        Each map is brought to [0, 1] by `normalize` and then to the size of the map with the most pixels by `resize`,
        so that no layer counts more because of the scale of its map. The map of a single layer is not fused: it stays
        raw.

        Args:
            maps: The map of each layer, (N, h, w), of at least two layers.

        Returns:
            (N, h, w) in [0, 1].
        """
        height, width = max((cams.shape[-2:] for cams in maps), key=lambda size: size[0] * size[1])
        return torch.stack([resize(normalize(cams), (height, width)) for cams in maps]).mean(dim=0)

    def derivatives(self, images: Tensor, class_idx: ClassIndex) -> list[tuple[Tensor, Tensor]]:
        """The activations and gradients of each target layer, both (N, C, h, w) and at least float32.

        One forward pass and one backward pass. In half precision, the gradients are taken at a scale at which they do
        not underflow (see `scaled_gradients`).

        Raises:
            ValueError: If the logits do not depend on the output of a layer.
        """
        return self._derivatives_of_pass(*self._pass(images), images, class_idx)

    def _derivatives_of_pass(
        self, activations: list[Tensor], logits: Tensor, images: Tensor, class_idx: ClassIndex
    ) -> list[tuple[Tensor, Tensor]]:
        score = class_score(logits, class_idx).sum()
        gradients: list[Tensor | None] = [None] * len(activations)
        if score.requires_grad:
            gradients = scaled_gradients(score, activations, images, create_graph=self.differentiable)
        return [(of_layer.to(found.dtype), found) for of_layer, found in zip(activations, _all(gradients), strict=True)]

    def _pass(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        with self.captured(images) as captured:
            logits = self.network(images)
        activations = captured.of_layers
        if not self.differentiable and isinstance(logits, Tensor) and not logits.requires_grad:
            # The network disables gradients around the layer and then restores the state from before the layer, which
            # is disabled too, since there was no graph yet. With a graph from the start, they are enabled again.
            with self.captured(images, differentiable=True) as captured:
                logits = self.network(images)
            activations = captured.of_layers
        return activations, logits


def _all(gradients: list[Tensor | None]) -> list[Tensor]:
    found = [gradient for gradient in gradients if gradient is not None]
    if len(found) < len(gradients):
        number = next(number for number, gradient in enumerate(gradients, start=1) if gradient is None)
        which = "this layer" if len(gradients) == 1 else f"layer {number} of {len(gradients)}"
        raise ValueError(f"`target_layer`: the logits do not depend on the output of {which}; choose another layer")
    return found
