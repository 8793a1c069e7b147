"""Eigen-CAM."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camtrain.cams.base_cam import BaseCAM
from camtrain.gradients import ClassIndex, fixed_class


def eigen_cam(activations: Tensor, *, centered: bool = False) -> Tensor:
    """Eigen-CAM: the activations of each pixel, projected onto their dominant direction.

        O = U Σ Vᵀ,    map = O v_1

    O holds the activations of an image, one row per pixel and one column per channel; v_1 is its first right singular
    vector. The map depends on no class and no gradient: it shows what the layer responds to, whatever the prediction.

    The sign of a singular vector is arbitrary. It is chosen so that the pixel of largest magnitude is positive; after a
    ReLU, the uncentered map is then nowhere negative.

    As in the paper, O is not centered. pytorch-grad-cam subtracts the mean of each channel first, so that v_1 is the
    first principal component in the usual sense and the map has both signs; so does `centered=True`.

    If all activations are zero, or with `centered` all pixels are equal, the map is zeros with a zero gradient. If the
    two largest singular values are equal, the map is not defined: one of the two directions is taken, and the gradient
    leaves out the rotation of the direction. There is no second derivative: a backward pass with `create_graph` raises.

    Args:
        activations: The activations A of a layer, (N, C, h, w).
        centered: Whether to subtract the mean of each channel over the pixels first.

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
    # At unit scale no square over- or underflows. Activations that are not finite have no decomposition: a NaN map.
    scale = pixels.detach().abs().amax(dim=(1, 2), keepdim=True)
    usable = (scale > 0) & scale.isfinite()
    pixels = torch.where(usable, pixels, 0.0) / torch.where(usable, scale, 1.0)
    # Centering leaves rounding errors of pixels that are all equal; the norm before it bounds them.
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
        raise RuntimeError("eigen_cam: its gradient cannot be differentiated again; run backward without create_graph")


def _first_direction(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """First right singular vector of each (P, C) matrix, with its first derivative, and the singular value, detached.

    With G = OᵀO and λ_j = σ_j²,

        d v_1 = Σ_{j≥2} v_j v_jᵀ dG v_1 / (λ_1 - λ_j)

    The v_j with σ_j = 0 are left out: they do not move the projection, since O v_j = 0. Torch's own derivative divides
    by the differences of all pairs of singular values, including pairs of zeros.
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
    # The value of the added term is zero, its derivative is that of the direction.
    return first + (change - change.detach()).squeeze(-1), largest


class EigenCAM(BaseCAM):
    """Eigen-CAM: projects the activations of each pixel onto their dominant direction; see `eigen_cam`.

    The map is the same for every class: the argument `class_idx` of the call is checked and has no effect.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        target_layer: The target layer; see `BaseCAM`. Only one.
        centered: Whether to subtract the mean of each channel over the pixels first, as pytorch-grad-cam does and the
            paper does not.
        differentiable: Whether the map stays in the graph; see `BaseCAM`. A penalty on the map trains the target layer
            and the layers before it; the layers behind it have no part in the map.

    Raises:
        ValueError: As for `BaseCAM`. When called: if there are several target layers.
        TypeError: As for `BaseCAM`.

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
