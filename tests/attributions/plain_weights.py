"""`gradcheck` of attributions with respect to images and weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.cams.plain_weights import PlainWeights


def check_gradients(
    method: Callable[[nn.Module], Callable[[Tensor, Tensor], Tensor]], *, of_images: bool = True
) -> None:
    """`gradcheck` in float64, with respect to the images and the weights of all layers.

    Args:
        method: from a network to what attributes scores of images to their pixels, in the graph.
        of_images: False for a method that takes something about the images as constant.
    """
    network = PlainWeights()
    images = torch.rand(2, 3, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([2, 0])

    def of_everything(stem: Tensor, target: Tensor, behind: Tensor, head: Tensor, images: Tensor = images) -> Tensor:
        network.stem.weight, network.target.weight, network.behind.weight, network.head = stem, target, behind, head
        return method(network)(images, classes)

    weights = (network.stem.weight, network.target.weight, network.behind.weight, network.head)
    everything = [tensor.clone().requires_grad_() for tensor in (*weights, *((images,) if of_images else ()))]
    attributions = of_everything(*everything)
    assert attributions.dtype == torch.float64
    assert (attributions.flatten(1).abs().amax(dim=1) > 1e-3).all()  # zeros would pass whatever their gradient
    for gradient in torch.autograd.grad(attributions.square().sum(), everything):
        assert gradient.abs().amax() > 1e-6
    assert torch.autograd.gradcheck(of_everything, everything)
