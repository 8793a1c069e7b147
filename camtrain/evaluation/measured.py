"""What is measured of a method's maps on one batch, before anything is scored."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from torch import Tensor

from camtrain.metrics import Annotation


@dataclass
class Measured:
    """The maps of one method on a batch, and what the network says of the images that were changed by them.

    `further` holds what was asked for, by name:

    | name | what |
    |---|---|
    | masked_scores | (N,) probability of the explained class on image ⊙ map |
    | compared_masked_scores | (N, M) the same of all methods, NaN where one has no map |
    | insertion_curve, deletion_curve | (N, T + 1) probability along the way |
    | removal_curves | (N, 2, P) most and least relevant pixels removed and imputed |
    | masked_cams | (N, H, W) normalized map of image ⊙ map, for the same class |
    | other_cams | (N, H, W) normalized map for the least probable class |
    | randomized_cams | (N, L, H, W) normalized maps of the network with ever more layers randomized |

    Attributes:
        raw_cams: (N, H, W) maps at the size of the images, as the method makes them.
        cams: (N, H, W) the same, each from its own minimum to its own maximum, in [0, 1].
        class_idx: (N,) the explained class.
        scores: (N,) its probability on the image itself.
        labels: (N,); zeros where they are unknown.
        annotation: boxes or masks, whichever maps are compared with; empty where nothing is known.
        boxes: one (M_i, 4) tensor per image; tight ones around the masks where only those are known.
        masks: (N, H, W) bool; nowhere true where they are unknown.
        method: index of the method among those that are compared.
        further: see above.
    """

    raw_cams: Tensor
    cams: Tensor
    class_idx: Tensor
    scores: Tensor
    labels: Tensor
    annotation: Annotation
    boxes: list[Tensor]
    masks: Tensor
    method: int = 0
    further: dict[str, Tensor] = field(default_factory=dict)

    @property
    def positive_cams(self) -> Tensor:
        """(N, H, W) maps as the method makes them, where they are positive: what has an energy."""
        return self.raw_cams.relu()

    def has(self, needs: Collection[str]) -> bool:
        """Whether all of this was measured."""
        return set(needs) <= set(self.further)


@dataclass
class Gradients:
    """What the network's gradients are on a batch, of the sum of the images' cross-entropies with the explained class.

    Attributes:
        of_input: (N, 3, H, W).
        guided: (N, 3, H, W), of the same loss through the same pass; `None` where nobody asks for it.
    """

    of_input: Tensor
    guided: Tensor | None = None

    def has(self, needs: Collection[str]) -> bool:
        """Whether all of this was measured."""
        return self.guided is not None or "guided_gradients" not in needs
