"""The map that is 1 everywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.controls.base_control import BaseControl
from camtrain.gradients import ClassIndex


class UniformMap(BaseControl):
    """The map m = 1 of every image.

    It hides nothing: image ⊙ m is the image, so average drop, increase and gain are 0 but for rounding. All its pixels
    are equal, so insertion and deletion change them row by row, from the top. Its energy on an object is the object's
    area.

    Args:
        network: The network whose maps the control is compared with.

    Cost:
        No pass.

    Example:
        >>> UniformMap(torch.nn.Identity())(torch.rand(1, 3, 1, 2))
        tensor([[[1., 1.]]])
    """

    def __call__(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """Make the maps of a batch; see `BaseControl`. The classes do not matter."""
        dtype = torch.promote_types(images.dtype, torch.float32)
        return torch.ones(len(images), *images.shape[-2:], dtype=dtype, device=images.device)
