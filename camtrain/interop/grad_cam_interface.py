"""A method of camtrain where one of pytorch-grad-cam is expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from camtrain.attributions import BaseAttribution, saliency_map
from camtrain.cams import BaseCAM, normalize, resize
from camtrain.controls import BaseControl
from camtrain.gradients import ClassIndex, evaluation_mode, fixed_class, left_as_found
from camtrain.interop.eigen_smoothed import EigenSmoothed
from camtrain.interop.reshaped_layout import ReshapedLayout
from camtrain.targets import EachImage

_FACTORS = (0.9, 1.0, 1.1)


class GradCAMInterface:
    """A method of camtrain that is called as a `BaseCAM` of pytorch-grad-cam is.

        cam = GradCAMInterface(LayerCAM, model=network, target_layers=[network.layer4])
        maps = cam(input_tensor=images, targets=[ClassifierOutputTarget(281)])  # NumPy, (N, H, W), in [0, 1]

    The maps are those of the method, resized, then normalized; pytorch-grad-cam normalizes first and again after
    resizing, so that its maps differ by a little. The network is left as found: its mode and the `.grad` of its
    parameters, too. No hook stays behind, so a `with` statement is possible and not needed.

    Args:
        method: A class of `camtrain.cams` or `camtrain.attributions`, or a built method.
        model: The network; `None` where the method is built.
        target_layers: The layers, as modules or dotted names. `None` finds the last spatial layer.
        reshape_transform: From the output of a layer to (N, C, h, w). `None` finds how the layer contains its maps, for
            most vision transformers as well.

    Raises:
        TypeError: If the method is none, or `model` is missing, or given beside a built method.
        ValueError: If `target_layers` are no layers of the network.

    Example:
        >>> from camtrain.cams import GradCAM
        >>> from camtrain.networks import CIFARResNet
        >>> network = CIFARResNet(depth=8)
        >>> cam = GradCAMInterface(GradCAM, model=network, target_layers=[network.layer2])
        >>> cam(input_tensor=torch.rand(2, 3, 16, 16), targets=None, aug_smooth=True).shape
        (2, 16, 16)
    """

    def __init__(
        self,
        method: Any,
        model: nn.Module | None = None,
        target_layers: Sequence[nn.Module | str] | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.method = _built(method, model, target_layers)
        self.model = self.method.network
        self.target_layers = target_layers
        self.reshape_transform = reshape_transform
        if reshape_transform is not None:
            if not isinstance(self.method, BaseCAM):
                name = type(self.method).__name__
                raise TypeError(f"`reshape_transform`: expected None, since {name} has no target layer")
            layout = ReshapedLayout(reshape_transform)
            self.method.layout_of_output = lambda _output, _layer: layout

    def __call__(
        self,
        input_tensor: Tensor,
        targets: Iterable[Any] | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> npt.NDArray[np.float32]:
        """Make the maps of a batch.

        Args:
            input_tensor: The images, (N, C, H, W). They are moved to the device of the network.
            targets: A function for each image, from the output for this image to a number, such as a
                `ClassifierOutputTarget`. `None` explains the predicted class of each image; with `aug_smooth`, that of
                the image as it is.
            aug_smooth: Average the maps of the image and its mirror image, each times 0.9, 1 and 1.1.
            eigen_smooth: Take the first principal component of the weighted channels in the place of their sum.

        Returns:
            (N, H, W) float32 in [0, 1].

        Raises:
            ValueError: If there are not as many targets as images, or from the method.
            TypeError: If `eigen_smooth` is used with a method that is not from activations and gradients.
        """
        device = next((parameter.device for parameter in self.model.parameters()), input_tensor.device)
        images = input_tensor.detach().to(device)
        method = self.method
        if eigen_smooth:
            if not isinstance(method, BaseCAM):
                raise TypeError(f"`eigen_smooth`: expected False, since {type(method).__name__} has no channels")
            method = EigenSmoothed(method)
        with evaluation_mode(self.model):
            class_idx = self._class_idx(images, targets)
            if not aug_smooth:
                return _as_numpy(_maps(method, images, class_idx))
            smoothed = [
                _mirrored(_maps(method, factor * _mirrored(images, mirror), class_idx), mirror)
                for mirror in (False, True)
                for factor in _FACTORS
            ]
            return _as_numpy(torch.stack(smoothed).mean(dim=0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to remove."""

    def _class_idx(self, images: Tensor, targets: Iterable[Any] | None) -> ClassIndex:
        if targets is None:
            with torch.no_grad(), left_as_found(self.model, images.device):
                return fixed_class(self.model(images))
        chosen = list(targets)
        if len(chosen) != len(images):
            raise ValueError(f"`targets`: expected one for each of {len(images)} images, got {len(chosen)}")
        if chosen and all(type(target).__name__ == "ClassifierOutputTarget" for target in chosen):
            with torch.no_grad(), left_as_found(self.model, images.device):
                is_single = self.model(images[:1]).shape[-1] == 1
            # The only output of a network is "yes" there, the class 0 here is "no".
            if not is_single:
                return torch.tensor([int(target.category) for target in chosen], device=images.device)
        return EachImage(chosen)


def _built(method: Any, model: nn.Module | None, layers: Sequence[nn.Module | str] | None) -> BaseCAM | BaseAttribution:
    if isinstance(method, type) and issubclass(method, BaseCAM | BaseAttribution):
        if model is None:
            raise TypeError("`model`: expected the network that the method explains, got None")
        if issubclass(method, BaseAttribution) or layers is None:
            if layers is not None and issubclass(method, BaseAttribution):
                raise TypeError(f"`target_layers`: expected None, since {method.__name__} has no target layer")
            return method(model)
        found = list(layers)
        return method(model, found[0] if len(found) == 1 else found)
    if isinstance(method, BaseControl) or not isinstance(method, BaseCAM | BaseAttribution):
        raise TypeError(f"`method`: expected a class of camtrain.cams or camtrain.attributions, got {method!r}")
    for name, value in {"model": model, "target_layers": layers}.items():
        if value is not None:
            raise TypeError(f"`{name}`: expected None, since the method is built and has its own")
    return method


def _maps(method: BaseCAM | BaseAttribution, images: Tensor, class_idx: ClassIndex) -> Tensor:
    found = method(images, class_idx).detach()
    maps = saliency_map(found, method.reduction) if isinstance(method, BaseAttribution) else found
    return normalize(resize(maps.float(), (images.shape[-2], images.shape[-1])))


def _mirrored(images: Tensor, mirror: bool) -> Tensor:
    return images.flip(-1) if mirror else images


def _as_numpy(maps: Tensor) -> npt.NDArray[np.float32]:
    return maps.cpu().numpy().astype(np.float32)
