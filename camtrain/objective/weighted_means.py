"""Means over all images of an epoch or an evaluation, in one process or several."""

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
        names: The names of the means; the same in the same order in all processes. Others may be added, of which each
            process has its own means.

    Example:
        >>> means = WeightedMeans(["loss"])
        >>> means.add("loss", torch.tensor(1.0), 3)
        >>> means.add("loss", torch.tensor(5.0), 1)
        >>> means.values()
        {'loss': 2.0}
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._shared = tuple(names)
        self._sums: dict[str, Tensor | float] = dict.fromkeys(self._shared, 0.0)
        self._weights = dict.fromkeys(self._sums, 0)

    def add(self, name: str, value: Tensor | float, num_images: int) -> None:
        """Add a mean over some images.

        Args:
            name: Its name.
            value: 0-dim; ignored if there are no images.
            num_images: The number of images that it is the mean of.
        """
        if num_images:
            precise = value.detach().to(_precision(value.device)) if isinstance(value, Tensor) else value
            self._sums[name] = self._sums.get(name, 0.0) + precise * num_images
            self._weights[name] = self._weights.get(name, 0) + num_images

    def own_values(self) -> dict[str, float]:
        """The means over the images of this process."""
        return {name: float(total) / self._weights[name] for name, total in self._sums.items() if self._weights[name]}

    def values(self, device: torch.device | str = "cpu") -> dict[str, float]:
        """The means over all processes, without those that no process has added to; own means of other names.

        Args:
            device: Where the processes exchange their sums.
        """
        precision = _precision(torch.device(device))
        pairs = [[float(self._sums[name]), float(self._weights[name])] for name in self._shared]
        both = torch.tensor(pairs, dtype=precision, device=device).reshape(-1, 2)
        if in_several_processes():
            torch.distributed.all_reduce(both)
        known = zip(self._shared, both.tolist(), strict=True)
        return self.own_values() | {name: total / count for name, (total, count) in known if count > 0}


def _precision(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
