"""Every method and control by its name, and normalized maps at the size of the images from any of them."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.deep_lift import DeepLift
from camtrain.attributions.gradient_shap import GradientSHAP
from camtrain.attributions.guided_backprop import GuidedBackprop
from camtrain.attributions.guided_grad_cam import GuidedGradCAM
from camtrain.attributions.input_gradient import InputGradient
from camtrain.attributions.input_x_gradient import InputXGradient
from camtrain.attributions.integrated_gradients import IntegratedGradients
from camtrain.attributions.occlusion import Occlusion
from camtrain.attributions.rise import RISE
from camtrain.attributions.saliency_map import ChannelReduction, check_reduction, saliency_map
from camtrain.attributions.smooth_grad import SmoothGrad
from camtrain.batch import check_finite_images, check_images
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
from camtrain.controls import BaseControl, CenterMap, RandomMap, ShuffledMap, UniformMap, donors
from camtrain.fingerprint import fingerprint
from camtrain.gradients import Against, ClassIndex, Contrast, as_target, evaluation_mode
from camtrain.interop import is_foreign, method_of
from camtrain.messages import checked_seed, listed_names, nearest_names, positive_integer
from camtrain.networks import attention_heads
from camtrain.networks.module_of import module_of

Method: TypeAlias = BaseCAM | BaseAttribution | BaseControl
"""A method or a control: called with images and a class, it returns maps (N, h, w), or attributions (N, C, H, W)."""

Methods: TypeAlias = str | Sequence[Any] | Mapping[str, Any]
"""Names of methods, separated by commas or in a sequence; or built methods among them, or under names of your choice;
see `given_methods`."""

_METHODS: tuple[tuple[str, str, type[BaseCAM | BaseAttribution]], ...] = (
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

METHODS: dict[str, type[BaseCAM | BaseAttribution]] = {name: method for name, _, method in _METHODS}
"""The class of each method by its name. The name is also that of the file and of the log keys."""

TITLES: dict[str, str] = {name: title for name, title, _ in _METHODS}
"""The title of each method, as people write it, by its name."""

_FURTHER: tuple[tuple[str, str, type[BaseAttribution]], ...] = (
    ("occlusion", "Occlusion", Occlusion),
    ("rise", "RISE", RISE),
    ("deep_lift", "DeepLift", DeepLift),
    ("gradient_shap", "GradientSHAP", GradientSHAP),
)

FURTHER_METHODS: dict[str, type[BaseAttribution]] = {name: method for name, _, method in _FURTHER}
"""Methods that `all` leaves out and that are used like all others by their names. They take hundreds of passes for each
image, or need captum, which `pip install 'camtrain[captum]'` installs."""

CONTROLS: dict[str, type[BaseControl]] = {"uniform": UniformMap, "center": CenterMap, "random": RandomMap}
"""The class of each control by its name. Controls take the place of a method wherever maps are made or scored, but they
are no methods: `all` does not include them, and none can be trained. There is a fourth, which depends on a method:
`shuffled_grad_cam` is the Grad-CAM of another image, and so on for every method (see `ShuffledMap`)."""

METHOD_NAME = "[a-z0-9_]+"
"""What the name of a method is made of: it is the name of folders and a part of log keys."""

SHUFFLED = "shuffled"
"""The word for the control that shuffles the maps of each method, in lists of controls."""

_CHECKS: dict[str, Callable[[str, object], object]] = {
    **dict.fromkeys(("max_batch", "num_channels", "num_samples", "num_steps", "max_steps"), positive_integer),
    "seed": checked_seed,
}
_STATE = (
    *("_found", "_captured"),
    *("activations_and_grads", "outputs", "activations", "indices"),  # pytorch-grad-cam
    *("hook_a", "hook_g", "hook_handles", "_input"),  # torchcam
    *("forward_hooks", "backward_hooks", "forward_handles", "backward_handles"),  # captum
)
"""Attributes in which methods, also of other libraries, keep what they found out about the last images."""
_ALL: dict[str, type[BaseCAM | BaseAttribution]] = {**METHODS, **FURTHER_METHODS}
_TITLES = {**TITLES, **{name: title for name, title, _ in _FURTHER}}
_CONTROL_TITLES = {"uniform": "uniform map", "center": "centered Gaussian", "random": "random map"}


def control_of(control: str, method: str) -> str:
    """The name of the map that is the control of a method.

    Args:
        control: `uniform`, `center`, `random`, or `shuffled`, which has a map for each method.
        method: The name of a method.

    Raises:
        ValueError: If there is no such control, with the nearest names.

    Example:
        >>> control_of("shuffled", "grad_cam"), control_of("center", "grad_cam")
        ('shuffled_grad_cam', 'center')
    """
    if control == SHUFFLED:
        return f"{SHUFFLED}_{method}"
    if control not in CONTROLS:
        raise ValueError(f"`controls`: none is called {control!r}; {nearest_names(control, [*CONTROLS, SHUFFLED])}")
    return control


def control_names(controls: str | Sequence[str], methods: Sequence[str]) -> list[str]:
    """The names of all maps that are controls of some methods.

    Args:
        controls: The controls (see `control_of`), as a sequence or separated by commas.
        methods: The names of the methods; those that are controls themselves need none.

    Raises:
        ValueError: If there is no such control, with the nearest names.

    Example:
        >>> control_names("center,shuffled", ["grad_cam", "layer_cam"])
        ['center', 'shuffled_grad_cam', 'shuffled_layer_cam']
    """
    chosen = control_words(controls)
    compared = [method for method in methods if not is_control(method)]
    return list(dict.fromkeys(control_of(control, method) for control in chosen for method in compared))


def control_words(controls: str | Sequence[str]) -> list[str]:
    """The controls that are meant by a sequence of words, or by one string with commas; `none` is no control.

    Raises:
        ValueError: If there is no such control, with the nearest names.

    Example:
        >>> control_words("center, shuffled"), control_words("none")
        (['center', 'shuffled'], [])
    """
    chosen = list(dict.fromkeys(word for word in listed_names("controls", controls) if word not in ("", "none")))
    for word in chosen:
        control_of(word, "")  # raises if there is none
    return chosen


def is_control(name: str) -> bool:
    """Whether the maps of this name are a control.

    Example:
        >>> is_control("center"), is_control("shuffled_grad_cam"), is_control("grad_cam")
        (True, True, False)
    """
    return name in CONTROLS or name.startswith(f"{SHUFFLED}_")


def method_title(name: str) -> str:
    """The title of a method or control, as people write it; the name itself if there is none.

    Example:
        >>> method_title("grad_cam"), method_title("center"), method_title("shuffled_grad_cam")
        ('Grad-CAM', 'centered Gaussian', 'shuffled Grad-CAM')
    """
    if name.startswith(f"{SHUFFLED}_"):
        return f"{SHUFFLED} {method_title(name.removeprefix(f'{SHUFFLED}_'))}"
    if name in _registered():
        return _registered()[name].title
    return _TITLES.get(name) or _CONTROL_TITLES.get(name, name)


def method_class(name: str) -> type[BaseCAM | BaseAttribution]:
    """Return the class of the method of that name.

    Raises:
        ValueError: If no method has that name; the message suggests the nearest names.

    Example:
        >>> method_class("layer_cam").__name__
        'LayerCAM'
        >>> method_class("layercam")
        Traceback (most recent call last):
        ValueError: `method`: none is called 'layercam'; did you mean 'layer_cam', ...
    """
    if name not in list(_ALL):
        raise ValueError(f"`method`: none is called {name!r}; {nearest_names(name, _ALL)}")
    return _ALL[name]


def method_names(names: str | Sequence[str]) -> list[str]:
    """The names of methods from one string with commas or from several; `all` is those of `METHODS`.

    Raises:
        ValueError: If a name is unknown, with the nearest ones, or there is none.

    Example:
        >>> method_names("grad_cam, layer_cam,grad_cam"), len(method_names("all")) == len(METHODS)
        (['grad_cam', 'layer_cam'], True)
        >>> method_names("grad_cam,center,shuffled_grad_cam")
        ['grad_cam', 'center', 'shuffled_grad_cam']
    """
    words = listed_names("methods", names)
    chosen = dict.fromkeys(name for word in words for name in (METHODS if word == "all" else [word]))
    for name in chosen:
        if name not in CONTROLS and name.removeprefix(f"{SHUFFLED}_") not in (*_ALL, *_registered()):
            known = [*_ALL, *_registered(), *CONTROLS]
            raise ValueError(f"`methods`: none is called {name!r}; {nearest_names(name, known)}")
    if not chosen:
        raise ValueError("`methods`: expected at least one, got none")
    return list(chosen)


def method_named(name: str, network: nn.Module, target_layer: Any = None, **options: Any) -> Method:
    """Build the method or control of that name for a network.

    The same options can be given to every method: an option that this method does not have, but another one has, is
    ignored. So is the target layer of an attribution at the input.

    Args:
        name: One of `METHODS`, `FURTHER_METHODS` or `CONTROLS`, one that was registered (see `register_method`), or
            `shuffled_` and the name of a method.
        network: A network from (N, C, H, W) to (N, K) logits.
        target_layer: The target layer of the methods that have one; see `BaseCAM`.
        options: Options of the constructors, such as `max_batch`, `seed` or `progress`.

    Raises:
        ValueError: If no method has that name, or from the constructor of the method.
        TypeError: If no method has such an option, or from the constructor of the method.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> network = CIFARResNet(depth=8)
        >>> method_named("score_cam", network, "layer2", max_batch=16).max_batch
        16
        >>> method_named("input_gradient", network, "layer2", max_batch=16).__class__.__name__
        'InputGradient'
    """
    if name.startswith(f"{SHUFFLED}_"):
        shuffled: Any = method_named(name.removeprefix(f"{SHUFFLED}_"), network, target_layer, **options)
        return ShuffledMap(shuffled, seed=options.get("seed") or 0)
    registered = _registered().get(name)
    method: Any = CONTROLS[name] if name in CONTROLS else registered.build if registered else method_class(name)
    for option in options:
        if not any(option in _parameters(each) for each in (*_ALL.values(), *CONTROLS.values(), method)):
            raise TypeError(f"`{option}`: no method has an option of that name")
        # A method that ignores the option would not find out that it is wrong.
        if option in _CHECKS and options[option] is not None:
            _CHECKS[option](option, options[option])
    given = {"target_layer": target_layer} | options
    taken = {key: value for key, value in given.items() if key in _parameters(method)}
    if registered:
        return _as_built(method(network, **taken), module_of(network), name)
    built: Method = method(network, **taken)
    return built


def methods_named(
    names: str | Sequence[str], network: nn.Module, target_layer: str | None = None, **options: Any
) -> dict[str, Method]:
    """The methods of several names for a network.

    Args:
        names: As a sequence or separated by commas. `all` is all methods but those that want a network built for them.
        network: From (N, C, H, W) to (N, K) logits.
        target_layer: The dotted name of a layer; several names are separated by commas.
        options: As for `method_named`; those that are `None` are left out.

    Raises:
        ValueError: If a name is unknown, or the network has no such layer.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> list(methods_named("grad_cam,layer_cam", CIFARResNet(depth=8), "layer2", max_batch=16))
        ['grad_cam', 'layer_cam']
    """
    chosen = method_names(names)
    if "all" in listed_names("methods", names):
        meant = methods_for(network)
        chosen = [name for name in chosen if name in meant]
    layers = [None] if target_layer is None else listed_names("target_layer", target_layer)
    given = {name: value for name, value in options.items() if value is not None}
    layer = layers[0] if len(layers) == 1 else layers
    return {name: method_named(name, network, layer, **given) for name in chosen}


def methods_for(network: nn.Module) -> list[str]:
    """Return the names of the methods that `all` means for a network.

    It leaves out `attention_map` unless the network has an attention head. Other methods may still refuse a network:
    `cam` needs global average pooling and one linear layer, guided methods need ReLU-like activations.

    Example:
        >>> from camtrain.networks import AttentionBranch, CIFARResNet
        >>> "attention_map" in methods_for(CIFARResNet(depth=8))
        False
        >>> methods_for(AttentionBranch("cifar_resnet8", 10)) == list(METHODS)
        True
    """
    has_head = bool(attention_heads(network))
    return [name for name, method in METHODS.items() if has_head or method is not AttentionMap]


@dataclass(frozen=True)
class _Registered:
    build: Callable[..., Any]
    title: str


_REGISTERED: dict[str, _Registered] = {}

METHODS_VARIABLE = "CAMTRAIN_METHODS"
"""The environment variable with the names of modules, separated by commas, that register methods."""


def _registered() -> dict[str, _Registered]:
    """The registered methods, after the import of all modules that the environment names."""
    for module in filter(None, map(str.strip, os.environ.get(METHODS_VARIABLE, "").split(","))):
        if module not in sys.modules:
            try:
                import_module(module)
            except ImportError as error:
                raise ValueError(f"`{METHODS_VARIABLE}`: cannot import {module!r}: {error}") from error
    return _REGISTERED


def register_method(name: str, build: Callable[..., Any], title: str | None = None) -> None:
    """Give a method of your own, or of another library, a name that is used like that of any other method.

    From then on `evaluate`, `explain`, callbacks and studies take the name. Other processes, such as commands, the
    trials of a study and its report, know it if the environment variable `CAMTRAIN_METHODS` names the module that
    registers it: `CAMTRAIN_METHODS=my_methods camtrain evaluate --methods grad_cam,mine ...`.

    Args:
        name: The name, in lower-case letters, digits and underscores. A name that was registered before gets the new
            method.
        build: Called with a network, and with each of `target_layer` and the options of `method_named` that is among
            its parameters. It returns a method, or an object of captum, pytorch-grad-cam or torchcam (see
            `camtrain.interop`).
        title: The title in tables and pictures; `None` takes the name.

    Raises:
        ValueError: If the name belongs to another method or control, or has other characters.
        TypeError: If `build` cannot be called.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> def sharpest(network, target_layer=None):
        ...     return GradCAM(network, "layer1")
        >>> register_method("grad_cam_early", sharpest, "Grad-CAM of the first stage")
        >>> image_maps(CIFARResNet(depth=8), torch.rand(2, 3, 16, 16), "grad_cam_early").shape
        torch.Size([2, 16, 16])
        >>> unregister_method("grad_cam_early")
    """
    if not isinstance(name, str) or not re.fullmatch(METHOD_NAME, name):
        raise ValueError(f"`name`: expected lower-case letters, digits and underscores, got {name!r}")
    if name in (*_ALL, *CONTROLS, SHUFFLED, "all", "none") or name.startswith(f"{SHUFFLED}_"):
        raise ValueError(f"`name`: {name!r} belongs to another method or control; choose another name")
    if not callable(build) or is_foreign(build):
        raise TypeError(f"`build`: expected a function from a network to a method, got {build!r}")
    _REGISTERED[name] = _Registered(build, title or name)


def unregister_method(name: str) -> None:
    """Forget a method that was registered.

    Raises:
        ValueError: If none of that name was.
    """
    if name not in _REGISTERED:
        raise ValueError(f"`name`: none is registered as {name!r}; {nearest_names(name, _REGISTERED)}")
    del _REGISTERED[name]


def is_registered(name: str) -> bool:
    """Whether a method of that name was registered."""
    return name in _registered()


@contextmanager
def given_methods(methods: Any) -> Iterator[str | Sequence[str]]:
    """The names of methods of which some are given as objects; inside, these names are registered.

    Args:
        methods: Names, separated by commas or in a sequence. In the place of a name, a sequence can hold a built method
            or an object of another library. A mapping from names of your choice to such objects, or to functions that
            make one from a network, also says what they are called.

    Yields:
        The names.

    Raises:
        ValueError: If two have the same name, or a name cannot be registered.
        TypeError: If one is no method.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> network = CIFARResNet(depth=8)
        >>> with given_methods(["grad_cam", GradCAM(network, "layer1"), GuidedBackprop(network)]) as names:
        ...     names
        ['grad_cam', 'given_grad_cam', 'given_guided_backprop']
    """
    if isinstance(methods, str):
        yield methods
        return
    given = _named_objects(methods)
    before = dict(_registered())
    try:
        for name, found in given.items():
            if found is not None:
                made = callable(found) and not is_foreign(found) and not isinstance(found, Method)
                register_method(name, found if made else _Given(found), name)
        yield list(given)
    finally:
        _REGISTERED.clear()
        _REGISTERED.update(before)


def _named_objects(methods: Any) -> dict[str, Any]:
    """What is given by its name; `None` of what is known by the name alone."""
    if isinstance(methods, Mapping):
        for name, found in methods.items():
            if isinstance(found, str) or not (callable(found) or is_foreign(found)):
                raise TypeError(
                    f"`methods`: expected a method, an object of captum, pytorch-grad-cam or torchcam, or a function "
                    f"that makes one from a network as {name!r}, got {found!r}"
                )
        return dict(methods)
    if not isinstance(methods, Sequence) or all(isinstance(each, str) for each in methods):
        return dict.fromkeys(listed_names("methods", methods))
    named: dict[str, Any] = {}
    for each in methods:
        if not isinstance(each, str | Method) and not is_foreign(each):
            raise TypeError(
                f"`methods`: expected names, built methods, or objects of captum, pytorch-grad-cam or torchcam, got "
                f"{each!r}; a function that makes one needs a name: methods={{'mine': function}}"
            )
        name = each.strip() if isinstance(each, str) else _name_of(each)
        if name in named and not isinstance(each, str):
            raise ValueError(f"`methods`: two are called {name!r}; give a mapping from names of your choice to them")
        named[name] = None if isinstance(each, str) else each
    return named


def _name_of(method: Any) -> str:
    library = type(method).__module__.partition(".")[0]
    word = type(method).__name__.replace("CAMpp", "CAMPlusPlus")
    words = re.sub("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", word).lower()
    known = next((name for name, each in _ALL.items() if type(method) is each), words)
    return f"{'given' if library == 'camtrain' else library}_{known}"


@dataclass(frozen=True)
class _Given:
    """The function that builds what is there already."""

    method: Any

    def __call__(self, network: nn.Module) -> Any:
        return self.method


def _as_built(found: Any, network: nn.Module, name: str) -> Method:
    """What a registered function made, as a method of this network."""
    built = method_of(found) if is_foreign(found) else found
    if not isinstance(built, Method):
        raise TypeError(f"`methods`: expected {name!r} to be a method, got {found!r}")
    if built.network is not network:
        raise ValueError(f"`methods`: expected {name!r} to explain this network, got a method for another one")
    return built


def method_description(method: Method) -> str:
    """A line that tells a built method from others of the same name, by its class, its layers and its settings.

    It is the same in every process, whether the method has made maps before or not.

    Example:
        >>> method_description(SmoothGrad(nn.Identity(), seed=3, num_samples=5))
        "SmoothGrad(differentiable=False, max_batch=64, noisy=NoisyImages(...), statistic='mean')"
        >>> from camtrain.networks import CIFARResNet
        >>> method_description(GuidedGradCAM(CIFARResNet(depth=8), "layer3"))
        "GuidedGradCAM(_cam=GradCAM(...layers=['layer3']...), differentiable=False)"
    """
    known = {name or "network": module for name, module in method.network.named_modules()}
    own = {name: value for name, value in vars(method).items() if name not in ("network", "_target_layers", *_STATE)}
    if isinstance(method, BaseCAM):
        chosen = method.chosen_layers or []
        own["layers"] = [name for name, module in method.network.named_modules() if any(module is it for it in chosen)]
    lines = {
        name: method_description(value) if isinstance(value, Method) else fingerprint(value, known, _STATE)
        for name, value in own.items()
    }
    return f"{type(method).__name__}({', '.join(f'{name}={lines[name]}' for name in sorted(lines))})"


def is_differentiable(name: str) -> bool:
    """Tell whether a method can be built with `differentiable=True`, so that a penalty on its maps can be trained.

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
    network: Any,
    images: Tensor,
    method: Any = "grad_cam",
    class_idx: ClassIndex = None,
    *,
    target_layer: Any = None,
    reduction: ChannelReduction | None = None,
    max_batch: int = 64,
    **options: Any,
) -> Tensor:
    """Explain images: one normalized map per image, at the size of the images, with any method.

    The network is run in evaluation mode and left as found.

    Args:
        network: An `nn.Module` from (N, C, H, W) to (N, K) logits, or an object whose attribute `network` is one.
        images: The images, (N, C, H, W), normalized as the network expects them.
        method: The name of a method or control (see `method_named`); a method that was built for this network; or an
            object of captum, pytorch-grad-cam or torchcam that was (see `camtrain.interop.method_of`). The maps of
            `shuffled_...` are shuffled over all images of the call.
        class_idx: The class to explain: one for all images, or (N,) integers. `None` explains the predicted class of
            each image. See also `camtrain.gradients.Contrast` and `Against`.
        target_layer: The target layer of a method at a layer; see `BaseCAM`. `None` finds the last spatial layer.
        reduction: How the channels of an attribution become one; see `saliency_map`. `None` takes the method's
            own, which is "max" for gradients and "sum" for most of the others.
        max_batch: The largest number of images in one forward pass; bounds the memory.
        options: Options of the method, such as `num_samples`, `seed`, `progress` or `differentiable`. With
            `differentiable=True` the maps stay in the graph.

    Returns:
        (N, H, W) in [0, 1], at least float32, on the device of the images; zeros where a map is flat.

    Raises:
        ValueError: If no method has that name, a built method belongs to another network or comes with a
            `target_layer`, `images` has another shape or holds NaN or infinity, or from the method.
        TypeError: If no method has such an option, a built method comes with options, an argument has another type, or
            from the method.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> network, images = CIFARResNet(depth=8), torch.rand(2, 3, 16, 24)
        >>> maps = image_maps(network, images)
        >>> maps.shape, float(maps.min()), float(maps.max())
        (torch.Size([2, 16, 24]), 0.0, 1.0)
        >>> image_maps(network, images, "smooth_grad", class_idx=3, num_samples=4, seed=0).shape
        torch.Size([2, 16, 24])
    """
    module = module_of(network)
    positive_integer("max_batch", max_batch)
    check_images(images)
    check_finite_images(images)
    if reduction is not None:
        check_reduction(reduction)
    if is_foreign(method):
        method = method_of(method)
    if isinstance(method, str):
        built = method_named(method, module, target_layer, max_batch=max_batch, **options)
    else:
        built = _checked_method(method, module, target_layer, options)
    _check_number_of_classes(class_idx, len(images))
    starts = range(0, max(len(images), 1), max_batch)
    parts = [slice(start, start + max_batch) for start in starts]
    made = built.method if isinstance(built, ShuffledMap) else built
    with evaluation_mode(module):
        maps = [normalized_maps(made, images[part], _of_part(class_idx, part), reduction=reduction) for part in parts]
        if isinstance(built, ShuffledMap):
            classes = [built.classes(images[part], _of_part(class_idx, part)) for part in parts]
            return torch.cat(maps)[donors(torch.cat(classes), built.seed)]
    return torch.cat(maps)


