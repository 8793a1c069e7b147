"""MobileNet-V2 of half the width, for small images."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import MobileNetV2

from camtrain.networks.small_image_stem import with_small_image_stem


class NarrowMobileNetV2(nn.Module):
    """torchvision's MobileNet-V2 with camtrain's stem for small images.

    Args:
        num_classes: size of the output.
        width_mult: of all channels.
    """

    def __init__(self, num_classes: int, width_mult: float = 0.5) -> None:
        super().__init__()
        self.network = with_small_image_stem(MobileNetV2(num_classes=num_classes, width_mult=width_mult))

    def forward(self, images: Tensor) -> Tensor:
        """From (N, 3, H, W) to (N, num_classes) logits."""
        logits: Tensor = self.network(images)
        return logits
