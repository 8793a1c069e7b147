"""Methods of other libraries as methods of camtrain."""

from __future__ import annotations

from typing import Any

from torch import nn

from camtrain.attributions import BaseAttribution
from camtrain.cams import BaseCAM
from camtrain.interop.captum_methods import CaptumAttribution, CaptumLayer
from camtrain.interop.foreign import library_of
from camtrain.interop.grad_cam_method import GradCAMMethod
from camtrain.interop.torchcam_method import TorchcamMethod


def method_of(found: Any, network: nn.Module | None = None, **options: Any) -> BaseCAM | BaseAttribution:
    """A method of captum, pytorch-grad-cam or torchcam as a method of camtrain.

    `evaluate`, `explain` and `image_maps` take what it returns, and the object of the library itself where no options
    are needed. For callbacks and studies, `camtrain.register_method` gives it a name.

    Args:
        found: Any `Attribution` or `LayerAttribution` of captum, `BaseCAM` of pytorch-grad-cam, or extractor of
            torchcam, made for a network.
        network: The network, where captum was given a function and no module; `None` otherwise.
        options: See `CaptumAttribution`, `CaptumLayer`, `GradCAMMethod` and `TorchcamMethod`: `seed`, `reduction`, and
            whatever the call of the library takes.

    Raises:
        TypeError: If it is of no such library, or an option is wrong.

    Example:
        >>> import torch
        >>> from captum.attr import Occlusion
        >>> from camtrain.networks import CIFARResNet
        >>> network = CIFARResNet(depth=8).eval()
        >>> method = method_of(Occlusion(network), sliding_window_shapes=(3, 8, 8), strides=(3, 8, 8))
        >>> method(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 3, 16, 16])
    """
    library = library_of(found)
    if library == "captum":
        return CaptumAttribution(found, network, **options)
    if library == "captum layer":
        return CaptumLayer(found, network, **options)
    if network is not None and library is not None:
        raise TypeError("`network`: expected None, since the object knows its network")
    if library == "pytorch_grad_cam":
        return GradCAMMethod(found, **options)
    if library == "torchcam":
        return TorchcamMethod(found, **options)
    got = f"the class {found.__name__}" if isinstance(found, type) else repr(found)
    raise TypeError(f"`found`: expected an object of captum, pytorch-grad-cam or torchcam, got {got}")
