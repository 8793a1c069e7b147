"""Occlusion: what the score loses when a window of the image is hidden."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.baseline import Baseline, baseline_of, checked_baseline
from camtrain.attributions.captum_library import ExplainedScores, captum_attr
from camtrain.attributions.saliency_map import ChannelReduction
from camtrain.gradients import ClassIndex, selected_class
from camtrain.messages import positive_integer


class Occlusion(BaseAttribution):
    """Occlusion: the loss of the class score when a window is hidden, averaged over the windows that cover a pixel.

        a_ij = mean over the windows W that cover (i, j) of y(x) − y(x with W replaced by the baseline)

    All channels of a window are hidden together, so each of them has this attribution. It is computed by captum.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        window: The height and width of the window in pixels, or one number for both. `None` takes an eighth of the
            image's sides, rounded up.
        stride: The distance of neighboring windows in pixels, down and across, or one number for both; at most the
            window. `None` takes half of the window, rounded up.
        baseline: What a window is replaced by, as the network would get it; see `IntegratedGradients`.
        max_batch: The largest number of images in one forward pass; bounds the memory.
        differentiable: False only; accepted so that all methods have one signature.

    Raises:
        ModuleNotFoundError: If captum is not installed.
        ValueError: If `differentiable` is True or a number is not positive. When called: if the window is larger than
            the image, or the stride larger than the window.

    Cost:
        One forward pass for the class, and one for each position of the window: 225 to 289 by default.

    Source:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, arXiv 1311.2901.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> Occlusion(CIFARResNet(depth=8), window=8)(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 3, 16, 16])
    """

    reduction: ChannelReduction = "sum"

    def __init__(
        self,
        network: nn.Module,
        window: int | Sequence[int] | None = None,
        stride: int | Sequence[int] | None = None,
        *,
        baseline: Baseline = 0.0,
        max_batch: int = 64,
        differentiable: bool = False,
    ) -> None:
        if differentiable:
            raise ValueError(
                "`differentiable`: expected False, got True; Occlusion compares scores of one further forward pass per "
                "window, and a graph through all of them would not fit into memory"
            )
        captum_attr("occlusion")
        super().__init__(network)
        self.window = None if window is None else _pair("window", window)
        self.stride = None if stride is None else _pair("stride", stride)
        self.baseline = checked_baseline(baseline)
        self.max_batch = positive_integer("max_batch", max_batch)

    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        sizes = self._sizes((images.shape[-2], images.shape[-1]))
        if not len(images):
            return torch.zeros_like(images)
        class_idx = self.fixed_class(images, class_idx)
        baseline = baseline_of(self.baseline, images)
        parts = [slice(start, start + self.max_batch) for start in range(0, len(images), self.max_batch)]
        with torch.no_grad():
            found = torch.cat(
                [self._attributed(images[at], selected_class(class_idx, at), baseline[at], *sizes) for at in parts]
            )
        torch.clear_autocast_cache()
        return found.to(images.dtype)

    def _attributed(
        self, images: Tensor, class_idx: ClassIndex, baseline: Tensor, window: tuple[int, int], stride: tuple[int, int]
    ) -> Tensor:
        channels = images.shape[1]
        found: Tensor = (
            captum_attr("occlusion")
            .Occlusion(ExplainedScores(self.network, class_idx, len(images)))
            .attribute(
                images,
                sliding_window_shapes=(channels, *window),
                strides=(channels, *stride),
                baselines=baseline,
                perturbations_per_eval=max(1, self.max_batch // len(images)),
            )
        )
        return found

    def _sizes(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        window = self.window or (-(-size[0] // 8), -(-size[1] // 8))
        stride = self.stride or (-(-window[0] // 2), -(-window[1] // 2))
        if window[0] > size[0] or window[1] > size[1]:
            raise ValueError(f"`window`: expected at most {size[0]}×{size[1]}, the image, got {window[0]}×{window[1]}")
        if stride[0] > window[0] or stride[1] > window[1]:
            raise ValueError(
                f"`stride`: expected at most the window, {window[0]}×{window[1]}, got {stride[0]}×{stride[1]}"
            )
        return window, stride


def _pair(name: str, value: int | Sequence[int]) -> tuple[int, int]:
    values = list(value) if isinstance(value, Sequence) else [value, value]
    if len(values) != 2:
        raise ValueError(f"`{name}`: expected one number of pixels, or two for height and width, got {value!r}")
    return positive_integer(name, values[0]), positive_integer(name, values[1])
