"""RISE: the score of randomly masked images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.saliency_map import ChannelReduction
from camtrain.gradients import ClassIndex, Target, class_score, selected_class
from camtrain.messages import checked_number, checked_seed, positive_integer
from camtrain.probabilities import class_probabilities


def rise_masks(
    size: tuple[int, int],
    count: int,
    cells: int = 7,
    shown: float = 0.5,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Random masks: a grid of cells that are shown or hidden, resized so that edges are soft, and shifted.

    Args:
        size: The size of the images, (H, W), in pixels.
        count: The number of masks.
        cells: s, the number of cells along a side.
        shown: p, the probability that a cell is shown.
        generator: Draws the masks; `None` takes torch's generator of the CPU.

    Returns:
        (count, H, W) in [0, 1].

    Example:
        >>> masks = rise_masks((32, 48), 500, generator=torch.Generator().manual_seed(0))
        >>> masks.shape, round(float(masks.mean()), 1)
        (torch.Size([500, 32, 48]), 0.5)
    """
    return _RandomMasks.drawn(size, count, cells, shown, generator)[:]


@dataclass(frozen=True)
class _RandomMasks:
    """Masks that have been drawn and not made, since all of them together are large.

    Attributes:
        size: The size of the images.
        grids: The cells, (n, 1, s + 1, s + 1), 1 where they are shown.
        shifts: By how many pixels each grid is shifted up and to the left, (n, 2).
    """

    size: tuple[int, int]
    grids: Tensor
    shifts: Tensor

    @classmethod
    def drawn(
        cls, size: tuple[int, int], count: int, cells: int, shown: float, generator: torch.Generator | None
    ) -> _RandomMasks:
        grids = (torch.rand(count, 1, cells + 1, cells + 1, generator=generator) < shown).float()
        shifts = [torch.randint(-(-length // cells), (count,), generator=generator) for length in size]
        return cls(size, grids, torch.stack(shifts, dim=1))

    def __getitem__(self, part: slice) -> Tensor:
        """Some of the masks, (k, H, W)."""
        grids, shifts = self.grids[part], self.shifts[part].tolist()
        height, width = self.size
        cells = grids.shape[-1]
        large = [cells * -(-length // (cells - 1)) for length in self.size]
        masks = F.interpolate(grids, size=large, mode="bilinear", align_corners=False).squeeze(1)
        shifted = [mask[y : y + height, x : x + width] for mask, (y, x) in zip(masks, shifts, strict=True)]
        return torch.stack(shifted) if shifted else masks.new_zeros(0, height, width)


class RISE(BaseAttribution):
    """RISE: the average of random masks, each weighted by the probability of the class in the masked image.

        S = 1/(n p) Σ_k y(x ⊙ M_k) M_k,    E[M_k] = p

    It needs no gradient and no layer, and its scores are those of deletion and insertion: it is the slow, honest answer
    to what the network needs to see. Masked pixels become 0, the mean color of normalized images. As in the paper, y is
    a probability, and a `Contrast` or an `Against` combines probabilities; a target is taken as it is. All images of a
    batch get the same masks. Each of the channels has the value of the pixel.

    captum has no RISE.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        num_samples: n, the number of masks. The paper takes 4000 to 8000 for 224 pixels.
        cells: s, the number of cells along a side of a mask.
        shown: p, the probability that a cell is shown.
        max_batch: The largest number of images in one forward pass; bounds the memory.
        seed: The seed of the masks; `None` draws from torch's generator, which is left as found.
        independent_classes: Whether an image may show several classes, so that the probability of each is a sigmoid and
            not a softmax. `evaluate` and `explain` set it for networks that were trained so.
        differentiable: False only; accepted so that all methods have one signature.

    Raises:
        ValueError: If `differentiable` is True, or a number is out of its range.

    Cost:
        One forward pass for the class, and n forward passes.

    Source:
        Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018, eq. 6, arXiv
        1806.07421.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> RISE(CIFARResNet(depth=8), num_samples=8, seed=0)(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 3, 16, 16])
    """

    reduction: ChannelReduction = "sum"

    def __init__(
        self,
        network: nn.Module,
        *,
        num_samples: int = 1000,
        cells: int = 7,
        shown: float = 0.5,
        max_batch: int = 64,
        seed: int | None = None,
        independent_classes: bool = False,
        differentiable: bool = False,
    ) -> None:
        if differentiable:
            raise ValueError(
                "`differentiable`: expected False, got True; RISE averages masks over scores of one further forward "
                "pass each, and a graph through all of them would not fit into memory"
            )
        super().__init__(network)
        self.num_samples = positive_integer("num_samples", num_samples)
        self.cells = positive_integer("cells", cells)
        self.shown = checked_number("shown", shown, "a probability between 0 and 1", above=0, below=1)
        self.max_batch = positive_integer("max_batch", max_batch)
        self.seed = None if seed is None else checked_seed("seed", seed)
        self.independent_classes = independent_classes

    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        classes = self.fixed_class(images, class_idx)
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        size, wide = (images.shape[-2], images.shape[-1]), torch.promote_types(images.dtype, torch.float32)
        total = torch.zeros(len(images), *size, dtype=wide, device=images.device)
        in_one_pass = max(1, self.max_batch // max(1, len(images)))
        drawn = _RandomMasks.drawn(size, self.num_samples, self.cells, self.shown, generator)
        with torch.no_grad():
            for start in range(0, self.num_samples, in_one_pass):
                masks = drawn[start : start + in_one_pass].to(images.device, wide)
                total += torch.einsum("kn,khw->nhw", self._scores(images, masks, classes), masks)
        torch.clear_autocast_cache()
        return (total / (self.num_samples * self.shown)).unsqueeze(1).expand_as(images).contiguous()

    def _scores(self, images: Tensor, masks: Tensor, classes: ClassIndex) -> Tensor:
        """The score of each masked image, (k, N)."""
        masked = (masks[:, None, None].to(images.dtype) * images).flatten(0, 1)
        rows = torch.arange(len(images)).repeat(len(masks))
        scores = [
            self._score(self.network(masked[start : start + self.max_batch]), selected_class(classes, part))
            for start in range(0, len(masked), self.max_batch)
            for part in (rows[start : start + self.max_batch],)
        ]
        return (
            torch.cat(scores).view(len(masks), len(images)).to(masks.dtype)
            if scores
            else masks.new_zeros(len(masks), 0)
        )

    def _score(self, output: Tensor, classes: ClassIndex) -> Tensor:
        if isinstance(classes, Target):
            return class_score(output, classes)
        precise = output.to(torch.promote_types(output.dtype, torch.float32))
        return class_score(class_probabilities(precise, independent=self.independent_classes), classes)
