"""The base of all regularizers."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from camtrain.regularizers.annotated_regions import AnnotationKind


class Penalty(NamedTuple):
    """The penalty of each image, where some images do not count.

    Attributes:
        values: (N,); entries of images that do not count are ignored.
        counted: (N,) bool, whether an image counts. One without annotation does not.
        flat: (N,) bool, which of the images have a map without a positive value; `None` for penalties of something
            else than maps.
    """

    values: Tensor
    counted: Tensor
    flat: Tensor | None = None


class Regularizer(nn.Module, ABC):
    """L_R, the mean of a penalty over the images that count.

    In training, the sum over a batch is divided by the number of its images that is expected to count: its size times
    the fraction that has counted so far.

    Derive from one of its two kinds: an `InputGradientRegularizer` penalizes the gradient at the input, and an engine
    takes its gradient to the parameters; a `PassRegularizer` penalizes what a training pass computes, such as a map. A
    `Sum` holds several regularizers.
    """

    default_weight: ClassVar[float] = 1.0
    """λ if none is given; the value of the method's paper, if there is one."""
    needs_annotation: ClassVar[bool] = False
    """Whether only images with boxes or a mask have a penalty."""
    trained_metrics: ClassVar[tuple[str, ...]] = ()
    """The metrics that it improves by construction; a report names those of camtrain's own regularizers apart."""

    @property
    def needs_class(self) -> bool:
        """Whether the penalty is about a class that the image shows; an image that shows none does not count."""
        return True

    @property
    def looks_at(self) -> AnnotationKind | None:
        """The annotation that the regularizer needs; `None` if it needs none."""
        return "any" if self.needs_annotation else None


def as_penalty(found: Tensor | Penalty) -> Penalty:
    """A `Penalty`; plain values become one in which every image counts.

    Example:
        >>> as_penalty(torch.tensor([1.0, 2.0])).counted
        tensor([True, True])
    """
    return found if isinstance(found, Penalty) else Penalty(found, torch.ones_like(found, dtype=torch.bool))
