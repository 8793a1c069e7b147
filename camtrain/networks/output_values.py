"""All that a network puts out, as one tensor."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def output_values(output: object) -> Tensor:
    """The output itself if it is a tensor; else all floating-point tensors in it, flat and one after the other.

    Args:
        output: A tensor; or tuples, lists and dictionaries with tensors in them.

    Example:
        >>> output_values({"out": torch.ones(2, 2), "boxes": [torch.zeros(1)], "labels": torch.tensor([3])})
        tensor([1., 1., 1., 1., 0.])
    """
    if isinstance(output, Tensor):
        return output
    found = [tensor.flatten() for tensor in _tensors(output) if tensor.is_floating_point()]
    return torch.cat(found) if found else torch.zeros(0)


def _tensors(output: object) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        yield from _tensors(list(output.values()))
    elif isinstance(output, (tuple, list)):
        for each in output:
            yield from _tensors(each)
