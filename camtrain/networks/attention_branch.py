"""Attention Branch Network: attention from a branch that is trained to classify as well."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camtrain.messages import positive_integer
from camtrain.networks.attended_layer import layer_before_last_stage
from camtrain.networks.attended_network import AttendedNetwork
from camtrain.networks.attention_head import AttentionHead, AttentionOutput
from camtrain.networks.build_network import Stem
from camtrain.networks.cifar_resnet import _stage


class AttentionBranchHead(AttentionHead):
    """The attention branch: one map for each class; their weighted sum is the attention, their averages are logits.

        M = ReLU(BN(conv_K(BN(blocks(F)))))    (N, K, h, w), one map per class
        attention = σ(BN(conv_1(M)))           (N, 1, h, w)
        logits = 1/(hw) Σ_ij conv_K(M)_ij      (N, K)

    `blocks` are residual blocks of stride 1, all other convolutions are 1×1, and none has a bias.

    Departures: the paper's blocks are a copy of the last stage of its ResNet. Not every backbone has such a stage, so
    they are basic blocks of two 3×3 convolutions here. The official code sums the maps by a 3×3 convolution; the paper
    and this class use a 1×1 convolution.

    Args:
        channels: C, the number of channels of the features.
        num_classes: K.
        width: The number of channels of the blocks. `None` takes 2C, but at most 512, as in the last stage of a
            ResNet-18.
        blocks: The number of blocks; 2 as in the last stage of a ResNet-18.

    Raises:
        ValueError: If an argument is not positive.

    Source:
        Fukui et al., Attention Branch Network: Learning of Attention Mechanism for Visual Explanation, CVPR 2019,
        section 3, arXiv 1812.10025; github.com/machine-perception-robotics-group/attention_branch_network.

    Example:
        >>> output = AttentionBranchHead(channels=16, num_classes=10)(torch.rand(2, 16, 8, 8), torch.rand(2, 3, 32, 32))
        >>> output.attention.shape, output.logits.shape
        (torch.Size([2, 1, 8, 8]), torch.Size([2, 10]))
    """

    def __init__(self, channels: int, num_classes: int, width: int | None = None, blocks: int = 2) -> None:
        super().__init__()
        width = min(2 * channels, 512) if width is None else width
        for name, value in {"num_classes": num_classes, "width": width, "blocks": blocks}.items():
            positive_integer(name, value)
        self.blocks = _stage(channels, width, blocks, stride=1)
        self.blocks_norm = nn.BatchNorm2d(width)
        self.class_maps = nn.Conv2d(width, num_classes, 1, bias=False)
        self.class_maps_norm = nn.BatchNorm2d(num_classes)
        self.relu = nn.ReLU()
        self.classifier = nn.Conv2d(num_classes, num_classes, 1, bias=False)
        self.sum = nn.Conv2d(num_classes, 1, 1, bias=False)
        self.sum_norm = nn.BatchNorm2d(1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor, images: Tensor) -> AttentionOutput:
        """See `AttentionHead`. The images are not used."""
        maps = self.class_maps(self.blocks_norm(self.blocks(features)))
        maps = self.relu(self.class_maps_norm(maps))
        attention = torch.sigmoid(self.sum_norm(self.sum(maps)))
        return AttentionOutput(attention, self.classifier(maps).mean(dim=(-2, -1)))


class AttentionBranch(AttendedNetwork):
    """Attention Branch Network (ABN): a backbone whose features are multiplied by the attention of a trained branch.

        F'_c = (1 + attention) · F_c,    logits = the backbone's, computed from F'

    This is the paper's residual form: attention can emphasize features, but not remove them. `AttentionBranchHead`
    describes the branch. The output is the logits of the backbone, the paper's perception branch, so the network is
    trained, explained and evaluated like any other. The paper's L adds L_att, the cross-entropy of the branch's own
    logits, which are the `logits` in the output of the module `attention_head`. Without a loss on them, only the
    backbone's loss trains the branch, through its attention, and the convolution `attention_head.classifier` gets no
    gradient (for DDP: `find_unused_parameters=True`).

    `AttentionMap` returns the attention as a map; other methods explain the network as a whole.

    Args:
        backbone: A name that `build_network` knows (`resnet18`, `cifar_resnet20`, `timm:...`), or any module from
            (N, C, H, W) to (N, K) logits.
        num_classes: K.
        layer: The dotted name of the module of the backbone whose output (N, C, h, w) is attended. `None` takes the
            layer before the last stage, as in the paper: `layer3` of a ResNet, `layer2` of a `cifar_resnet` (see
            `layer_before_last_stage`).
        stem: The stem of a backbone given by name; `small` for images of 32 to 64 pixels.
        weights: The weights of a backbone given by name, such as `DEFAULT`. The head starts with random weights.
        width: The number of channels of the branch. `None` takes 2C, but at most 512.
        blocks: The number of residual blocks of the branch.
        image_size: The height and width of the image that is run once to find the layer and its channels. `None` takes
            32 for the small stem, else 224.

    Raises:
        ValueError: As in `AttendedNetwork` and `AttentionBranchHead`.

    Cost:
        With a ResNet-18 the branch is a second fourth stage with four times as many pixels: nearly as many
        multiplications as the whole ResNet-18.

    Source:
        Fukui et al., Attention Branch Network: Learning of Attention Mechanism for Visual Explanation, CVPR 2019, arXiv
        1812.10025.

    Example:
        >>> network = AttentionBranch("cifar_resnet8", num_classes=10)
        >>> network.layer, network(torch.rand(2, 3, 32, 32)).shape
        ('layer2', torch.Size([2, 10]))
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
        super().__init__(backbone, num_classes, layer, stem, weights, image_size, layer_before_last_stage)
        self.attend(AttentionBranchHead(self.channels, num_classes, width, blocks))
