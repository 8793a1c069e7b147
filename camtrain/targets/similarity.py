"""The similarity of an image's embedding to another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from camtrain.gradients import Target


@dataclass(frozen=True, eq=False)
class Similarity(Target):
    """The cosine of an image's embedding with another one: why two images, or an image and a text, are alike.

    Args:
        reference: The other embedding: (D,) for all images, or (N, D).

    Example:
        >>> import torch
        >>> Similarity(torch.tensor([1.0, 0.0]))(torch.tensor([[3.0, 4.0]]))
        tensor([0.6000])
    """

    reference: Tensor

    def __call__(self, output: Any) -> Tensor:
        """The cosine of each image, (N,).

        Raises:
            ValueError: If the output is not (N, D), or the reference has another D or N.
        """
        if not isinstance(output, Tensor) or output.dim() != 2:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"`network`: expected embeddings (N, D), got {got}")
        reference = self.reference.detach().to(output.device, output.dtype)
        if reference.shape not in (output.shape, output.shape[1:]):
            expected = f"{tuple(output.shape[1:])} or {tuple(output.shape)}"
            raise ValueError(f"`reference`: expected an embedding {expected}, got {tuple(reference.shape)}")
        return F.cosine_similarity(output, reference.expand_as(output), dim=1)

    def changed(self, change: Callable[[Tensor], Tensor]) -> Similarity:
        """See `Target.changed`."""
        return Similarity(change(self.reference)) if self.reference.dim() == 2 else self
