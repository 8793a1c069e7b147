"""The probabilities that a network gives to changed images, computed in full batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn

from camtrain.checked_logits import checked_logits
from camtrain.messages import positive_integer
from camtrain.probabilities import class_probabilities


class ClassProbabilities:
    """Runs variants of a batch through a network, several in one pass, and counts the images.

    A variant is the batch with all its images changed in one way: masked, or one step of insertion or deletion. A pass
    is filled with variants of all kinds and methods.

    Args:
        network: A network from (N, C, H, W) images to (N, K) logits, in evaluation mode.
        max_batch: The largest number of images in one forward pass; bounds the memory.
        independent: Whether an image may show several classes, so that each has a probability of its own.

    Attributes:
        independent: The same; it may be changed.
        images_run: The number of images that went through the network so far.

    Raises:
        ValueError: If `max_batch` is no positive integer.

    Example:
        >>> network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())  # the logits are the mean colors
        >>> probabilities = ClassProbabilities(network, max_batch=4)
        >>> images = torch.zeros(2, 3, 8, 8)
        >>> [one.tolist() for one in probabilities.of_class([images, images + 1], torch.tensor([0, 1]))]
        [[0.333..., 0.333...], [0.333..., 0.333...]]
        >>> probabilities.images_run
        4
    """

    def __init__(self, network: nn.Module, max_batch: int = 64, *, independent: bool = False) -> None:
        self.network = network
        self.independent = independent
        self.max_batch = positive_integer("max_batch", max_batch)
        self.images_run = 0

    def of_class(self, variants: Iterable[Tensor], class_idx: Tensor) -> Iterator[Tensor]:
        """The probability of each image's class on every variant of the batch.

        Args:
            variants: (N, C, H, W) images each, drawn only when a pass needs them.
            class_idx: (N,) class indices.

        Yields:
            (N,) probabilities for each variant, in order, in float32 or wider.
        """
        remaining = iter(variants)
        in_one_pass = max(1, self.max_batch // max(1, len(class_idx)))
        while group := list(islice(remaining, in_one_pass)):
            classes = class_idx.repeat(len(group)).unsqueeze(1)
            images = group[0] if len(group) == 1 else torch.cat(group)
            yield from self.of_all(images).gather(1, classes).view(len(group), len(class_idx))

    def of_all(self, images: Tensor) -> Tensor:
        """The probabilities of all classes, (N, K), of a single logit (N, 2), in float32 or wider, without a graph.

        Raises:
            ValueError: If the output of the network is anything but (N, K) logits.
        """
        self.images_run += len(images)
        with torch.no_grad():
            logits = torch.cat([self._logits(chunk) for chunk in torch.split(images, self.max_batch)])
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return class_probabilities(wide, independent=self.independent)

    def _logits(self, images: Tensor) -> Tensor:
        return checked_logits(self.network(images), len(images))
