"""captum, which some attributions are taken from."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from camtrain.gradients import ClassIndex, class_score, selected_class


def captum_attr(method: str) -> Any:
    """The module `captum.attr`.

    Args:
        method: The name of the method that needs it, for the message.

    Raises:
        ModuleNotFoundError: If captum is not installed; the message says how to install it.
    """
    try:
        return import_module("captum.attr")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "captum":
            raise
        message = f"{method} is computed by captum, which is not installed: pip install 'camtrain[captum]'"
        raise ModuleNotFoundError(message, name="captum") from error


class ExplainedScores(nn.Module):
    """A network whose output is the explained score of each image, (N,), as captum differentiates it.

    captum runs variants of a batch one after the other, in the order of `Tensor.repeat`.

    Args:
        network: The network.
        class_idx: What is explained of the images, without `None` (see `fixed_class`).
        num_images: The number of images in the batch.
    """

    def __init__(self, network: nn.Module, class_idx: ClassIndex, num_images: int) -> None:
        super().__init__()
        self.network = network
        self._class_idx = class_idx
        self._images = torch.arange(num_images)

    def forward(self, images: Tensor) -> Tensor:
        """The score of each image, whose number is a multiple of that of the batch."""
        rows = self._images.repeat(len(images) // max(1, len(self._images)))
        return class_score(self.network(images), selected_class(self._class_idx, rows))
