"""Attributions of captum as methods."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from camtrain.attributions import BaseAttribution
from camtrain.attributions.saliency_map import ChannelReduction, check_reduction
from camtrain.cams import BaseCAM
from camtrain.gradients import ClassIndex
from camtrain.gradients.seeded import seeded
from camtrain.interop.chosen_classes import fixed_choice
from camtrain.interop.kept_gradients import kept_gradients
from camtrain.messages import checked_seed

_OF_MAGNITUDE = ("Saliency", "GuidedBackprop", "Deconvolution", "GuidedGradCam")


class CaptumAttribution(BaseAttribution):
    """An attribution of captum at the input, as a method.

    captum explains classes. It does not know of `Contrast`, `Against` and targets; to explain these with captum, give
    it an `AdaptedNetwork` whose logits they are.

    Args:
        attribution: An object of captum, such as `captum.attr.IntegratedGradients(network)`.
        network: The network that it explains; needed where captum was given a function instead of a module.
        reduction: How the channels become one (see `saliency_map`). `None` takes the largest magnitude of gradients
            (Saliency, GuidedBackprop, Deconvolution, GuidedGradCam) and the sum of all others, which share out a score.
        seed: The seed of what it draws at random; `None` goes on from the state of the generators.
        options: Further arguments of its `attribute`, such as `sliding_window_shapes` or `baselines`.

    Raises:
        TypeError: If no network is known, or `target` is among the options.
        ValueError: If `reduction` is another word.

    Example:
        >>> from captum.attr import Saliency
        >>> from camtrain.networks import CIFARResNet
        >>> CaptumAttribution(Saliency(CIFARResNet(depth=8).eval()))(torch.rand(2, 3, 16, 16), 3).shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        attribution: Any,
        network: nn.Module | None = None,
        *,
        reduction: ChannelReduction | None = None,
        seed: int | None = 0,
        **options: Any,
    ) -> None:
        super().__init__(_network_of(attribution, network))
        self.attribution = attribution
        if reduction is None:
            reduction = "max" if type(_innermost(attribution)).__name__ in _OF_MAGNITUDE else "sum"
        check_reduction(reduction)
        self.reduction = reduction
        self.seed = None if seed is None else checked_seed("seed", seed)
        self.options = _checked_options(options)

    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        found = _attributed(self, images, class_idx)
        if found.shape != images.shape:
            raise ValueError(
                f"`attribution`: expected attributions of the shape of the images, {tuple(images.shape)}, got "
                f"{tuple(found.shape)}"
            )
        return found


class CaptumLayer(BaseCAM):
    """An attribution of captum at a layer, as a method.

    The channels of (N, C, h, w) attributions are added up. See `CaptumAttribution` for what can be explained.

    Args:
        attribution: An object of captum, such as `captum.attr.LayerGradCam(network, network.layer4)`.
        network: The network that it explains; needed where captum was given a function instead of a module.
        reshape_transform: From the attributions of the layer to (N, C, h, w) or (N, h, w), such as for tokens. `None`
            finds how the layer contains its map.
        seed: The seed of what it draws at random; `None` goes on from the state of the generators.
        options: Further arguments of its `attribute`, such as `relu_attributions`.

    Raises:
        TypeError: If no network is known, or `target` is among the options.

    Example:
        >>> from captum.attr import LayerGradCam
        >>> from camtrain.networks import CIFARResNet
        >>> network = CIFARResNet(depth=8).eval()
        >>> CaptumLayer(LayerGradCam(network, network.layer2))(torch.rand(2, 3, 16, 16), 3).shape
        torch.Size([2, 8, 8])
    """

    def __init__(
        self,
        attribution: Any,
        network: nn.Module | None = None,
        *,
        reshape_transform: Any = None,
        seed: int | None = 0,
        **options: Any,
    ) -> None:
        super().__init__(_network_of(attribution, network), attribution.layer)
        self.attribution = attribution
        self.reshape_transform = reshape_transform
        self.seed = None if seed is None else checked_seed("seed", seed)
        self.options = _checked_options(options)

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        found = _attributed(self, images, class_idx)
        if self.reshape_transform is not None:
            found = self.reshape_transform(found)
        elif not (found.dim() == 4 and found.shape[1] == 1):
            layout = self.layout_of(images)(found, self.layer(images))
            found = layout.maps(found)
        found = found.sum(dim=1) if found.dim() == 4 else found
        if found.dim() != 3 or len(found) != len(images):
            raise ValueError(
                f"`reshape_transform`: expected (N, C, h, w) or (N, h, w) for {len(images)} images, got "
                f"{tuple(found.shape)}"
            )
        return found


def _attributed(method: CaptumAttribution | CaptumLayer, images: Tensor, class_idx: ClassIndex) -> Tensor:
    choice, classes = fixed_choice(method.network, images, class_idx)
    if classes is None:
        raise ValueError(
            f"`class_idx`: captum explains classes of several logits, got {type(choice).__name__}"
            f"{' of a single logit' if isinstance(choice, Tensor) else ''}; give captum "
            "a camtrain.networks.AdaptedNetwork whose logits are what is to be explained"
        )
    given = images.detach().clone().requires_grad_()
    with seeded(method.seed, images.device), kept_gradients(method.network), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it sets hooks, which it removes, and that it requires gradients
        found = method.attribution.attribute(
            given, target=torch.tensor(classes, device=images.device), **method.options
        )
    if isinstance(found, tuple):
        if len(found) != 1:
            raise ValueError(f"`attribution`: expected one attribution, got {len(found)}")
        (found,) = found
    return found.detach()  # type: ignore[no-any-return]


def _innermost(attribution: Any) -> Any:
    """The attribution that a `NoiseTunnel` averages."""
    while hasattr(attribution, "attribution_method"):
        attribution = attribution.attribution_method
    return attribution


def _network_of(attribution: Any, network: nn.Module | None) -> nn.Module:
    if network is not None:
        return network
    found = getattr(attribution, "forward_func", None)
    if isinstance(found, nn.Module):
        return found
    raise TypeError(
        f"`network`: expected the module that the {type(attribution).__name__} explains, since captum was given "
        f"{found!r} and no module"
    )


def _checked_options(options: dict[str, Any]) -> dict[str, Any]:
    if "target" in options:
        raise TypeError("`target`: expected none, since the class is an argument of the call, `class_idx`")
    return options
