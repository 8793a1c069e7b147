"""Taylor-CAM: how pairs of positions act together."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from camtrain.cams.base_cam import BaseCAM
from camtrain.gradients import ClassIndex, class_score, gradients_enabled, left_as_found
from camtrain.gradients.not_inference import not_inference

Score = Literal["probability", "log_probability", "logit"]
"""What is differentiated twice: the class probability, its logarithm, or the logit."""

_ROUNDING = 1e3  # multiples of the precision below which a derivative is a rounding error


def interaction_effects(activations: Tensor, cross_derivatives: Tensor) -> Tensor:
    """Cross-derivatives of a score, weighted by the activations: half of what `taylor_cam` puts together.

        D_ij = Σ_k A^k_i Σ_m ∂²y/∂A^k_i∂A^m_j

    Args:
        activations: A, (N, C, h, w).
        cross_derivatives: (N, P, C, h, w), the inner sum of P positions j: how the gradient at every position i and
            channel k changes where all channels of position j rise together.

    Returns:
        (N, P, h, w), of the P positions j and all positions i. Differentiable in both arguments.

    Example:
        >>> activations = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1)
        >>> interaction_effects(activations, torch.tensor([3.0, -1.0]).view(1, 1, 2, 1, 1)).item()
        5.0
    """
    return (activations.unsqueeze(1) * cross_derivatives).sum(dim=2)


def taylor_cam(effects: Tensor) -> Tensor:
    """Taylor-CAM of the interaction effects of all positions with all positions.

        T_ij = D_ij² + D_ji²

    Args:
        effects: D, (N, h, w, h, w), see `interaction_effects`; it need not be symmetric.

    Returns:
        (N, h, w, h, w), not negative, symmetric: T_ij = T_ji. Differentiable.

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
    """How strongly each position acts together with the others: m_i = Σ_{j ≠ i} T_ij. Differentiable.

    A position's effect on itself, T_ii, is no interaction and does not count; the authors leave it out too, where they
    look for the strongest pairs.

    Args:
        pairs: (N, h, w, h, w).

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
    """Taylor-CAM of a network: which positions act on the class score together, in pairs.

    `pairs` makes the map of pairs, (N, h, w, h, w); a call makes the map of positions, (N, h, w), `marginal_map` of it.
    `strongest_pairs_picture` draws the pairs over the image.

        D_ij = Σ_k A^k_i Σ_m ∂²y/∂A^k_i∂A^m_j,    T_ij = D_ij² + D_ji²,    m_i = Σ_{j ≠ i} T_ij

    A first-order map such as Σ_k ∂y/∂A^k · A^k is no Taylor-CAM: what two positions do together is in the second
    derivative alone. So the score has to be curved. Behind the target layer most networks are linear piece by piece
    (ReLU, max pooling, linear layers), and the second derivative of their logits is zero: `score="logit"` raises there.
    The score that is curved in every network is the class probability, the default. The logarithm of the probability
    is curved too, but in such a network its second derivative is -Jᵀ(diag(p) - ppᵀ)J with the Jacobian J of the logits
    and the probabilities p, the same for every class: choose it only where the layers behind the target layer are
    smooth. The authors use networks with GELU, and explain the log-probability of the predicted class in one experiment
    and its probability in the other.

    Behind global average pooling and one linear layer, as in the last layer of a ResNet, the second derivative is the
    same for all pairs of positions, so that D_ij depends on i alone and the pairs say no more than the map of positions
    does. Choose an earlier layer. Where a LayerNorm follows, as behind a block of a vision transformer or a stage of
    ConvNeXt, D is zero but for rounding, since a LayerNorm takes away what all channels have in common; that raises.
    Choose the LayerNorm itself.

    Departures from the paper: the marginal map is not in it. The formula was taken from the authors' code; the
    diagonal, which they set to zero before they rank pairs, is kept in `pairs`.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        target_layer: dotted name or module (one only); `None` finds the last spatial layer at the first call.
        score: what is differentiated twice.
        differentiable: keep the map in the graph, through the activations and through the weights. The layers behind
            the target layer then have to be three times differentiable, and the graphs of all h·w passes are kept.

    Raises:
        ValueError: if `score` is another word; if the layer is not in the network. When called: if the second
            derivative of the score is zero, for which `score="probability"` is the remedy, or a LayerNorm follows.

    Cost:
        One forward pass, and 2 + h·w backward passes of the layers behind the target layer, for the whole batch at
        once; all but the first go through the graph of the first, which makes each about as dear as two. The Hessian,
        (C·h·w)² numbers an image, is never made.

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
        differentiable: bool = False,
    ) -> None:
        if score not in ("probability", "log_probability", "logit"):
            raise ValueError(f"`score`: expected 'probability', 'log_probability' or 'logit', got {score!r}")
        super().__init__(network, target_layer, differentiable=differentiable)
        self.score: Score = score

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See `marginal_map`."""
        return marginal_map(self._pairs(images, class_idx))

    def pairs(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """How strongly each pair of positions acts on the class score together; see `taylor_cam`.

        Args:
            images: (N, 3, H, W).
            class_idx: as for the call.

        Returns:
            (N, h, w, h, w), raw, not negative and symmetric; detached unless `differentiable`. The diagonal is a
            position's effect on itself.

        Raises:
            ValueError: as the call.
        """
        with gradients_enabled(), left_as_found(self.network, images.device):
            # Images made under inference mode cannot enter a graph; a clone can.
            images = not_inference(images)
            pairs = self._pairs(images, class_idx)
        return pairs if self.differentiable else pairs.detach()

    def _pairs(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        self.layer(images)
        # Fused attention has no second derivative; the plain one has.
        with self.captured(images) as captured, sdpa_kernel(SDPBackend.MATH):
            logits = self.network(images)
        activations = captured.activations
        score = class_score(self._scores(logits), class_idx).sum()
        gradients = None
        if score.requires_grad:
            (gradients,) = torch.autograd.grad(score, activations, create_graph=True, allow_unused=True)
        if gradients is None:
            raise ValueError("`target_layer`: the logits do not depend on what this layer puts out; choose another")
        return taylor_cam(self._effects(activations, gradients))

    def _scores(self, logits: Tensor) -> Tensor:
        match self.score:
            case "probability":
                return logits.softmax(dim=1)
            case "log_probability":
                return logits.log_softmax(dim=1)
            case "logit":
                return logits

    def _effects(self, activations: Tensor, gradients: Tensor) -> Tensor:
        """D, (N, h, w, h, w), one position j at a time: the first pair of axes is j, the second i."""
        height, width = activations.shape[-2:]
        effects, largest = [], activations.new_zeros(())
        for gradient in gradients.sum(dim=1).flatten(1).unbind(1):
            cross_derivatives = _derivatives(gradient.sum(), activations, create_graph=self.differentiable)
            largest = torch.maximum(largest, _largest(cross_derivatives))
            effects.append(interaction_effects(activations, cross_derivatives.unsqueeze(1)))
        # For comparison: channels that rise and fall by turns.
        signs = 1 - 2 * (torch.arange(activations.shape[1], device=activations.device) % 2)
        by_turns = _derivatives((gradients * signs.view(-1, 1, 1)).sum(), activations, create_graph=False)
        self._check(float(largest), float(_largest(by_turns)), torch.finfo(activations.dtype).eps, len(activations))
        return torch.cat(effects, dim=1).reshape(-1, height, width, height, width)

    def _check(self, largest: float, by_turns: float, precision: float, images: int) -> None:
        if images and self.score != "probability" and largest == by_turns == 0:
            raise ValueError(
                f"`score`: the second derivative of the {self.score} is zero, so that no positions act together: the "
                "layers behind the target layer are linear piece by piece (ReLU, max pooling, linear layers). Use "
                "score='probability', or a network with smooth activations behind it (GELU, SiLU)"
            )
        if largest < _ROUNDING * precision * by_turns:
            raise ValueError(
                "`target_layer`: nothing changes where all channels of a position rise together, which is what "
                "Taylor-CAM looks at: a LayerNorm follows, and takes their mean away. Choose that LayerNorm, or a "
                "layer behind it"
            )


def _derivatives(gradient: Tensor, activations: Tensor, *, create_graph: bool) -> Tensor:
    """Of a sum of gradients, once more; zeros where it does not depend on the activations."""
    derivatives = None
    if gradient.requires_grad:
        (derivatives,) = torch.autograd.grad(
            gradient, activations, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
    return torch.zeros_like(activations) if derivatives is None else derivatives


def _largest(values: Tensor) -> Tensor:
    return values.detach().abs().amax() if values.numel() else values.new_zeros(())
