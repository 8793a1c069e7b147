"""The image without content that attributions compare an image with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from camtrain.gradients.not_inference import not_inference

Baseline: TypeAlias = float | Sequence[float] | Tensor
"""A baseline as the network would get it: a number, one number for each channel, or a tensor that broadcasts to the
images. For normalized images, zero is the mean color of the data set."""


def checked_baseline(baseline: Baseline) -> Baseline:
    """The baseline itself.

    Raises:
        TypeError: If it is no number and no tensor.
        ValueError: If a value is not finite.
    """
    try:
        values = torch.as_tensor(baseline)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"`baseline`: expected a number, one for each channel, or a tensor, got {baseline!r}"
        ) from error
    if not bool(values.isfinite().all()):
        raise ValueError(f"`baseline`: expected finite values, got {baseline}")
    return baseline


def baseline_of(baseline: Baseline, images: Tensor) -> Tensor:
    """The baseline of each image, of the shape, type and device of the images.

    Raises:
        ValueError: If it does not broadcast to the images.

    Example:
        >>> baseline_of([1.0, 2.0, 3.0], torch.zeros(2, 3, 1, 1))[1].flatten()
        tensor([1., 2., 3.])
    """
    found = not_inference(torch.as_tensor(baseline, dtype=images.dtype, device=images.device))
    try:
        if found.dim() == 1:  # one for each channel, also where there is only one
            return found.view(images.shape[1], 1, 1).expand_as(images)
        return found.expand_as(images)
    except RuntimeError as error:
        raise ValueError(
            f"`baseline`: expected a number, one for each channel, or a tensor that broadcasts to the images, "
            f"{tuple(images.shape)}, got {tuple(found.shape)}"
        ) from error
