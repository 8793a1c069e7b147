"""MixUp: training images that are blends of two, with labels in proportion."""

from __future__ import annotations

from dataclasses import replace

from torchvision.transforms import v2

from camtrain.batch import Batch
from camtrain.callbacks.mixed_batches import MixedBatches, mixed_labels


class MixUp(MixedBatches):
    """Blends each training image with another one, and mixes their labels in proportion (mixup).

    An image x with label y becomes a·x + (1 − a)·x', and its label a·y + (1 − a)·y', where x' is the image before it in
    the batch. torchvision's `MixUp` draws a, once for a batch. Here it is the larger one of a and 1 − a: the mixtures
    have the same distribution, and each image keeps most of itself. Boxes and masks stay as they are. They are those of
    the class with the larger share, which is the one that maps explain.

    Args:
        alpha: The parameter of the Beta distribution of a. The smaller it is, the less of the other image is seen. 0.2
            is usual for photographs, 1 for images of 32 pixels.
        probability: The probability that a batch is mixed.

    Raises:
        ValueError: If an argument is out of range.
        TypeError: In training, if a batch is no `camtrain.batch.Batch` with labels, or the number of classes is not
            known.

    Source:
        Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, arXiv 1710.09412.
    """

    def __init__(self, alpha: float = 0.2, probability: float = 1.0) -> None:
        super().__init__(alpha, probability)
        self._draw = v2.MixUp(alpha=self.alpha)

    def mixed(self, batch: Batch, num_classes: int) -> Batch:
        """See `MixedBatches`.

        Example:
            >>> import torch
            >>> _ = torch.manual_seed(0)
            >>> batch = Batch(torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)]), torch.tensor([0, 1]))
            >>> mixed = MixUp(alpha=1).mixed(batch, num_classes=2)
            >>> torch.allclose(mixed.images.mean((1, 2, 3)), mixed.labels[:, 1])
            True
        """
        drawn: float = self._draw.make_params([batch.images])["lam"]
        kept = max(drawn, 1 - drawn)
        return replace(
            batch,
            images=kept * batch.images + (1 - kept) * batch.images.roll(1, 0),
            labels=mixed_labels(batch.labels, kept, num_classes, batch.images.dtype),
        )
