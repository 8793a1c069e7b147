"""Which library a network is of, and the code that builds it there."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn
from torchvision.models import GoogLeNet, Inception3, VisionTransformer

from camtrain.networks import CIFARResNet
from camtrain.networks.build_network import OWN_NETWORKS, TIMM

Library = Literal["timm", "torchvision", "camtrain"]

_STAGES = """\
from collections import OrderedDict
from torch import nn
from torchvision.models.resnet import BasicBlock


def stage(inputs, outputs, stride):
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut), *(BasicBlock(outputs, outputs) for _ in range({more})))


network = nn.Sequential(
    OrderedDict(
        conv1=nn.Conv2d(3, {width}, 3, {stride}, padding=1, bias=False),
        bn1=nn.BatchNorm2d({width}),
        relu=nn.ReLU(),
        layer1=stage({width}, {width}, 1),
        layer2=stage({width}, {twice}, 2),
        layer3=stage({twice}, {fourfold}, 2),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        fc=nn.Linear({fourfold}, {classes}),
    )
)
"""  # noqa: E501


def library_of(described: Any) -> Library:
    """The library of a network.

    Args:
        described: How a checkpoint describes it: a name, or `class_path` and `init_args`; `None` for one that was built
            in Python.

    Example:
        >>> library_of("timm:convnext_nano"), library_of("resnet18"), library_of("cifar_resnet8")
        ('timm', 'torchvision', 'camtrain')
    """
    if not isinstance(described, str):
        return "camtrain"
    if described.startswith(TIMM):
        return "timm"
    return "camtrain" if described in OWN_NETWORKS else "torchvision"


def building_code(network: nn.Module, described: Any, stem: str, num_classes: int, source: str) -> str | None:
    """Python that builds the network without camtrain, as `network`; with its weights, if it is of timm.

    Args:
        network: The network.
        described: As for `library_of`.
        stem: `imagenet`, or `small` for a changed one.
        num_classes: K.
        source: Where timm finds the folder, such as `local-dir:.`.

    Returns:
        The code; `None` if the network is of other code.
    """
    if type(network) is CIFARResNet:
        convolution, width = network.conv1, network.conv1.out_channels
        sizes = {"width": width, "twice": 2 * width, "fourfold": 4 * width, "stride": convolution.stride[0]}
        return _STAGES.format(**sizes, more=len(network.layer1) - 1, classes=num_classes)
    match library_of(described):
        case "timm":
            return f'import timm\n\nnetwork = timm.create_model("{source}", pretrained=True)\n'
        case "torchvision" if stem == "imagenet":
            more = ""
            if isinstance(network, (GoogLeNet, Inception3)):
                more = f", aux_logits=False, transform_input={network.transform_input}, init_weights=False"
            if isinstance(network, VisionTransformer):  # that of published weights may be larger than the default
                more += f", image_size={network.image_size}"
            return (
                "from torchvision.models import get_model\n\n"
                f'network = get_model("{described}", num_classes={num_classes}{more})\n'
            )
    return None
