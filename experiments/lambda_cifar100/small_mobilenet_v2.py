"""A small MobileNet-V2 for small images."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import MobileNetV2

# Expansion, channels before the width multiplier, blocks, stride. The paper's table has expansion 6 and 17 blocks.
# The first convolution has stride 2: 32×32 images reach the head at 4×4. With the paper's strides 1×1 would be left.
_STAGES = [[1, 16, 1, 1], [3, 24, 1, 2], [3, 32, 2, 1], [3, 64, 2, 2], [3, 96, 1, 1], [3, 160, 1, 1], [3, 320, 1, 1]]


class SmallMobileNetV2(nn.Module):
    """torchvision's MobileNet-V2 with half the width, expansion and blocks, fewer strides and no dropout.

    Args:
        num_classes: The number of outputs.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.network = MobileNetV2(num_classes, width_mult=0.5, inverted_residual_setting=_STAGES, dropout=0.0)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits, (N, num_classes), of images, (N, 3, H, W)."""
        logits: Tensor = self.network(images)
        return logits
