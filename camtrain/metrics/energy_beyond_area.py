"""How much more of a map's energy lies on the object than that of a uniform map."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.metrics.energy_pointing_game import EnergyPointingGame
from camtrain.regions import Annotation


class EnergyBeyondArea(EnergyPointingGame):
    """The energy-based pointing game, corrected for the area of the objects; higher is better.

        score = (E − A) / (1 − A)

    E is the mean fraction of the maps' energy on the object, as in `EnergyPointingGame`. A is the mean fraction of the
    image that the object covers, which is the energy of a map that is the same everywhere. Such a map scores 0, a map
    that lies on the object scores 1, and one that avoids it scores −A / (1 − A). The means are taken first, so that an
    object that fills its image does not outweigh all others.

    See `RegionScore` for which images count. An object that covers its whole image leaves nothing to measure, and does
    not count either.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = EnergyBeyondArea()
        >>> metric.update(torch.eye(4).unsqueeze(0), [torch.tensor([[0.0, 0.0, 2.0, 2.0]])])
        >>> metric.compute()  # half of the energy on a quarter of the image: (1/2 − 1/4) / (1 − 1/4)
        tensor(0.3333)
    """

    plot_lower_bound = -1.0  # an axis's: of objects on more than half of their images, a score may be below it

    def rows(self, cams: Tensor, annotation: Annotation) -> Tensor:
        """As in `RegionScore`, with zeros for an object that covers its whole image; (N, 5)."""
        rows = super().rows(cams, annotation)
        return torch.where(rows[:, 4:] < 1, rows, 0.0)

    def value(self, total: Tensor) -> Tensor:
        """The mean energy of the counted images, corrected for their mean area."""
        energy, area = total[..., 0] / total[..., 1], total[..., 4] / total[..., 1]
        return torch.where(area < 1, (energy - area) / (1 - area), torch.nan)
