"""Batch normalization that can be differentiated any number of times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class ComposedBatchNorm(TorchFunctionMode):
    """A context in which batch normalization is composed of sums and products.

    torch's own batch normalization can be differentiated twice. A penalty on a second derivative needs the third.
    Running statistics are not updated inside. SyncBatchNorm in training mode is left as it is.

    Cost:
        Several times the memory and time of torch's own batch normalization.

    Example:
        >>> layer, images = torch.nn.BatchNorm2d(3), torch.rand(2, 3, 4, 4)
        >>> with ComposedBatchNorm():
        ...     composed = layer(images)
        >>> torch.allclose(composed, layer(images), atol=1e-5)
        True
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Replace one call; torch passes each call of its functions here."""
        if function is F.batch_norm:
            return composed_batch_norm(*args, **(kwargs or {}))
        if function is torch.batch_norm:
            images, weight, bias, running_mean, running_var, training, momentum, eps, _ = args
            return composed_batch_norm(images, running_mean, running_var, weight, bias, training, momentum, eps)
        return function(*args, **(kwargs or {}))


def composed_batch_norm(
    features: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """What `torch.nn.functional.batch_norm` computes from arguments in the same order; nothing is updated.

    Args:
        features: (N, C, ...).
        running_mean: (C,); used unless `training`.
        running_var: (C,); used unless `training`.
        weight: (C,), the factor of each channel; `None` is 1.
        bias: (C,), what is added to each channel; `None` is 0.
        training: Whether to normalize by the mean and the variance of these features.
        momentum: Ignored, since nothing is updated.
        eps: What is added to the variance.

    Returns:
        As the features, and in their precision; computed in at least float32.

    Example:
        >>> composed_batch_norm(torch.tensor([[1.0], [3.0]]), training=True)
        tensor([[-1.0000],
                [ 1.0000]])
    """
    values = features.to(torch.promote_types(features.dtype, torch.float32))
    shape = [1, -1, *[1] * (features.dim() - 2)]
    if training:
        axes = [axis for axis in range(features.dim()) if axis != 1]
        mean = values.mean(axes, keepdim=True)
        variance = (values - mean).square().mean(axes, keepdim=True)
    else:
        assert running_mean is not None  # torch requires both
        assert running_var is not None
        mean, variance = running_mean.view(shape), running_var.view(shape)
    normalized = (values - mean) * (variance + eps).rsqrt()
    if weight is not None:
        normalized = normalized * weight.view(shape)
    if bias is not None:
        normalized = normalized + bias.view(shape)
    return normalized.to(features.dtype)
