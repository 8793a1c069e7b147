"""Small networks whose maps are known.

Tests of commands copy this file to their folder as `my_code.py`, the code of a user.
"""

from __future__ import annotations

import torch
from torch import nn

from camtrain.networks import LFICAM, CIFARResNet


class Red(nn.Sequential):
    """Its Grad-CAM for class 0 is the red channel, and for class 1 a fifth of the green one."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 2, 1, bias=False),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2, 2, bias=False),
        )
        with torch.no_grad():
            self[0].weight.copy_(torch.eye(2, 3)[..., None, None])
            self[4].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.2]]))


def tiny():
    torch.manual_seed(3)
    return CIFARResNet(depth=8, num_classes=3, width=4)


def attended():
    return LFICAM(tiny(), 3, image_size=8, width=4, blocks=1)


def flat_head():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))
