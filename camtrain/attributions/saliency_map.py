"""One map per image from attributions, which have a value for each channel."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

ChannelReduction = Literal["max", "sum"]
"""`"max"`: the largest magnitude over the channels. `"sum"`: their sum, with its sign."""


def saliency_map(attributions: Tensor, reduction: ChannelReduction = "max") -> Tensor:
    """Reduce attributions to one map per image: one value for each pixel from those of its channels. Differentiable.

        "max":  m_ij = max_c |a_cij|,    which is never negative
        "sum":  m_ij = Σ_c a_cij,        which has the same sum as the attributions

    Use "max" for gradients, whose sign says little about a pixel, and "sum" for attributions that add up to the score,
    such as those of `IntegratedGradients`.

    Args:
        attributions: The attributions, (N, C, H, W), signed.
        reduction: How the channels are reduced, `"max"` or `"sum"`.

    Returns:
        (N, H, W), raw.

    Raises:
        ValueError: If the attributions have another shape, or `reduction` is another word.

    Source:
        "max": Simonyan et al., Deep Inside Convolutional Networks, ICLR workshop 2014, section 3.1, arXiv 1312.6034.

    Example:
        >>> import torch
        >>> attributions = torch.tensor([1.0, -3.0, 0.5]).view(1, 3, 1, 1)
        >>> saliency_map(attributions), saliency_map(attributions, "sum")
        (tensor([[[3.]]]), tensor([[[-1.5000]]]))
    """
    if attributions.dim() != 4:
        raise ValueError(f"`attributions`: expected (N, C, H, W), got {tuple(attributions.shape)}")
    check_reduction(reduction)
    return attributions.abs().amax(dim=1) if reduction == "max" else attributions.sum(dim=1)


def check_reduction(reduction: object) -> None:
    """Check the argument of that name.

    Raises:
        ValueError: If it is no `ChannelReduction`.
    """
    if reduction not in get_args(ChannelReduction):
        raise ValueError(f"`reduction`: expected 'max' or 'sum', got {reduction!r}")
