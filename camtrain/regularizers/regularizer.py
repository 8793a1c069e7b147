"""What every regularizer is."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from camtrain.regularizers.annotated_regions import AnnotationKind


class Penalty(NamedTuple):
    """The penalty of each image, where some images have none to speak of.

    Attributes:
        values: (N,); what stands at images that do not count plays no part.
        counted: (N,) bool: false for an image without annotation, or with a map that is the same everywhere.
    """

    values: Tensor
    counted: Tensor


class Regularizer(nn.Module, ABC):
    """L_R, the mean of a penalty over the images that count.

    There are two kinds: an `InputGradientRegularizer` penalizes the gradient at the input, and an engine takes its
    gradient to the parameters; a `PassRegularizer` penalizes what a training pass computes, such as a map. A `Sum`
    holds several.
    """

    default_weight: ClassVar[float] = 1.0
    """λ where none is given: that of the method's paper, where it has one."""
    needs_annotation: ClassVar[bool] = False
    """Whether images without a box and a mask have no penalty."""

    @property
    def looks_at(self) -> AnnotationKind | None:
        """The annotation without which it cannot work; `None` if it looks at none."""
        return "any" if self.needs_annotation else None


def as_penalty(found: Tensor | Penalty) -> Penalty:
    """A penalty, of plain values with every image counted.

    Example:
        >>> as_penalty(torch.tensor([1.0, 2.0])).counted
        tensor([True, True])
    """
    return found if isinstance(found, Penalty) else Penalty(found, torch.ones_like(found, dtype=torch.bool))