def normalized_maps(
    method: Method, images: Tensor, class_idx: ClassIndex = None, *, reduction: ChannelReduction | None = None
) -> Tensor:
    """Apply a built method: one map per image, at the size of the images and in [0, 1].

    A map at a layer is resized, then normalized. An attribution is reduced to one channel, then normalized. The maps of
    a control that are in [0, 1] as they are (see `BaseControl`) are not normalized. The graph is kept if the method was
    built with `differentiable=True`.

    Args:
        method: A method, built for a network.
        images: The images, (N, C, H, W), in one batch.
        class_idx: The class to explain, as for the call of the method.
        reduction: How the channels of an attribution become one; see `image_maps`.

    Returns:
        (N, H, W) in [0, 1], at least float32; zeros where a map is flat.

    Raises:
        ValueError: If `reduction` is another word, or from the method.
        TypeError: From the method.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> network, images = CIFARResNet(depth=8).eval(), torch.rand(2, 3, 16, 24)
        >>> for name in ("grad_cam", "input_gradient"):
        ...     maps = normalized_maps(method_named(name, network), images)
        ...     print(maps.shape, float(maps.min()), float(maps.max()))
        torch.Size([2, 16, 24]) 0.0 1.0
        torch.Size([2, 16, 24]) 0.0 1.0
    """
    maps = resized_maps(method, images, class_idx, reduction=reduction)
    return maps if is_normalized(method) else normalize(maps)


