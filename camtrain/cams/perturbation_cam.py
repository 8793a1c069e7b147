"""What maps share whose weights are measured channel by channel, with changed images or activations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from camtrain.cams.base_cam import BaseCAM
from camtrain.gradients import ClassIndex, evaluation_mode
from camtrain.messages import positive_integer


def strongest_channels(activations: Tensor, num_channels: int | None) -> Tensor:
    """Find the channels of each image with the largest mean magnitude, 1/(hw) Σ_ij |A^k_ij|.

    A map is Σ_k w_k A^k: with weights of bounded size, these are the channels that can contribute most to it.

    Args:
        activations: The activations A of a layer, (N, C, h, w).
        num_channels: The number of channels to find for each image. `None`, or more than there are, means all.

    Returns:
        (N, C), bool.

    Example:
        >>> strongest_channels(torch.tensor([[[[1.0, 1.0]], [[-9.0, 0.0]], [[0.0, 3.0]]]]), 2)
        tensor([[False,  True,  True]])
    """
    strength = activations.abs().mean(dim=(-2, -1))
    if num_channels is None or num_channels >= strength.shape[1]:
        return torch.ones_like(strength, dtype=torch.bool)
    return torch.zeros_like(strength, dtype=torch.bool).scatter_(1, strength.topk(num_channels).indices, True)


class PerturbationCAM(BaseCAM):
    """A weighted sum of a layer's channels, with weights measured by further forward passes: a base class.

    A subclass overrides `activations_and_weights`. No gradients are taken, even if the caller enables them, and the
    network is run in evaluation mode. If the network treats the images of a batch independently, the maps do not depend
    on `max_batch`, up to rounding.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        target_layer: The layer, by its dotted name or as a module. `None` finds the last spatial layer at the first
            call.
        max_batch: The largest number of changed images, or changed activations, in one forward pass; bounds the memory.
        num_channels: The number of channels to measure for each image: those of the largest mean magnitude (see
            `strongest_channels`). The others are left out of the map. `None` measures all.
        progress: Whether to show a progress bar.
        differentiable: False only; accepted so that all methods have one signature.

    Raises:
        ValueError: If `differentiable` is True, a number is not positive, or as for `BaseCAM`.
    """

    def __init__(
        self,
        network: nn.Module,
        target_layer: str | nn.Module | None = None,
        *,
        max_batch: int = 64,
        num_channels: int | None = None,
        progress: bool = False,
        differentiable: bool = False,
    ) -> None:
        if differentiable:
            raise ValueError(
                f"`differentiable`: expected False, got True; the weights of {type(self).__name__} are scores of one "
                "further forward pass per channel, and a graph through all of them would not fit into memory. GradCAM "
                "and its relatives can be trained through"
            )
        super().__init__(network, target_layer)
        self.max_batch = positive_integer("max_batch", max_batch)
        self.num_channels = None if num_channels is None else positive_integer("num_channels", num_channels)
        self.progress = progress

    def __call__(self, images: Tensor, class_idx: ClassIndex = None) -> Tensor:
        """Maps of a batch; see `BaseCAM`."""
        # Must come first: the call of the base class sets aside the statistics of layers in training mode.
        with evaluation_mode(self.network):
            return super().__call__(images, class_idx)

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """The positive part of the weighted sum of the activations."""
        with torch.no_grad():
            activations, weights = self.activations_and_weights(images, class_idx)
        # A matrix product would lose precision under autocast.
        return (weights[..., None, None] * activations).sum(dim=1).relu()

    @abstractmethod
    def activations_and_weights(self, images: Tensor, class_idx: ClassIndex) -> tuple[Tensor, Tensor]:
        """Activations, (N, C, h, w), and weights, (N, C). Called without gradients and in evaluation mode."""

    def chunks(self, rows: int, bar: tqdm) -> Iterator[slice]:
        """Split that number of rows into slices of at most `max_batch`; each advances the bar."""
        for start in range(0, rows, self.max_batch):
            stop = min(start + self.max_batch, rows)
            yield slice(start, stop)
            bar.update(stop - start)

    def bar(self, rows: int) -> tqdm:
        """A progress bar; disabled unless `progress`."""
        return tqdm(total=rows, desc=type(self).__name__, unit="pass", leave=None, disable=not self.progress)
