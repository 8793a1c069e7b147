"""What all control maps share: they are called as a method is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from camtrain.gradients import ClassIndex
from camtrain.networks import module_of


class BaseControl(ABC):
    """A map that does not come from what the network says about the image: the base class of all controls.

    A score of a control says how much of a score the map itself does not earn. A network that is robust to hidden
    pixels, for instance, scores well with any map.

    Args:
        network: The network whose maps the control is compared with.

    Attributes:
        is_normalized: Whether the maps are in [0, 1] as they are. If so, nobody normalizes them again. This matters for
            a flat map: a method's flat map shows nothing and becomes zeros, but a uniform control is 1 everywhere.
    """

    is_normalized: ClassVar[bool] = True

    def __init__(self, network: nn.Module) -> None:
        self.network = module_of(network)

    @abstractmethod
    def __call__(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """Make the maps of a batch.

        Args:
            images: The images, (N, C, H, W).
            class_idx: The classes to explain, as a method takes them.

        Returns:
            (N, H, W) on the device of the images, at least float32.
        """
