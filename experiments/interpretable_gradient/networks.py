"""The two networks that this experiment needs beside camtrain's own."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from camtrain import load_network
from camtrain.networks import CIFARResNet

_CHANNELS_OF_A_GROUP = 8


class GroupNormResNet(CIFARResNet):
    """camtrain's ResNet for small images with GroupNorm in the place of BatchNorm, in groups of 8 channels.

    Args:
        depth: The number of layers.
        width: The number of channels of the first stage.
        num_classes: The number of outputs.
        stem_stride: The stride of the first convolution.
    """

    def __init__(self, depth: int, width: int, num_classes: int, stem_stride: int) -> None:
        super().__init__(depth=depth, width=width, num_classes=num_classes, stem_stride=stem_stride)
        for parent in list(self.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, nn.BatchNorm2d):
                    channels = layer.num_features
                    setattr(parent, name, nn.GroupNorm(max(1, channels // _CHANNELS_OF_A_GROUP), channels))


class TrainedNetwork(nn.Module):
    """A network that a run has trained, to go on with.

    Args:
        runs: The folder of the runs of a study. The checkpoint is the one that was tested.
        seed: The seed of the run.
    """

    def __init__(self, runs: str, seed: int) -> None:
        super().__init__()
        found = sorted(Path(runs).glob(f"*seed={seed}-*/version_*"))
        if not found:
            raise FileNotFoundError(
                f"`runs`: no run of seed {seed} in {runs}: the plain setting of the league makes it"
            )
        self.network = load_network(found[-1], device="cpu").network

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits, (N, K), of images, (N, 3, H, W)."""
        logits: Tensor = self.network(images)
        return logits
