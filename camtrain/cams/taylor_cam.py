"""Taylor-CAM: how strongly pairs of positions act together on a class score."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from camtrain.batch import check_finite_images, check_images
from camtrain.cams.base_cam import BaseCAM
from camtrain.checked_logits import checked_logits
from camtrain.gradients import ClassIndex, class_score, gradients_enabled, left_as_found
from camtrain.gradients.not_inference import not_inference
from camtrain.networks.uncompiled import uncompiled
from camtrain.probabilities import class_probabilities, with_both_classes

Score = Literal["probability", "log_probability", "logit"]
"""The score that is differentiated twice: the class probability, its logarithm, or the logit."""

_ROUNDING = 1e3  # a derivative below this many multiples of the precision is a rounding error


def interaction_effects(activations: Tensor, cross_derivatives: Tensor) -> Tensor:
    """Weight cross-derivatives of a score by the activations, as input of `taylor_cam`.

        D_ij = Σ_k A^k_i Σ_m ∂²y/∂A^k_i∂A^m_j

    Args:
        activations: The activations A of a layer, (N, C, h, w).
        cross_derivatives: The inner sum over m for P positions j, (N, P, C, h, w): how the gradient at position i and
            channel k changes if all channels of position j rise together.

    Returns:
        D for the P positions j and all positions i, (N, P, h, w). Differentiable in both arguments.

    Example:
        >>> activations = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1)
        >>> interaction_effects(activations, torch.tensor([3.0, -1.0]).view(1, 1, 2, 1, 1)).item()
        5.0
    """
    return (activations.unsqueeze(1) * cross_derivatives).sum(dim=2)


def taylor_cam(effects: Tensor) -> Tensor:
    """Taylor-CAM: the strength of each pair of positions, from the interaction effects.

        T_ij = D_ij² + D_ji²

    Args:
        effects: The effects D, (N, h, w, h, w), see `interaction_effects`. They need not be symmetric.

    Returns:
        T, (N, h, w, h, w), not negative and symmetric: T_ij = T_ji. Differentiable.

    Source:
        Lerman, Venuto, Kautz, Xu, Explaining Local, Global, and Higher-Order Interactions in Deep Learning, ICCV 2021,
        arXiv 2006.08601; the formula is that of the authors' code, `TaylorCAM/utils.py` in
        github.com/slerman12/ExplainingInteractions.

    Example:
        >>> taylor_cam(torch.tensor([[3.0, 1.0], [-2.0, 0.5]]).view(1, 1, 2, 1, 2)).view(2, 2)
        tensor([[18.0000,  5.0000],
                [ 5.0000,  0.5000]])
    """
    squares = effects.square()
    return squares + squares.permute(0, 3, 4, 1, 2)


def marginal_map(pairs: Tensor) -> Tensor:
    """Sum up how strongly each position acts together with the others: m_i = Σ_{j ≠ i} T_ij. Differentiable.

    The effect of a position on itself, T_ii, is no interaction and is left out. The authors leave it out too when they
    look for the strongest pairs.

    Args:
        pairs: The map of pairs T, (N, h, w, h, w).

    Returns:
        (N, h, w).

    Example:
        >>> marginal_map(torch.tensor([[18.0, 5.0], [5.0, 0.5]]).view(1, 1, 2, 1, 2))
        tensor([[[5., 5.]]])
    """
    images, height, width = pairs.shape[:3]
    flat = pairs.reshape(images, height * width, height * width)
    same = torch.eye(height * width, dtype=torch.bool, device=pairs.device)
    return flat.masked_fill(same, 0).sum(dim=2).view(images, height, width)


class TaylorCAM(BaseCAM):
    """Taylor-CAM: measures which pairs of positions act together on the class score, by second derivatives.

    `pairs` makes the map of pairs, (N, h, w, h, w). A call makes the map of positions, (N, h, w), the `marginal_map` of
    the pairs. `strongest_pairs_picture` draws the pairs over the image.

        D_ij = Σ_k A^k_i Σ_m ∂²y/∂A^k_i∂A^m_j,    T_ij = D_ij² + D_ji²,    m_i = Σ_{j ≠ i} T_ij

    A first-order map such as Σ_k ∂y/∂A^k · A^k is no Taylor-CAM: the joint effect of two positions is in the second
    derivative alone, so the score must be curved. Behind the target layer, most networks are piecewise linear (ReLU,
    max pooling, linear layers), and the second derivative of their logits is zero: `score="logit"` raises there. The
    class probability, the default, is curved in every network. The log-probability is curved too, but in a piecewise
    linear network its second derivative is -Jᵀ(diag(p) - ppᵀ)J, with the Jacobian J of the logits and the probabilities
    p, which is the same for every class: choose it only if the layers behind the target layer are smooth. The authors
    use networks with GELU, and explain the log-probability of the predicted class in one experiment and its probability
    in the other.

    If only global average pooling and one linear layer follow, as after the last layer of a ResNet, the second
    derivative is the same for all pairs of positions: D_ij depends on i alone, and the pairs show no more than the map
    of positions. Choose an earlier layer. If a LayerNorm follows, as after a block of a vision transformer or a stage
    of ConvNeXt, D is zero up to rounding, since a LayerNorm removes what all channels have in common; this raises.
    Choose the LayerNorm itself.

    Departures from the paper: the marginal map is not in it. The formula is that of the authors' code; they set the
    diagonal to zero before they rank pairs, and `pairs` keeps it.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        target_layer: The layer, by its dotted name or as a module; only one. `None` finds the last spatial layer at the
            first call.
        score: The score that is differentiated twice.
        independent_classes: Whether an image may show several classes, so that the probability of each is a sigmoid and
            not a softmax. `evaluate` and `explain` set it for networks that were trained so.
        differentiable: Whether the map stays in the graph, through the activations and through the weights. The layers
            behind the target layer must then be three times differentiable, and the graphs of all h·w passes are kept.

    Raises:
        ValueError: If `score` is another word, or the layer is not in the network. When called: if the second
            derivative of the score is zero (use `score="probability"`), or a LayerNorm follows.

    Cost:
        One forward pass, and 2 + h·w backward passes through the layers behind the target layer, for the whole batch at
        once. All backward passes but the first go through the graph of the first, and each costs about as much as two.
        The Hessian, (C·h·w)² numbers for an image, is never built.

    Source:
        Lerman, Venuto, Kautz, Xu, Explaining Local, Global, and Higher-Order Interactions in Deep Learning, ICCV 2021,
        arXiv 2006.08601.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> cam = TaylorCAM(CIFARResNet(depth=8).eval(), "layer2")
        >>> images = torch.rand(2, 3, 8, 8)
        >>> cam(images).shape, cam.pairs(images).shape
        (torch.Size([2, 4, 4]), torch.Size([2, 4, 4, 4, 4]))
    """

    def __init__(
        self,
        network: nn.Module,
        target_layer: str | nn.Module | None = None,
        *,
        score: Score = "probability",
        independent_classes: bool = False,
        differentiable: bool = False,
    ) -> None:
        if score not in ("probability", "log_probability", "logit"):
            raise ValueError(f"`score`: expected 'probability', 'log_probability' or 'logit', got {score!r}")
        super().__init__(network, target_layer, differentiable=differentiable)
        self.score: Score = score
        self.independent_classes = independent_classes

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """The marginal map of the pairs; see `marginal_map`."""
        return marginal_map(self._pairs(images, class_idx))

    def pairs(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """Make the map of pairs: how strongly each pair of positions acts together; see `taylor_cam`.

        Args:
            images: The images, (N, C, H, W).
            class_idx: The class to explain, as for the call.

        Returns:
            (N, h, w, h, w), raw, not negative and symmetric; detached unless `differentiable`. The diagonal is the
            effect of a position on itself.

        Raises:
            ValueError: As for the call.
        """
        check_images(images)
        check_finite_images(images)
        with gradients_enabled(), left_as_found(self.network, images.device), uncompiled():
            # Inference tensors cannot enter a graph; a clone can.
            images = not_inference(images)
            pairs = self._pairs(images, class_idx)
        return pairs if self.differentiable else pairs.detach()

    def _pairs(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        self.layer(images)
        # The fused attention kernels have no second derivative; the plain one does.
        with self.captured(images) as captured, sdpa_kernel(SDPBackend.MATH):
            logits = self.network(images)
        activations = captured.activations
        score = class_score(logits if callable(class_idx) else self._scores(logits), class_idx).sum()
        gradients = None
        if score.requires_grad:
            (gradients,) = torch.autograd.grad(score, activations, create_graph=True, allow_unused=True)
        if gradients is None:
            raise ValueError(
                "`target_layer`: the logits do not depend on the output of this layer; choose another layer"
            )
        return taylor_cam(self._effects(activations, gradients))

    def _scores(self, logits: Tensor) -> Tensor:
        logits = checked_logits(logits)
        match self.score:
            case "probability":
                return class_probabilities(logits, independent=self.independent_classes)
            case "log_probability":
                if self.independent_classes and logits.shape[1] > 1:
                    return F.logsigmoid(logits)
                return with_both_classes(logits).log_softmax(dim=1)
            case "logit":
                return logits

    def _effects(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """The effects D, (N, h, w, h, w), one position j at a time. The first pair of axes is j, the second is i."""
        height, width = activations.shape[-2:]
        effects, largest = [], activations.new_zeros(())
        for gradient in gradients.sum(dim=1).flatten(1).unbind(1):
            cross_derivatives = _derivatives(gradient.sum(), activations, create_graph=self.differentiable)
            largest = torch.maximum(largest, _largest(cross_derivatives))
            effects.append(interaction_effects(activations, cross_derivatives.unsqueeze(1)))
        # For comparison: every second channel falls while the others rise.
        signs = 1 - 2 * (torch.arange(activations.shape[1], device=activations.device) % 2)
        alternating = _derivatives((gradients * signs.view(-1, 1, 1)).sum(), activations, create_graph=False)
        self._check(float(largest), float(_largest(alternating)), torch.finfo(activations.dtype).eps, len(activations))
        return torch.cat(effects, dim=1).reshape(-1, height, width, height, width)

    def _check(self, largest: float, alternating: float, precision: float, images: int) -> None:
        if images and self.score != "probability" and largest == alternating == 0:
            raise ValueError(
                f"`score`: the second derivative of the {self.score} is zero, so no positions act together: the "
                "layers behind the target layer are piecewise linear (ReLU, max pooling, linear layers). Use "
                "score='probability', or a network with smooth activations behind it (GELU, SiLU)"
            )
        # In half precision rounding alone may be as much.
        if precision <= torch.finfo(torch.float32).eps and largest < _ROUNDING * precision * alternating:
            raise ValueError(
                "`target_layer`: the score does not change if all channels of a position rise together, which "
                "Taylor-CAM measures: a LayerNorm follows and removes their mean. Choose that LayerNorm, or a layer "
                "behind it"
            )


def _derivatives(gradient: Tensor, activations: Tensor, *, create_graph: bool) -> Tensor:
    """The derivatives of a sum of gradients; zeros where it does not depend on the activations."""
    derivatives = None
    if gradient.requires_grad:
        (derivatives,) = torch.autograd.grad(
            gradient, activations, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
    return torch.zeros_like(activations) if derivatives is None else derivatives


def _largest(values: Tensor) -> Tensor:
    return values.detach().abs().amax() if values.numel() else values.new_zeros(())
