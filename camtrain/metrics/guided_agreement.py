"""How much the input gradient agrees with the gradient of guided backpropagation."""

from __future__ import annotations

import torch
from torch import Tensor

from camtrain.messages import checked_number
from camtrain.metrics.checked import check_finite, check_shape, checked_tensor
from camtrain.metrics.mean_score import MeanScore

_FLOOR = 1e-8  # that of `InterpretableGradient`


def guided_agreement(input_gradients: Tensor, guided_gradients: Tensor, floor: float = _FLOOR) -> Tensor:
    """The cosine of the two gradients of each image: 1 - L_R with the cosine distance.

        ⟨δ, δ^G⟩ / (‖δ‖₂ ‖δ^G‖₂)

    Args:
        input_gradients: (N, C, H, W) input gradients δ of the loss of each image.
        guided_gradients: (N, C, H, W) guided gradients δ^G of the same loss.
        floor: The largest norm of a gradient that is too small to be compared, as in the loss.

    Returns:
        (N,) in [-1, 1], higher is better; 0 if a gradient is too small.

    Raises:
        TypeError: If a gradient is no tensor, or the floor no number.
        ValueError: If the gradients are not (N, C, H, W), their shapes differ, a value is not finite, or the floor is
            not a positive, finite number.

    Source:
        Torres Figueroa et al., A Learning Paradigm for Interpretable Gradients, VISAPP 2024, arXiv 2404.15024.

    Example:
        >>> gradient = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
        >>> guided_agreement(gradient, 2 * gradient.relu()), guided_agreement(gradient, gradient.flip(3))
        (tensor([1.]), tensor([0.9600]))
    """
    gradients = checked_tensor("input_gradients", input_gradients, "N, C, H, W")
    guided = checked_tensor("guided_gradients", guided_gradients, "N, C, H, W")
    check_shape("guided_gradients", guided, "input_gradients", gradients)
    check_finite("input_gradients", gradients)
    check_finite("guided_gradients", guided)
    floor = checked_number("floor", floor, above=0)
    # Double: the squares of a confident network's gradients underflow in float32.
    a, b = gradients.flatten(1).double(), guided.flatten(1).double()
    norms = torch.linalg.vector_norm(a, dim=1), torch.linalg.vector_norm(b, dim=1)
    alive = (norms[0] > floor) & (norms[1] > floor)
    cosine = (a * b).sum(dim=1) / torch.where(alive, norms[0] * norms[1], 1.0)
    return torch.where(alive, cosine, 0.0).float()


class GuidedAgreement(MeanScore):
    """The mean cosine of input gradient and guided gradient, which the interpretable-gradient loss raises.

    See `guided_agreement` for the formula and its source. Given the gradients of L_C, the score is 1 - L_R with the
    cosine distance, however the network was trained; `evaluate` takes those of the explained class. Higher is better.

    Args:
        kwargs: Passed on to `torchmetrics.Metric`.

    Example:
        >>> metric = GuidedAgreement()
        >>> gradients = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2).repeat(2, 1, 1, 1)
        >>> metric(gradients, torch.cat([gradients[:1], -gradients[:1]]))
        tensor(0.)
    """

    higher_is_better = True
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    def update(self, input_gradients: Tensor, guided_gradients: Tensor) -> None:
        """Count a batch.

        Args:
            input_gradients: (N, C, H, W) input gradients of the loss of each image.
            guided_gradients: (N, C, H, W) guided gradients of the same loss.

        Raises:
            TypeError: If an argument is no tensor.
            ValueError: If the gradients are not (N, C, H, W), their shapes differ, or a value is not finite.
        """
        super().update(input_gradients, guided_gradients)

    def scores(self, input_gradients: Tensor, guided_gradients: Tensor) -> Tensor:
        """The cosine of the gradients of each image, (N,) (see `guided_agreement`)."""
        return guided_agreement(input_gradients, guided_gradients)
