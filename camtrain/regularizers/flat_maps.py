"""What a penalty says of a map without a positive value, so that no penalty is evaded by switching maps off."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.regularizers.regularizer import Penalty

FLAT_PENALTY = 1.0
"""The penalty of a flat map; in the energy loss it is the largest value, and the paper's."""

REVIVAL = 10.0
"""The size of the gradient that raises a flat map, for a penalty whose usual value is about a half, as the energy loss.

The energy loss is blind to the size of a map: its own gradient grows as a map fades, and can switch the map off in one
step. What raises the map again has to be stronger than an ordinary gradient; see experiments/attention_pets.
"""


def is_flat(cams: Tensor) -> Tensor:
    """Which maps, (N, H, W), have no positive value: (N,) bool. A NaN is none that is missing."""
    return cams.detach().amax(dim=(-2, -1)) <= torch.finfo(cams.dtype).tiny


def answered_for_flat_maps(
    penalty: Penalty, cams: Tensor, flat: Tensor, places: Tensor | None = None, revival: float = REVIVAL
) -> Penalty:
    """Give each flat map the penalty 1, and a gradient that raises the map.

        E_i = 1,    ∂E_i/∂A = -r · 1_P / (HW)

    The flat maps of Grad-CAM and XGrad-CAM pass this gradient on to what their ReLU has cut off, in the unit of its
    mean magnitude, so that its size does not depend on that of the map (see `GradientCAM.revives_flat_maps`).

    Args:
        penalty: The penalty of each image; the values of flat maps are replaced.
        cams: The maps, (N, H, W).
        flat: (N,) bool, which maps are flat.
        places: (N, H, W) bool, where the map should rise; `None` is everywhere.
        revival: r, the size of the gradient.

    Returns:
        The penalties, with flat maps counted and marked.

    Example:
        >>> cams = torch.zeros(1, 2, 2, requires_grad=True)
        >>> empty = Penalty(torch.zeros(1), torch.tensor([False]))
        >>> found = answered_for_flat_maps(empty, cams, torch.tensor([True]))
        >>> found.values.sum().backward()
        >>> found.counted, cams.grad
        (tensor([True]), tensor([[[-2.5000, -2.5000],
                 [-2.5000, -2.5000]]]))
    """
    raised = (cams if places is None else cams * places).flatten(1).mean(dim=1)
    values = torch.where(flat, FLAT_PENALTY - revival * (raised - raised.detach()), penalty.values)
    return Penalty(values, penalty.counted | flat, flat)
