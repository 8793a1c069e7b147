"""The accuracy of each group of images, and of the worst one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from camtrain.objective.weighted_means import WeightedMeans

WORST = "accuracy_worst_group"


class GroupAccuracies:
    """The accuracy of each group, over all images of an evaluation.

    Args:
        names: The names of the groups, in the order of their indices; the same in all processes.

    Source: Sagawa et al., "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020, arXiv 1911.08731.

    Example:
        >>> accuracies = GroupAccuracies(["land", "water"])
        >>> predicted, labels, groups = torch.tensor([1, 0, 0]), torch.tensor([1, 0, 1]), torch.tensor([0, 1, 1])
        >>> accuracies.add(predicted, labels, groups)
        >>> accuracies.values()
        {'accuracy_per_group/land': 1.0, 'accuracy_per_group/water': 0.5, 'accuracy_worst_group': 0.5}
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = [f"accuracy_per_group/{name}" for name in names]
        self._means = WeightedMeans(self._names)

    def add(self, predicted: Tensor, labels: Tensor, groups: Tensor) -> None:
        """Count the images of a batch.

        Args:
            predicted: (N,) class indices.
            labels: (N,) class indices.
            groups: (N,) indices of groups.

        Raises:
            ValueError: If an index is not that of a group.
        """
        for group in torch.unique(groups).tolist():
            if not 0 <= group < len(self._names):
                raise ValueError(
                    f"`groups`: expected 0 to {len(self._names) - 1}, the groups that the data module names in "
                    f"`group_names`, got {group}"
                )
            members = groups == group
            self._means.add(self._names[group], (predicted == labels)[members].float().mean(), int(members.sum()))

    def values(self, device: torch.device | str = "cpu") -> dict[str, float]:
        """The accuracy of each group that has images, and the lowest of them; empty if no image has a group."""
        found = self._means.values(device)
        return found | ({WORST: min(found.values())} if found else {})
