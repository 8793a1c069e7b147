"""Smooth Grad-CAM++."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor, nn

from camtrain.cams.grad_cam_plus_plus import GradCAMPlusPlus
from camtrain.gradients import ClassIndex, NoisyImages, fixed_class, selected_class
from camtrain.messages import positive_integer


def smooth_grad_cam_plus_plus(activations: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """Smooth Grad-CAM++: Grad-CAM++ with derivatives averaged over noisy copies of the image.

        α^k_ij = D₂ / (2 D₂ + Σ_ab A^k_ab · D₃)
        w_k = Σ_ij α^k_ij ReLU(D₁),    map = ReLU(Σ_k w_k A^k)

    D_m is the mean over the noisy copies of the m-th derivative of Y with respect to A^k_ij; A are the activations of
    the image itself, without noise. The derivatives are averaged, not the finished maps.

    Departures: the paper prints D₁ in the numerator of α. D₂ is what Grad-CAM++, which it extends, has there; with D₂
    both methods agree without noise. With Y = exp(S) of the logit S and g = ∂S/∂A, the derivatives are exp(S) g^m.
    exp(S) is left out, as in `grad_cam_plus_plus`, so that D_m is the mean of g^m: otherwise the few copies whose noise
    raises the score would exponentially outweigh all others.

    D₃ may be negative where D₁ is positive. The denominator can then come near zero, and α is as large as the formula
    makes it; a pixel where it is exactly zero gets α = 0.

    Args:
        activations: The activations A of the image without noise, (N, C, h, w).
        first: The mean first derivative D₁, (N, C, h, w).
        second: The mean second derivative D₂, (N, C, h, w).
        third: The mean third derivative D₃, (N, C, h, w).

    Returns:
        (N, h, w), not negative, not normalized. Differentiable in all arguments.

    Source:
        Omeiza et al., Smooth Grad-CAM++: An Enhanced Inference Level Visualization Technique for Deep Convolutional
        Neural Network Models, 2019, arXiv 1908.01224.

    Example:
        >>> activations = torch.tensor([[[[1.0, 3.0]]]])
        >>> gradients = torch.tensor([[[[1.0, 3.0]]], [[[1.0, -1.0]]]])  # of two noisy copies of the image
        >>> first, second, third = (gradients.pow(m).mean(dim=0, keepdim=True) for m in (1, 2, 3))
        >>> second / (2 * second + 4 * third)  # α of 1 / (2 + 4·1) and 5 / (10 + 4·13)
        tensor([[[[0.1667, 0.0806]]]])
        >>> smooth_grad_cam_plus_plus(activations, first, second, third)
        tensor([[[0.2473, 0.7419]]])
    """
    denominator = 2 * second + activations.sum(dim=(-2, -1), keepdim=True) * third
    # Made safe before the division: a NaN in the unused branch would still reach the gradient.
    counted = denominator.abs() >= torch.finfo(denominator.dtype).tiny
    alpha = torch.where(counted, second, 0.0) / torch.where(counted, denominator, 1.0)
    weights = (alpha * first.relu()).sum(dim=(-2, -1), keepdim=True)
    return (weights * activations).sum(dim=1).relu()


class SmoothGradCAMPlusPlus(GradCAMPlusPlus):
    """Smooth Grad-CAM++: Grad-CAM++ with derivatives averaged over noisy copies of the image.

    See `smooth_grad_cam_plus_plus` for the formula. The class to explain is chosen on the image without noise. In
    training mode, the noisy images of a pass share the statistics of BatchNorm, so the map depends slightly on
    `max_batch`; in evaluation mode it does not.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        target_layer: The target layer, or several, whose maps are fused by `GradientCAM.fuse`; see `BaseCAM`.
        num_samples: The number of noisy copies of each image.
        noise_level: The standard deviation of the Gaussian noise, as a fraction of the range (maximum minus minimum) of
            each image, as in SmoothGrad.
        max_batch: The largest number of noisy images in one forward pass. Bounds the memory, except with
            `differentiable`, where the graphs of all passes are kept.
        seed: The seed of the noise. `None` draws from torch's generator on the device of the images, whose state is
            left as found: two calls in a row draw the same noise if nothing else draws in between.
        differentiable: Whether the map stays in the graph; see `BaseCAM`. The noise is a constant.

    Raises:
        ValueError: If a number is out of range, or as for `BaseCAM`.
        TypeError: As for `BaseCAM`.

    Cost:
        One forward pass of the images, and for each of the `num_samples` noisy copies a forward pass and a backward
        pass through the layers behind the target layer.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> cam = SmoothGradCAMPlusPlus(CIFARResNet(depth=8).eval(), "layer3", num_samples=3, seed=0)
        >>> cam(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
    """

    def __init__(
        self,
        network: nn.Module,
        target_layer: str | nn.Module | Sequence[str | nn.Module] | None = None,
        *,
        num_samples: int = 25,
        noise_level: float = 0.15,
        max_batch: int = 64,
        seed: int | None = None,
        differentiable: bool = False,
    ) -> None:
        self.noisy = NoisyImages(num_samples=num_samples, noise_level=noise_level, seed=seed)
        self.max_batch = positive_integer("max_batch", max_batch)
        super().__init__(network, target_layer, differentiable=differentiable)

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """Make the maps from the activations of the images and the derivatives of their noisy copies."""
        with self.captured(images, gradients=self.differentiable) as captured:
            logits = self.network(images)
        sums = [_SummedPowers() for _ in captured.of_layers]
        for gradients in self._noisy_gradients(images, fixed_class(logits, class_idx)):
            for summed, of_layer in zip(sums, gradients, strict=True):
                summed.add(of_layer)
        maps = [
            summed.map(activations, self.noisy.num_samples)
            for summed, activations in zip(sums, captured.of_layers, strict=True)
        ]
        return maps[0] if len(maps) == 1 else self.fuse(maps)

    def _noisy_gradients(self, images: Tensor, class_idx: ClassIndex) -> Iterator[list[Tensor]]:
        """The gradients at each layer, (k, N, C, h, w), for k noisy copies at a time."""
        owner = torch.arange(len(images), device=images.device)
        copies = self.noisy(images)
        at_once = max(1, self.max_batch // max(1, len(images)))
        while together := list(islice(copies, at_once)):
            noisy, owners = torch.cat(together), owner.repeat(len(together))
            passes = [
                self.derivatives(noisy[part], selected_class(class_idx, owners[part]))
                for part in self._parts(len(noisy))
            ]
            yield [
                _of_copies([gradients for _, gradients in of_layer], len(together))
                for of_layer in zip(*passes, strict=True)
            ]

    def _parts(self, length: int) -> list[slice]:
        return [slice(start, start + self.max_batch) for start in range(0, max(1, length), self.max_batch)]


def _of_copies(parts: list[Tensor], copies: int) -> Tensor:
    """Join parts of (k N, C, h, w) to (k, N, C, h, w), for k copies."""
    together = torch.cat(parts)
    return together.view(copies, len(together) // copies, *together.shape[1:])


class _SummedPowers:
    """The sums Σ g, Σ g² and Σ g³ of one layer's gradients, in units in which they do not underflow."""

    def __init__(self) -> None:
        self.unit: Tensor | None = None
        self.sums: list[Tensor] = []

    def add(self, gradients: Tensor) -> None:
        """Add the gradients of some copies, (k, N, C, h, w)."""
        gradients = gradients.to(torch.promote_types(gradients.dtype, torch.float32))
        if self.unit is None:
            largest = gradients.detach().abs().amax(dim=(0, 2, 3, 4)).view(-1, 1, 1, 1)
            self.unit = torch.where(largest > 0, largest, 1.0)
        gradients = gradients / self.unit
        powers = [gradients.sum(dim=0), gradients.square().sum(dim=0), gradients.pow(3).sum(dim=0)]
        self.sums = [total + power for total, power in zip(self.sums, powers, strict=True)] if self.sums else powers

    def map(self, activations: Tensor, copies: int) -> Tensor:
        """The map from the averages over that number of copies."""
        assert self.unit is not None
        # With gradients in units of u and activations in units of 1/u, α and the map are unchanged.
        return smooth_grad_cam_plus_plus(activations * self.unit, *(total / copies for total in self.sums))
