"""Guided backpropagation of the class score."""

from __future__ import annotations

from torch import Tensor, nn

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.gradients import ClassIndex, class_score, guided_gradient


def guided_score_gradient(scores: Tensor, images: Tensor) -> Tensor:
    """The guided gradient of the scores of a batch with respect to its images, detached.

    Args:
        scores: The scores, (N,), computed from `images`. Their graph is kept.
        images: The images, (N, C, H, W). They require grad.

    Returns:
        (N, C, H, W).

    Raises:
        ValueError: If the graph has no ReLU-like activation, or hides them, or there is no graph (see
            `camtrain.gradients.guided_gradient`).

    Example:
        >>> import torch
        >>> images = torch.tensor([[[[1.0, -2.0]]]], requires_grad=True)
        >>> guided_score_gradient(images.relu().sum(dim=(1, 2, 3)), images)
        tensor([[[[1., 0.]]]])
    """
    try:
        return guided_gradient(scores.sum(), images)
    except ValueError as error:
        raise ValueError(f"`network`: expected a network with ReLUs that can be guided; {error}") from error


class GuidedBackprop(BaseAttribution):
    """Guided backprop: a backward pass of the class score in which ReLUs pass only positive gradients on.

        R_l = 1[f_l > 0] · 1[R_{l+1} > 0] · R_{l+1},    a = R_0

    Every ReLU and ReLU6 is guided, whether it is a module, a function, in place or used twice (see
    `camtrain.gradients.guided_gradient`). The score that is asked for is propagated: guided backprop is not linear, so
    the attribution of `Against(c)` is not minus the attribution of c.

    The result often looks the same for every class (Nie et al. 2018, arXiv 1805.07039; Adebayo et al. 2018, arXiv
    1810.03292).

    Args:
        network: A network from (N, C, H, W) to (N, K) logits, with ReLU-like activations.
        differentiable: False only.

    Raises:
        ValueError: If `differentiable` is True: the changed backward pass is not the derivative of any function, and
            camtrain uses it as a fixed target. When called: if there is no ReLU-like activation, so that the result
            would be the plain gradient, or the activations are hidden.

    Cost:
        One forward pass and one backward pass to the input.

    Source:
        Springenberg et al., Striving for Simplicity: The All Convolutional Net, ICLR workshop 2015, arXiv 1412.6806.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> network = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(3, 1, bias=False))
        >>> _ = network[2].weight.data.copy_(torch.tensor([[1.0, 2.0, -3.0]]))
        >>> image = torch.tensor([-1.0, 1.0, 1.0]).view(1, 3, 1, 1)
        >>> GuidedBackprop(network)(image, 1).flatten()  # class 1, the yes of a single logit
        tensor([0., 2., 0.])
    """

    def __init__(self, network: nn.Module, *, differentiable: bool = False) -> None:
        if differentiable:
            raise ValueError(
                "`differentiable`: expected False, got True. Guided backprop is not the derivative of any function: "
                "use it as a fixed target, or train through InputGradient"
            )
        super().__init__(network)

    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        images = self.tracked(images)
        return guided_score_gradient(class_score(self.network(images), class_idx), images)