def is_normalized(method: Method) -> bool:
    """Whether the maps of a method are in [0, 1] as it makes them, as those of most controls are."""
    return isinstance(method, BaseControl) and method.is_normalized


def resized_maps(
    method: Method, images: Tensor, class_idx: ClassIndex = None, *, reduction: ChannelReduction | None = None
) -> Tensor:
    """Apply a built method: one map per image, at the size of the images, not normalized.

    For comparisons of energy, which subtracting the minimum would change. Otherwise use `normalized_maps`.

    Args:
        method: A method, built for a network.
        images: The images, (N, C, H, W), in one batch.
        class_idx: The class to explain, as for the call of the method.
        reduction: How the channels of an attribution become one; see `image_maps`.

    Returns:
        (N, H, W), at least float32.
    """
    found = method(images, class_idx)
    maker = method.method if isinstance(method, ShuffledMap) else method
    maps = saliency_map(found, reduction or maker.reduction) if isinstance(maker, BaseAttribution) else found
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    return resize(maps, (int(images.shape[-2]), int(images.shape[-1])))


def _parameters(method: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(method).parameters)


def _checked_method(method: Method, network: nn.Module, target_layer: Any, options: dict[str, Any]) -> Method:
    """The built method, if it is one for this network and nothing is left to choose."""
    if not isinstance(method, (BaseCAM, BaseAttribution, BaseControl)):
        raise TypeError(f"`method`: expected a name or a method built for the network, got {method!r}")
    if method.network is not network:
        raise ValueError(f"`method`: expected a method for `network`, got a {type(method).__name__} for another one")
    if target_layer is not None:
        raise ValueError("`target_layer`: expected None, since a built method has its target layer already")
    if options:
        raise TypeError(f"`{next(iter(options))}`: expected no options, since a built method has its own already")
    return method


def _check_number_of_classes(class_idx: ClassIndex, count: int) -> None:
    """Check that there is a class for each image: parts of a longer tensor would be those of other images."""
    pair = (getattr(class_idx, name, None) for name in ("class_idx", "against"))  # of a contrast
    for index in (class_idx, *pair):
        if isinstance(index, Tensor) and index.dim() == 1 and len(index) != count:
            raise ValueError(f"`class_idx`: expected one class, or one for each of {count} images, got {len(index)}")


def _of_part(class_idx: ClassIndex, part: slice) -> ClassIndex:
    """The choice for some of the images. `None` stays: in evaluation mode a prediction depends on its image alone."""
    match class_idx:
        case Contrast():
            return Contrast(_index_of_part(class_idx.class_idx, part), _index_of_part(class_idx.against, part))
        case Against():
            return Against(_index_of_part(class_idx.class_idx, part))
        case _ if callable(class_idx):
            return as_target(class_idx).changed(lambda rows: rows[part])
        case _:
            return _index_of_part(class_idx, part)


def _index_of_part(index: int | Tensor | None, part: slice) -> int | Tensor | None:
    return index[part] if isinstance(index, Tensor) and index.dim() == 1 else index
