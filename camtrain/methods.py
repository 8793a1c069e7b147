"""Every method by its name: in configs and log keys, on the command line, and as one kind of map."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.guided_backprop import GuidedBackprop
from camtrain.attributions.guided_grad_cam import GuidedGradCAM
from camtrain.attributions.input_gradient import InputGradient
from camtrain.attributions.input_x_gradient import InputXGradient
from camtrain.attributions.integrated_gradients import IntegratedGradients
from camtrain.attributions.saliency_map import ChannelReduction, saliency_map
from camtrain.attributions.smooth_grad import SmoothGrad
from camtrain.cams.ablation_cam import AblationCAM
from camtrain.cams.attention_map import AttentionMap
from camtrain.cams.base_cam import BaseCAM
from camtrain.cams.cam import CAM
from camtrain.cams.eigen_cam import EigenCAM
from camtrain.cams.grad_cam import GradCAM
from camtrain.cams.grad_cam_plus_plus import GradCAMPlusPlus
from camtrain.cams.hi_res_cam import HiResCAM
from camtrain.cams.layer_cam import LayerCAM
from camtrain.cams.normalize import normalize
from camtrain.cams.resize import resize
from camtrain.cams.score_cam import ScoreCAM
from camtrain.cams.smooth_grad_cam_plus_plus import SmoothGradCAMPlusPlus
from camtrain.cams.ss_cam import SSCAM
from camtrain.cams.taylor_cam import TaylorCAM
from camtrain.cams.x_grad_cam import XGradCAM
from camtrain.gradients import ClassIndex
from camtrain.nearest_names import nearest_names
from camtrain.networks import attention_heads

Method: TypeAlias = BaseCAM | BaseAttribution
"""From images and a class to maps at a layer, (N, h, w), or to attributions at the input, (N, 3, H, W)."""

_METHODS: tuple[tuple[str, str, type[Method]], ...] = (
    ("cam", "CAM", CAM),
    ("grad_cam", "Grad-CAM", GradCAM),
    ("grad_cam_plus_plus", "Grad-CAM++", GradCAMPlusPlus),
    ("smooth_grad_cam_plus_plus", "Smooth Grad-CAM++", SmoothGradCAMPlusPlus),
    ("x_grad_cam", "XGrad-CAM", XGradCAM),
    ("hi_res_cam", "HiResCAM", HiResCAM),
    ("layer_cam", "LayerCAM", LayerCAM),
    ("score_cam", "Score-CAM", ScoreCAM),
    ("ss_cam", "SS-CAM", SSCAM),
    ("ablation_cam", "Ablation-CAM", AblationCAM),
    ("taylor_cam", "Taylor-CAM", TaylorCAM),
    ("eigen_cam", "Eigen-CAM", EigenCAM),
    ("attention_map", "attention map", AttentionMap),
    ("guided_grad_cam", "Guided Grad-CAM", GuidedGradCAM),
    ("input_gradient", "input gradient", InputGradient),
    ("input_x_gradient", "input × gradient", InputXGradient),
    ("guided_backprop", "guided backprop", GuidedBackprop),
    ("smooth_grad", "SmoothGrad", SmoothGrad),
    ("integrated_gradients", "Integrated Gradients", IntegratedGradients),
)

METHODS: dict[str, type[Method]] = {name: method for name, _, method in _METHODS}
"""The class of each method by its name, which is also that of its file and of its log keys."""

TITLES: dict[str, str] = {name: title for name, title, _ in _METHODS}
"""The name of each method as people write it."""


def method_class(name: str) -> type[Method]:
    """The class of that name.

    Raises:
        ValueError: if there is none, with the nearest names.

    Example:
        >>> method_class("layer_cam").__name__
        'LayerCAM'
        >>> method_class("layercam")
        Traceback (most recent call last):
        ValueError: `method`: none is called 'layercam'; did you mean 'layer_cam', ...
    """
    if name not in METHODS:
        raise ValueError(f"`method`: none is called {name!r}; {nearest_names(name, METHODS)}")
    return METHODS[name]


def method_names(names: str | Sequence[str]) -> list[str]:
    """The names of methods from one string with commas or from several; `all` is all of them.

    Raises:
        ValueError: If a name is unknown, with the nearest ones, or there is none.

    Example:
        >>> method_names("grad_cam, layer_cam,grad_cam"), len(method_names("all")) == len(METHODS)
        (['grad_cam', 'layer_cam'], True)
    """
    words = names.split(",") if isinstance(names, str) else list(names)
    chosen = dict.fromkeys(other for word in words for other in (METHODS if word == "all" else [word.strip()]))
    for name in chosen:
        method_class(name)
    if not chosen:
        raise ValueError("`methods`: expected at least one, got none")
    return list(chosen)


def method_named(name: str, network: nn.Module, target_layer: Any = None, **options: Any) -> Method:
    """The method of that name for a network.

    The same options can be given to all methods: what a method does not have, and another one does, is left out, such
    as the target layer of an attribution at the input.

    Args:
        name: one of `METHODS`.
        network: from (N, 3, H, W) to (N, K) logits.
        target_layer: of the methods that have one; see `BaseCAM`.
        options: of the constructors, such as `max_batch`, `seed` or `progress`.

    Raises:
        ValueError: if no method has that name, or as its constructor.
        TypeError: if no method has such an option, or as its constructor.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> network = CIFARResNet(depth=8)
        >>> method_named("score_cam", network, "layer2", max_batch=16).max_batch
        16
        >>> method_named("input_gradient", network, "layer2", max_batch=16).__class__.__name__
        'InputGradient'
    """
    method = method_class(name)
    for option in options:
        if not any(option in _parameters(each) for each in METHODS.values()):
            raise TypeError(f"`{option}`: no method has an option of that name")
    given = {"target_layer": target_layer} | options
    return method(network, **{option: value for option, value in given.items() if option in _parameters(method)})


def methods_for(network: nn.Module) -> list[str]:
    """Names of the methods that are meant where all are: all but those that want a network built for them.

    That is `attention_map`, which is among them where the network has an attention head.

    Example:
        >>> from camtrain.networks import AttentionBranch, CIFARResNet
        >>> "attention_map" in methods_for(CIFARResNet(depth=8))
        False
        >>> methods_for(AttentionBranch("cifar_resnet8", 10)) == list(METHODS)
        True
    """
    has_head = bool(attention_heads(network))
    return [name for name, method in METHODS.items() if has_head or method is not AttentionMap]


def is_differentiable(name: str) -> bool:
    """Whether the method can be built with `differentiable=True`, so that a penalty on its maps can be trained.

    Example:
        >>> is_differentiable("grad_cam"), is_differentiable("score_cam")
        (True, False)
    """
    try:
        method_class(name)(nn.Identity(), differentiable=True)
    except ValueError as error:
        if "`differentiable`" not in str(error):
            raise
        return False
    return True


def image_maps(
    method: Method, images: Tensor, class_idx: ClassIndex = None, *, reduction: ChannelReduction = "max"
) -> Tensor:
    """One map per image, at the size of the images and in [0, 1], of a method of either kind.

    A map at a layer is resized, then normalized; attributions go through `saliency_map` first. It is differentiable if
    the method was built so.

    Args:
        method: a map at a layer, or an attribution at the input.
        images: (N, 3, H, W).
        class_idx: as for the call of the method.
        reduction: of the channels of attributions.

    Returns:
        (N, H, W) in [0, 1], at least float32; zeros where the map is the same everywhere.

    Raises:
        ValueError: as the method, or for another reduction.
        TypeError: as the method.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> network, images = CIFARResNet(depth=8).eval(), torch.rand(2, 3, 16, 24)
        >>> for name in ("grad_cam", "input_gradient"):
        ...     maps = image_maps(method_named(name, network), images)
        ...     print(maps.shape, float(maps.min()), float(maps.max()))
        torch.Size([2, 16, 24]) 0.0 1.0
        torch.Size([2, 16, 24]) 0.0 1.0
    """
    return normalize(resized_maps(method, images, class_idx, reduction=reduction))


def resized_maps(
    method: Method, images: Tensor, class_idx: ClassIndex = None, *, reduction: ChannelReduction = "max"
) -> Tensor:
    """One map per image, at the size of the images and as the method makes it, of a method of either kind.

    As `image_maps`, before it is brought to [0, 1]: what is compared by its energy is not moved by its minimum.

    Args:
        method: a map at a layer, or an attribution at the input.
        images: (N, 3, H, W).
        class_idx: as for the call of the method.
        reduction: of the channels of attributions.

    Returns:
        (N, H, W), at least float32.
    """
    found = method(images, class_idx)
    maps = saliency_map(found, reduction) if isinstance(method, BaseAttribution) else found
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    return resize(maps, (int(images.shape[-2]), int(images.shape[-1])))


def _parameters(method: type[Method]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(method).parameters)
