"""What maps made of activations and gradients share: capture, class selection, differentiation, fusion of layers."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from camtrain.cams.base_cam import BaseCAM
from camtrain.cams.normalize import normalize
from camtrain.cams.resize import resize
from camtrain.gradients import ClassIndex, class_score
from camtrain.gradients.scaled_gradients import scaled_gradients


class GradientCAM(BaseCAM):
    """A map as a function of a layer's activations and of the gradient of a class score with respect to them.

    A method of the family overrides `combine`, and `fuse` where it puts the maps of several layers together in its own
    way. See `BaseCAM` for the arguments.
    """

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """Capture, differentiate, combine; fuse where there are several layers."""
        return self._combined(self.derivatives(images, class_idx))

    def maps_of_pass(self, activations: list[Tensor], logits: Tensor, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """Maps from a pass that was run already, such as that of a training step.

        Args:
            activations: (N, C, h, w) of each target layer, as `captured` finds them in that pass.
            logits: (N, K), of that pass.
            images: (N, 3, H, W), that the pass was run on.
            class_idx: as for the call.

        Returns:
            (N, h, w), raw; in the graph if the method is `differentiable`.

        Raises:
            ValueError: if a class is out of range, or the logits do not depend on the activations.
        """
        return self._combined(self._derivatives_of_pass(activations, logits, images, class_idx))

    def _combined(self, derivatives: list[tuple[Tensor, Tensor]]) -> Tensor:
        maps = [self.combine(*of_layer) for of_layer in derivatives]
        return maps[0] if len(maps) == 1 else self.fuse(maps)

    @abstractmethod
    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """From (N, C, h, w) activations and gradients of one layer to its map, (N, h, w)."""

    def fuse(self, maps: list[Tensor]) -> Tensor:
        """From the maps of several layers to one: the mean of normalized maps, at the size of the largest.

        Each map is brought to [0, 1] by `normalize` and then to the size of the one with the most pixels by `resize`,
        so that no layer counts more for the scale of its map. With one layer this is not called: its map stays raw.

        Args:
            maps: (N, h, w) of each layer, of at least two layers.

        Returns:
            (N, h, w) in [0, 1].
        """
        height, width = max((cams.shape[-2:] for cams in maps), key=lambda size: size[0] * size[1])
        return torch.stack([resize(normalize(cams), (height, width)) for cams in maps]).mean(dim=0)

    def derivatives(self, images: Tensor, class_idx: ClassIndex) -> list[tuple[Tensor, Tensor]]:
        """Activations and gradients of each target layer, both (N, C, h, w) and at least float32.

        One pass forward and one backward. In half precision the gradients are taken at a scale at which they do not
        vanish (see `scaled_gradients`).

        Raises:
            ValueError: if the logits do not depend on what a layer puts out.
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
            # The network itself turns gradients off for the part that the layer is in, and behind it back to what they
            # were before the layer: off, for want of a graph there. With a graph from the start they are on.
            with self.captured(images, differentiable=True) as captured:
                logits = self.network(images)
            activations = captured.of_layers
        return activations, logits


def _all(gradients: list[Tensor | None]) -> list[Tensor]:
    found = [gradient for gradient in gradients if gradient is not None]
    if len(found) < len(gradients):
        number = next(number for number, gradient in enumerate(gradients, start=1) if gradient is None)
        which = "this layer" if len(gradients) == 1 else f"layer {number} of {len(gradients)}"
        raise ValueError(f"`target_layer`: the logits do not depend on what {which} puts out; choose another")
    return found
