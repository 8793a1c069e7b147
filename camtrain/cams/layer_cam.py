"""LayerCAM."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camtrain.cams.gradient_cam import GradientCAM
from camtrain.cams.resize import resize
from camtrain.messages import checked_number


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """LayerCAM: each activation times its own gradient, where the gradient is positive.

        map = ReLU(Σ_k ReLU(∂y/∂A^k) ⊙ A^k)

    A weight for each pixel, not for each channel, makes sense in shallow layers too, where a channel responds to
    different things in different places.

    Args:
        activations: The activations A of a layer, (N, C, h, w).
        gradients: The gradients ∂y/∂A of a class score, (N, C, h, w).

    Returns:
        (N, h, w), not negative, not normalized. Differentiable in both arguments.

    Source:
        Jiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE TIP 30, 2021.

    Example:
        >>> activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
        >>> gradients = torch.tensor([[[[2.0, -1.0]], [[0.5, 4.0]]]])
        >>> layer_cam(activations, gradients)
        tensor([[[3.5000, 0.0000]]])
    """
    return (gradients.relu() * activations).sum(dim=1).relu()


def layer_cam_pyramid(maps: Sequence[Tensor], gamma: float = 2.0) -> Tensor:
    """Fuse the LayerCAM maps of several layers: evidence from any layer, as sharp as in the shallowest.

        map = max_l M̂_l,    M̂_l = tanh(γ M_l / max M_l) if l is shallow, M_l / max M_l otherwise

    Most values of a shallow map are far below its maximum; the tanh lifts them. The paper calls the first three of five
    stages shallow. Here a map is shallow if it has more than four times as many pixels as the smallest one. This is
    the same if the smallest map is that of the last stage, since each stage halves the sides.

    Each map is resized to the size of the largest one before its maximum is taken.

    Args:
        maps: The map of each layer, (N, h, w), not negative, of any sizes.
        gamma: The slope γ of the tanh. The larger it is, the more a shallow map counts.

    Returns:
        (N, h, w) in [0, 1], at least float32, of the size of the largest map. Differentiable; a map of zeros adds
        nothing and gets a zero gradient.

    Source:
        Jiang et al., 2021, eq. 9, with γ = 2.

    Example:
        >>> shallow, deep = torch.tensor([[[0.0, 0.0, 2.0, 1.0, 0.0]]]), torch.tensor([[[4.0]]])
        >>> layer_cam_pyramid([shallow, 0 * deep])
        tensor([[[0.0000, 0.0000, 0.9640, 0.7616, 0.0000]]])
        >>> layer_cam_pyramid([shallow, deep])
        tensor([[[1., 1., 1., 1., 1.]]])
    """
    sizes = [cams.shape[-2:] for cams in maps]
    largest, smallest = max(sizes, key=_pixels), min(sizes, key=_pixels)
    scaled = [_divided_by_maximum(resize(cams, (largest[0], largest[1]))) for cams in maps]
    lifted = [
        torch.tanh(gamma * cams) if _pixels(size) > 4 * _pixels(smallest) else cams
        for cams, size in zip(scaled, sizes, strict=True)
    ]
    return torch.stack(lifted).amax(dim=0)


def _pixels(size: torch.Size) -> int:
    return size[0] * size[1]


def _divided_by_maximum(cams: Tensor) -> Tensor:
    cams = cams.to(torch.promote_types(cams.dtype, torch.float32))
    top = cams.amax(dim=(-2, -1), keepdim=True)
    # The denominator is made safe before the division: a NaN in the unused branch would still reach the gradient.
    flat = top < torch.finfo(top.dtype).tiny
    return torch.where(flat, torch.zeros_like(cams), cams / torch.where(flat, 1.0, top))


class LayerCAM(GradientCAM):
    """LayerCAM: multiplies each activation by its own positive gradient, at one layer or as a pyramid of several.

    See `layer_cam` and `layer_cam_pyramid` for the formulas.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        target_layer: The target layer, or several; see `BaseCAM`. One layer gives its raw map, several layers give
            their pyramid, in [0, 1].
        gamma: The slope γ of the pyramid, greater than zero.
        differentiable: Whether the map stays in the graph; see `BaseCAM`.

    Raises:
        ValueError: If `gamma` is not positive, or as `BaseCAM`.
        TypeError: As for `BaseCAM`.

    Cost:
        One forward pass and a backward pass of the layers behind the first target layer, for the whole batch at once.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> network, images = CIFARResNet(depth=8), torch.rand(2, 3, 32, 32)
        >>> LayerCAM(network, "layer3")(images).shape
        torch.Size([2, 8, 8])
        >>> LayerCAM(network, ["layer1", "layer2", "layer3"])(images).shape
        torch.Size([2, 32, 32])
    """

    def __init__(
        self,
        network: nn.Module,
        target_layer: str | nn.Module | Sequence[str | nn.Module] | None = None,
        *,
        gamma: float = 2.0,
        differentiable: bool = False,
    ) -> None:
        super().__init__(network, target_layer, differentiable=differentiable)
        self.gamma = checked_number("gamma", gamma, above=0)

    def combine(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """See `layer_cam`."""
        return layer_cam(activations, gradients)

    def fuse(self, maps: list[Tensor]) -> Tensor:
        """See `layer_cam_pyramid`."""
        return layer_cam_pyramid(maps, self.gamma)
