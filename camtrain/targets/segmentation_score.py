"""The score of a class inside a part of the image, of a network that classifies pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from camtrain.gradients import Target
from camtrain.targets.per_image import changed_classes, classes_of


@dataclass(frozen=True, eq=False)
class SegmentationScore(Target):
    """The mean logit of a class over the pixels of a mask, of a network that puts out (N, K, h, w) logits.

        y = Σ_ij M_ij z_cij / Σ_ij M_ij

    Args:
        class_idx: The class c: one for all images, or (N,) integers. `None` takes the class of the most pixels of each
            image, and inside a given mask of the most pixels of the mask.
        masks: M, (N, H, W) or (H, W) bool; a mask of another size than the logits is resized to theirs. `None` takes
            the pixels that the network gives to the class.

    Source:
        Vinogradova et al., Towards Interpretable Semantic Segmentation via Gradient-weighted Class Activation Mapping,
        AAAI 2020, arXiv 2002.11434. Departure: the mean in place of the sum, so that the size of the mask does not
        matter.

    Example:
        >>> logits = torch.tensor([[[[1.0, 5.0]], [[2.0, 3.0]]]])  # two classes, two pixels
        >>> SegmentationScore(1)(logits)  # the first pixel is of class 1
        tensor([2.])
        >>> SegmentationScore(1, torch.tensor([[True, True]]))(logits)
        tensor([2.5000])
    """

    class_idx: int | Tensor | None = None
    masks: Tensor | None = None

    def __call__(self, output: Any) -> Tensor:
        """The mean logit of each image, (N,); 0 of a mask without a pixel.

        Raises:
            ValueError: If the output is not (N, K, h, w), a class is none of the K, or a mask has another shape.
        """
        logits = _checked(output)
        masks = self._masks(logits)
        classes = self._classes(logits, masks)
        found = logits[torch.arange(len(logits), device=logits.device), classes]
        inside = self._of_class(logits, classes) if masks is None else masks
        return (found * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)

    def fixed(self, output: Any) -> SegmentationScore:
        """With the classes and pixels that this output predicts in the place of `None`."""
        logits = _checked(output).detach()
        masks = self._masks(logits)
        classes = self._classes(logits, masks)
        return SegmentationScore(classes, self._of_class(logits, classes) if masks is None else masks)

    def changed(self, change: Callable[[Tensor], Tensor]) -> SegmentationScore:
        """See `Target.changed`."""
        per_image = self.masks is not None and self.masks.dim() == 3
        masks = change(self.masks) if per_image and self.masks is not None else self.masks
        return SegmentationScore(changed_classes(self.class_idx, change), masks)

    def _masks(self, logits: Tensor) -> Tensor | None:
        if self.masks is None:
            return None
        masks = self.masks.to(logits.device)
        masks = masks.expand(len(logits), *masks.shape) if masks.dim() == 2 else masks
        if masks.dim() != 3 or len(masks) != len(logits):
            raise ValueError(f"`masks`: expected ({len(logits)}, H, W) or (H, W), got {tuple(self.masks.shape)}")
        if masks.shape[1:] != logits.shape[2:]:
            masks = F.interpolate(masks.unsqueeze(1).float(), size=logits.shape[2:], mode="nearest").squeeze(1)
        return masks > 0

    def _classes(self, logits: Tensor, masks: Tensor | None) -> Tensor:
        predicted = F.one_hot(logits.detach().argmax(dim=1), logits.shape[1])  # (N, h, w, K)
        if masks is not None:
            predicted = predicted * masks.unsqueeze(-1)
        return classes_of(self.class_idx, predicted.sum(dim=(1, 2)))

    @staticmethod
    def _of_class(logits: Tensor, classes: Tensor) -> Tensor:
        return logits.detach().argmax(dim=1) == classes.view(-1, 1, 1)


def _checked(output: object) -> Tensor:
    if isinstance(output, Tensor) and output.dim() == 4:
        return output
    got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise ValueError(
        f"`network`: expected (N, K, h, w) logits of pixels, got {got}; of one output among several, use "
        "`camtrain.targets.OutputPart`"
    )
