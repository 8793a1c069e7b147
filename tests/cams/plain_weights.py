"""A network whose weights are plain tensors, so that `gradcheck` can put others in their place."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Maps = Callable[[nn.Module, str, Tensor, Tensor], Tensor]


class Convolution(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, features: Tensor) -> Tensor:
        return F.softplus(F.conv2d(features, self.weight, padding=1))


class PlainWeights(nn.Module):
    """Smooth and in float64: convolutions `stem`, `target` and `behind`, average pooling, and a linear `head`."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def weight(*shape: int) -> Tensor:
            return 0.5 * torch.randn(*shape, dtype=torch.float64, generator=generator)

        self.stem, self.target, self.behind = (
            Convolution(weight(*shape)) for shape in ((2, 3, 3, 3), (3, 2, 3, 3), (2, 3, 3, 3))
        )
        self.head = weight(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        features = self.behind(self.target(self.stem(images)))
        # A square, so that the gradient at `target` depends on everything before it.
        return F.linear(features.square().mean(dim=(-2, -1)), self.head)


def check_gradients(maps: Maps, *, reaches_behind: bool = True) -> None:
    """`gradcheck` of the maps at `target` with respect to the weights before it, of it, and behind it.

    Args:
        maps: from the network, the name of the target layer, images and classes.
        reaches_behind: whether the map depends on the layers behind the target layer.
    """
    network = PlainWeights()
    images = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([2, 0])

    def of_weights(stem: Tensor, target: Tensor, behind: Tensor, head: Tensor) -> Tensor:
        network.stem.weight, network.target.weight, network.behind.weight, network.head = stem, target, behind, head
        return maps(network, "target", images, classes)

    convolutions = (network.stem.weight, network.target.weight, network.behind.weight)
    weights = [weight.clone().requires_grad_() for weight in (*convolutions, network.head)]
    cams = of_weights(*weights)
    assert cams.dtype == torch.float64
    assert (cams.flatten(1).abs().amax(dim=1) > 1e-3).all()  # a map of zeros would pass whatever its gradient
    gradients = torch.autograd.grad(cams.square().sum(), weights, allow_unused=True, materialize_grads=True)
    depends = [bool(gradient.abs().amax() > 1e-6) for gradient in gradients]
    assert depends == [True, True, reaches_behind, reaches_behind]
    assert torch.autograd.gradcheck(of_weights, weights)
