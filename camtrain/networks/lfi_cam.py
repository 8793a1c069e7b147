"""LFI-CAM: attention that is a class activation map whose weights are learned."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.messages import positive_integer
from camtrain.networks.attended_network import AttendedNetwork
from camtrain.networks.attention_head import AttentionHead, AttentionOutput
from camtrain.networks.build_network import Stem
from camtrain.networks.cifar_resnet import _stage
from camtrain.networks.target_layer import last_spatial_layer


def unit_range(maps: Tensor) -> Tensor:
    """Each map of (N, C, h, w), rescaled linearly from its minimum and maximum to [0, 1]; a flat map becomes zeros.

    The extrema are found by max pooling, since `FrozenGates` can hold its choices, but not those of `amin` and `amax`.

    Example:
        >>> unit_range(torch.tensor([[[[1.0, 3.0], [2.0, 5.0]]]]))
        tensor([[[[0.0000, 0.5000],
                  [0.2500, 1.0000]]]])
    """
    low, high = -F.adaptive_max_pool2d(-maps, 1), F.adaptive_max_pool2d(maps, 1)
    spread = high - low
    # In float16, the gradient of a division by less may overflow, whatever the scale of the loss.
    is_flat = spread.detach() <= torch.finfo(spread.dtype).tiny
    return ((maps - low) / spread.masked_fill(is_flat, 1.0)).masked_fill(is_flat, 0.0)


class FeatureImportanceHead(AttentionHead):
    """The feature importance network (FIN), and the map that uses its weights.

        m_k = unit_range(F_k) · gray(x)                    the image, masked by each channel
        w = softmax(1/(hw) Σ_ij BN(blocks(m))_ij)          (N, C), the importance of each channel
        attention = unit_range(ReLU(Σ_k w_k F_k))          (N, 1, h, w)

    gray(x) is the mean over the color channels of the network's input, resized to the size of the features; `blocks`
    are residual blocks of stride 1. The weights play the role of those of Score-CAM, but a small network computes them
    in one pass, where Score-CAM runs the whole network once for each channel. The head has no logits and no loss of its
    own.

    Departures from the official code, in favor of the paper: the official code detaches the map, so that no gradient
    reaches the FIN, although the paper says that it is learned end to end; here the map is in the graph. The official
    code takes the minimum and maximum of the whole batch, so that an image's attention depends on the other images;
    here they are those of each map. If `width` is not C, a 1×1 convolution to C channels follows the blocks.

    Args:
        channels: C, the number of channels of the features.
        width: The number of channels of the blocks. `None` takes C, but at most 512.
        blocks: The number of blocks; 2 as in a stage of a ResNet-18.

    Raises:
        ValueError: If an argument is not positive.

    Source:
        Lee et al., LFI-CAM: Learning Feature Importance for Better Visual Explanation, ICCV 2021, section 3.2, arXiv
        2105.00937; github.com/TrustworthyAI-kr/LFI-CAM.

    Example:
        >>> import torch
        >>> output = FeatureImportanceHead(channels=16)(torch.rand(2, 16, 8, 8), torch.rand(2, 3, 32, 32))
        >>> output.attention.shape, output.logits
        (torch.Size([2, 1, 8, 8]), None)
    """

    def __init__(self, channels: int, width: int | None = None, blocks: int = 2) -> None:
        super().__init__()
        width = min(channels, 512) if width is None else width
        for name, value in {"width": width, "blocks": blocks}.items():
            positive_integer(name, value)
        self.blocks = _stage(channels, width, blocks, stride=1)
        self.expand = nn.Identity() if width == channels else nn.Conv2d(width, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor, images: Tensor) -> AttentionOutput:
        """See `AttentionHead`."""
        weights = self.importance(features, images)
        cams = self.relu((weights[:, :, None, None] * features).sum(dim=1, keepdim=True))
        return AttentionOutput(unit_range(cams), None)

    def importance(self, features: Tensor, images: Tensor) -> Tensor:
        """The importance w of each channel, (N, C); each row sums to one."""
        gray = images.mean(dim=1, keepdim=True)
        gray = F.interpolate(gray, features.shape[-2:], mode="bilinear", align_corners=False)
        masked = unit_range(features) * gray
        scores: Tensor = self.norm(self.expand(self.blocks(masked))).mean(dim=(-2, -1))
        return scores.softmax(dim=1)


class LFICAM(AttendedNetwork):
    """LFI-CAM: a backbone whose last features are multiplied by 1 + a class activation map with learned weights.

        F'_k = (1 + attention) · F_k,    logits = the backbone's, computed from F'

    `FeatureImportanceHead` describes the attention. Only the loss of the logits trains it. `AttentionMap` returns the
    attention as a map; other methods explain the network as a whole. `CAM` does not apply, because the input of the
    linear layer is the average of F' and not of F.

    Departure from the official code: it replaces the last stage of the backbone by three stages of stride 1; here the
    backbone is not changed.

    Args:
        backbone: A name that `build_network` knows (`resnet18`, `cifar_resnet20`, `timm:...`), or any module from
            (N, C, H, W) to (N, K) logits.
        num_classes: K.
        layer: The dotted name of the module of the backbone whose output (N, C, h, w) is attended. `None` takes the
            last spatial layer, as in the paper: `layer4` of a ResNet (see `last_spatial_layer`).
        stem: The stem of a backbone given by name; `small` for images of 32 to 64 pixels.
        weights: The weights of a backbone given by name, such as `DEFAULT`. The head starts with random weights.
        width: The number of channels of the FIN. `None` takes C, but at most 512.
        blocks: The number of residual blocks of the FIN.
        image_size: The height and width of the image that is run once to find the layer and its channels. `None` takes
            32 for the small stem, else 224.

    Raises:
        ValueError: As in `AttendedNetwork` and `FeatureImportanceHead`.

    Source:
        Lee et al., LFI-CAM: Learning Feature Importance for Better Visual Explanation, ICCV 2021, arXiv 2105.00937.

    Example:
        >>> import torch
        >>> network = LFICAM("cifar_resnet8", num_classes=10)
        >>> network.layer, network(torch.rand(2, 3, 32, 32)).shape
        ('layer3', torch.Size([2, 10]))
    """

    def __init__(
        self,
        backbone: nn.Module | str,
        num_classes: int,
        layer: str | None = None,
        stem: Stem = "imagenet",
        weights: str | None = None,
        width: int | None = None,
        blocks: int = 2,
        image_size: int | None = None,
    ) -> None:
        super().__init__(backbone, num_classes, layer, stem, weights, image_size, last_spatial_layer)
        self.attend(FeatureImportanceHead(self.channels, width, blocks))
