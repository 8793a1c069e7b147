"""Eigen-CAM."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camtrain.cams.base_cam import BaseCAM
from camtrain.gradients import ClassIndex, fixed_class


def eigen_cam(activations: Tensor, *, centered: bool = False) -> Tensor:
    """Eigen-CAM: the activations of each pixel, projected on the direction in which they are largest.

        O = U Σ Vᵀ,    map = O v_1

    O holds the activations of an image, one row per pixel and one column per channel; v_1 is its first right singular
    vector. No class and no gradient enter: the map says what the layer responds to, whatever the network concludes.

    A singular vector has no sign of its own. Here the pixel of largest magnitude is positive; after a ReLU the
    uncentered map is then not negative anywhere.

    O is not centered, as in the paper. pytorch-grad-cam subtracts the mean of each channel first, which makes v_1 the
    first principal component in the usual sense and the map one of both signs; `centered=True` does so too.

    A dead map, or with `centered` one whose pixels are all alike, is zeros with a zero gradient. Where the two largest
    singular values are equal the map is not defined; it is then that of one of them, and the turn of the direction is
    left out of its gradient. Its second derivative is not known: a backward pass with `create_graph` is an
    error.

    Args:
        activations: (N, C, h, w).
        centered: subtract each channel's mean over the pixels first.

    Returns:
        (N, h, w), at least float32, not normalized. Differentiable.

    Source:
        Muhammad and Yeasin, Eigen-CAM: Class Activation Map using Principal Components, IJCNN 2020, arXiv 2008.00299.

    Example:
        >>> activations = torch.tensor([[[[3.0, 6.0]], [[4.0, 8.0]]]])  # both along (3, 4) / 5
        >>> eigen_cam(activations).round(decimals=4)
        tensor([[[ 5., 10.]]])
        >>> eigen_cam(activations, centered=True).abs().round(decimals=4)
        tensor([[[2.5000, 2.5000]]])
    """
    pixels = activations.flatten(2).mT.to(torch.promote_types(activations.dtype, torch.float32))
    # At unit scale no square over- or underflows. What is not finite has no decomposition; its map is NaN.
    scale = pixels.detach().abs().amax(dim=(1, 2), keepdim=True)
    usable = (scale > 0) & scale.isfinite()
    pixels = torch.where(usable, pixels, 0.0) / torch.where(usable, scale, 1.0)
    # What centering leaves of pixels that are all alike is rounding error; the norm before says how much that can be.
    noise = 4 * torch.finfo(pixels.dtype).eps * torch.linalg.vector_norm(pixels.detach(), dim=(1, 2))
    if centered:
        pixels = pixels - pixels.mean(dim=1, keepdim=True)
    direction, largest = _first_direction(pixels)
    projected = (pixels @ direction.unsqueeze(-1)).squeeze(-1)
    extreme = projected.detach().gather(1, projected.detach().abs().argmax(dim=1, keepdim=True))
    signed = projected * torch.where(extreme < 0, -1.0, 1.0)
    cams = torch.where((largest <= noise).unsqueeze(-1), torch.zeros_like(signed), signed) * scale.squeeze(-1)
    cams = cams.view(len(activations), *activations.shape[-2:])
    if cams.requires_grad:
        cams.register_hook(_refuse_graph)  # type: ignore[no-untyped-call]
    return cams


def _refuse_graph(_gradient: Tensor) -> None:
    if torch.is_grad_enabled():
        raise RuntimeError("eigen_cam: its gradient cannot be differentiated again; go backward without create_graph")


def _first_direction(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """First right singular vector of each (P, C) matrix, with its first derivative, and the singular value, detached.

    With G = OᵀO and λ_j = σ_j²,

        d v_1 = Σ_{j≥2} v_j v_jᵀ dG v_1 / (λ_1 - λ_j)

    where the v_j of σ_j = 0 are left out: they do not move the projection, O v_j = 0. Torch's own derivative divides by
    the differences of all pairs of singular values, also by those of two that are zero.
    """
    _, values, vectors = torch.linalg.svd(pixels.detach(), full_matrices=False)
    first, largest = vectors[:, 0], values[:, 0]
    if not pixels.requires_grad:
        return first, largest
    squares = values.square()
    gaps = squares[:, :1] - squares[:, 1:]
    equal = gaps <= torch.finfo(gaps.dtype).eps * squares[:, :1]
    factors = torch.where(equal, 0.0, 1 / torch.where(equal, 1.0, gaps))
    product = pixels.mT @ (pixels @ first.unsqueeze(-1))  # G v_1
    change = vectors[:, 1:].mT @ (factors.unsqueeze(-1) * (vectors[:, 1:] @ product))
    # Its value is zero but for rounding.
    return first + (change - change.detach()).squeeze(-1), largest


class EigenCAM(BaseCAM):
    """Eigen-CAM of a network; see `eigen_cam` for the formula.

    The class does not matter: the map is the same for all, and the argument `class_idx` of the call is checked but has
    no effect.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        target_layer: see `BaseCAM`; one layer.
        centered: subtract each channel's mean over the pixels first, as pytorch-grad-cam does and the paper does not.
        differentiable: see `BaseCAM`. A penalty on the map trains the target layer and what lies before it; nothing
            behind it has a part in the map.

    Raises:
        ValueError: as `BaseCAM`, or, at the call, if there are several target layers.
        TypeError: as `BaseCAM`.

    Cost:
        One forward pass, and a singular value decomposition of (hw, C) for each image.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> EigenCAM(CIFARResNet(depth=8), "layer3")(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
    """

    def __init__(
        self,
        network: nn.Module,
        target_layer: str | nn.Module | Sequence[str | nn.Module] | None = None,
        *,
        centered: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(network, target_layer, differentiable=differentiable)
        self.centered = centered

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """Capture and decompose."""
        self.layer(images)
        with self.captured(images, gradients=self.differentiable) as captured:
            logits = self.network(images)
        fixed_class(logits, class_idx)  # for its errors
        return eigen_cam(captured.activations, centered=self.centered)
