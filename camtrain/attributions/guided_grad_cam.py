"""Guided Grad-CAM."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.guided_backprop import guided_score_gradient
from camtrain.cams import GradCAM, grad_cam, resize
from camtrain.gradients import ClassIndex, class_score


def guided_grad_cam(guided_gradients: Tensor, cams: Tensor) -> Tensor:
    """Guided Grad-CAM: guided gradients times a map at the size of the image.

        a = R_0 ⊙ U(map),    U bilinear interpolation to the size of the image

    The map is used raw: not negative, not normalized.

    Args:
        guided_gradients: The guided gradients, (N, C, H, W).
        cams: The maps, (N, h, w).

    Returns:
        (N, C, H, W).

    Source:
        Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017,
        section 3.2, arXiv 1610.02391.

    Example:
        >>> import torch
        >>> guided_grad_cam(torch.tensor([[[[1.0, -2.0]]]]), torch.tensor([[[3.0]]]))
        tensor([[[[ 3., -6.]]]])
    """
    height, width = guided_gradients.shape[-2:]
    return guided_gradients * resize(cams, (height, width)).unsqueeze(1)


class GuidedGradCAM(BaseAttribution):
    """Guided Grad-CAM: guided backprop of the class score times Grad-CAM; see `guided_grad_cam` for the formula.

    Guided backprop adds detail, Grad-CAM depends on the class.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits, with ReLU-like activations.
        target_layer: The layer of Grad-CAM, by its dotted name or as a module. `None` finds the last spatial layer at
            the first call.
        differentiable: False only.

    Raises:
        ValueError: If `differentiable` is True, since guided backprop is not the derivative of any function, or the
            layer is not in the network. When called: if there is no ReLU-like activation, or they are hidden.

    Cost:
        One forward pass, one backward pass of the layers behind the target layer and one to the input.

    Example:
        >>> import torch
        >>> from camtrain.networks import CIFARResNet
        >>> GuidedGradCAM(CIFARResNet(depth=8), "layer3")(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self, network: nn.Module, target_layer: str | nn.Module | None = None, *, differentiable: bool = False
    ) -> None:
        if differentiable:
            raise ValueError(
                "`differentiable`: expected False, got True. Guided backprop is not the derivative of any function: "
                "use it as a fixed target, or train through GradCAM or InputGradient"
            )
        super().__init__(network)
        self._cam = GradCAM(network, target_layer)

    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See `guided_grad_cam`; both factors come from one forward pass."""
        images = self.tracked(images)
        self._cam.layer(images)  # found outside the pass
        with self._cam.captured(images, differentiable=True) as captured:
            logits = self.network(images)
        scores, activations = class_score(logits, class_idx), captured.activations
        guided = guided_score_gradient(scores, images)
        (gradients,) = torch.autograd.grad(scores.sum(), activations, allow_unused=True)
        if gradients is None:
            raise ValueError(
                "`target_layer`: the logits do not depend on the output of this layer; choose another layer"
            )
        return guided_grad_cam(guided, grad_cam(activations.detach(), gradients))
