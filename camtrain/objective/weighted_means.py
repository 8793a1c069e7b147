"""Means over all images of an evaluation, in one process or several."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed
from torch import Tensor

from camtrain.objective.term_record import in_several_processes


class WeightedMeans:
    """Means of numbers that come with each batch, weighted by the images behind them.

    Lightning's own reduction over processes rounds the mean number of images to an integer, and is wrong where they do
    not divide evenly.

    Args:
        names: The names of the means; the same in the same order in all processes.

    Example:
        >>> means = WeightedMeans(["loss"])
        >>> means.add("loss", torch.tensor(1.0), 3)
        >>> means.add("loss", torch.tensor(5.0), 1)
        >>> means.values()
        {'loss': 2.0}
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._sums: dict[str, Tensor | float] = dict.fromkeys(names, 0.0)
        self._weights = dict.fromkeys(self._sums, 0)

    def add(self, name: str, value: Tensor, num_images: int) -> None:
        """Add a mean over some images.

        Args:
            name: One of the names.
            value: 0-dim; ignored if there are no images.
            num_images: The number of images that it is the mean of.
        """
        if num_images:
            self._sums[name] = self._sums[name] + value.detach().to(_precision(value.device)) * num_images
            self._weights[name] += num_images

    def values(self, device: torch.device | str = "cpu") -> dict[str, float]:
        """The means over all processes; without those that no process has added to.

        Args:
            device: Where the processes exchange their sums.
        """
        precision = _precision(torch.device(device))
        pairs = [[float(self._sums[name]), float(self._weights[name])] for name in self._sums]
        both = torch.tensor(pairs, dtype=precision, device=device)
        if in_several_processes():
            torch.distributed.all_reduce(both)
        return {
            name: total / count for name, (total, count) in zip(self._sums, both.tolist(), strict=True) if count > 0
        }


def _precision(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
