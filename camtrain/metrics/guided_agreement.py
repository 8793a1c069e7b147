"""How much the input gradient has in common with the guided-backpropagation gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.metrics.mean_score import MeanScore

_FLOOR = 1e-8  # as `InterpretableGradient` has it


def guided_agreement(gradients: Tensor, guided_gradients: Tensor, floor: float = _FLOOR) -> Tensor:
    """1 - L_R of each image with the cosine distance: the cosine of its two gradients.

        ⟨δ, δ^G⟩ / (‖δ‖₂ ‖δ^G‖₂)

    Args:
        gradients: (N, 3, H, W) input gradients δ of the loss of each image.
        guided_gradients: (N, 3, H, W) guided gradients δ^G of the same loss.
        floor: a gradient of at most this norm has nothing in common with another one, as in the loss.

    Returns:
        (N,) in [-1, 1], higher is better; 0 for a gradient that is too small.

    Raises:
        ValueError: if the shapes differ, or a value is not finite.

    Source:
        Torres Figueroa et al., A Learning Paradigm for Interpretable Gradients, VISAPP 2024, arXiv 2404.15024.

    Example:
        >>> gradient = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
        >>> guided_agreement(gradient, 2 * gradient.relu()), guided_agreement(gradient, gradient.flip(3))
        (tensor([1.]), tensor([0.9600]))
    """
    if gradients.dim() != 4 or guided_gradients.shape != gradients.shape:
        shapes = tuple(gradients.shape), tuple(guided_gradients.shape)
        raise ValueError(f"`guided_gradients`: expected (N, 3, H, W) like `gradients`, got {shapes}")
    if not bool(gradients.isfinite().all() & guided_gradients.isfinite().all()):
        raise ValueError("`gradients` and `guided_gradients`: expected finite values, got NaN or infinity")
    # Double: squares of a confident network's gradients are below what float32 knows.
    a, b = gradients.flatten(1).double(), guided_gradients.flatten(1).double()
    norms = torch.linalg.vector_norm(a, dim=1), torch.linalg.vector_norm(b, dim=1)
    alive = (norms[0] > floor) & (norms[1] > floor)
    cosine = (a * b).sum(dim=1) / torch.where(alive, norms[0] * norms[1], 1.0)
    return torch.where(alive, cosine, 0.0).float()


class GuidedAgreement(MeanScore):
    """Mean cosine of input gradient and guided gradient, which the interpretable gradient loss raises.

    See `guided_agreement` for the formula and its source. It is 1 - L_R, whatever the network was trained with.

    Args:
        kwargs: passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = GuidedAgreement()
        >>> gradients = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2).repeat(2, 1, 1, 1)
        >>> metric(gradients, torch.cat([gradients[:1], -gradients[:1]]))
        tensor(0.)
    """

    higher_is_better = True

    def scores(self, gradients: Tensor, guided_gradients: Tensor) -> Tensor:
        """See `guided_agreement`."""
        return guided_agreement(gradients, guided_gradients)
