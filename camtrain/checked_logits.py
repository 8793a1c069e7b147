"""The check that a network puts out logits."""

from __future__ import annotations

from torch import Tensor


def checked_logits(logits: object, num_images: int | None = None) -> Tensor:
    """The output of a network, if it has the shape of logits.

    Args:
        logits: What the network puts out.
        num_images: N. `None` accepts any number.

    Returns:
        The same tensor, (N, K).

    Raises:
        ValueError: If the output is not a tensor of two axes, or has another number of rows than `num_images`.

    Example:
        >>> import torch
        >>> checked_logits(torch.zeros(2, 10, 7, 7))
        Traceback (most recent call last):
        ValueError: `network`: expected (N, K) logits, got (2, 10, 7, 7)
    """
    if isinstance(logits, Tensor) and logits.dim() == 2 and num_images in (None, len(logits)):
        return logits
    count = "N" if num_images is None else num_images
    raise ValueError(f"`network`: expected ({count}, K) logits, got {described_output(logits)}")


def described_output(output: object) -> str:
    """What a network puts out that are no logits, for a message: the shape of a tensor, or the type and the way out.

    Example:
        >>> described_output((1, 2))
        'tuple; camtrain.networks.LogitsOf(network) takes the logits out of such an output'
    """
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    hint = "; camtrain.networks.LogitsOf(network) takes the logits out of such an output"
    return type(output).__name__ + hint
