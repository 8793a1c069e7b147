"""What maps share whose weights are scores of the network on something that was changed, channel by channel."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from camtrain.cams.base_cam import BaseCAM
from camtrain.gradients import ClassIndex, evaluation_mode
from camtrain.positive_integer import positive_integer


def strongest_channels(activations: Tensor, num_channels: int | None) -> Tensor:
    """Which channels of each image to look at: those of the largest mean magnitude, 1/(hw) Σ_ij |A^k_ij|.

    A map is Σ_k w_k A^k: with weights of bounded size, these are the channels that can contribute most to it.

    Args:
        activations: (N, C, h, w).
        num_channels: how many of each image; `None`, or more than there are, means all.

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
    """A sum of a layer's channels, each with a weight that is measured by running the network once more.

    A method of the family overrides `activations_and_weights`. It takes no gradients, whatever mode the caller is in,
    and runs the network in evaluation mode. A network that treats the images of a batch one by one gives the same maps
    for every `max_batch`, up to rounding.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        target_layer: dotted name or module; `None` finds the last spatial layer at the first call.
        max_batch: number of changed images, or changed activations, in one pass; it bounds the memory.
        num_channels: measure only that many channels of each image, those of the largest mean magnitude (see
            `strongest_channels`), and leave the others out of the map; `None` measures all.
        progress: show a progress bar.
        differentiable: not possible here; there for the sake of one signature.

    Raises:
        ValueError: if `differentiable` is set, or a number is not positive; and where `BaseCAM` does.
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
        # Before anything else: of a layer in training mode, the statistics are put aside during the call.
        with evaluation_mode(self.network):
            return super().__call__(images, class_idx)

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """The weighted sum of the activations, where it is positive."""
        with torch.no_grad():
            activations, weights = self.activations_and_weights(images, class_idx)
        # A product of matrices would lose precision under autocast.
        return (weights[..., None, None] * activations).sum(dim=1).relu()

    @abstractmethod
    def activations_and_weights(self, images: Tensor, class_idx: ClassIndex) -> tuple[Tensor, Tensor]:
        """(N, C, h, w) and (N, C); called without gradients, where the network is in evaluation mode."""

    def chunks(self, rows: int, bar: tqdm) -> Iterator[slice]:
        """Slices of at most `max_batch` of so many rows, which advance the bar."""
        for start in range(0, rows, self.max_batch):
            stop = min(start + self.max_batch, rows)
            yield slice(start, stop)
            bar.update(stop - start)

    def bar(self, rows: int) -> tqdm:
        """A progress bar, if one is asked for."""
        return tqdm(total=rows, desc=type(self).__name__, unit="pass", leave=None, disable=not self.progress)
