"""How maps are scored: the choices that change numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from camtrain.positive_integer import positive_integer

Substrate = Literal["blur", "zeros"]
"""What takes the place of pixels."""


@dataclass(frozen=True)
class EvaluationSettings:
    """The choices that change the numbers of an evaluation.

    Args:
        class_of: whose map is scored, and whose probability: that of the predicted class, as the faithfulness metrics
            are defined, or that of the label.
        annotation: what maps are compared with where images have both. An image without boxes has the tight one around
            its mask.
        num_steps: of insertion and deletion. RISE changes as many pixels in a step as the image is wide, that is as
            many steps as it is high; fewer are faster, and the area under the curve is coarser.
        insertion_start: what insertion starts from: the blurred image, as in RISE, or zeros.
        deletion_end: what deletion ends at: zeros, which are the mean color, as in RISE, or the blurred image.
        removed_shares: shares of the pixels that ROAD removes.
        num_stages: groups of layers that are randomized one after the other.
        num_classes: of the labels, for the mean over classes of the pointing game; `None` pools all images.
        tolerance: of the pointing game, in pixels; `None` is 15 at 224 pixels, and in proportion.
        seed: of noise and random weights.

    Raises:
        ValueError: if a choice is out of its range.
    """

    class_of: Literal["prediction", "label"] = "prediction"
    annotation: Literal["boxes", "masks"] = "boxes"
    num_steps: int = 28
    insertion_start: Substrate = "blur"
    deletion_end: Substrate = "zeros"
    removed_shares: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    num_stages: int = 4
    num_classes: int | None = None
    tolerance: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.class_of not in ("prediction", "label"):
            raise ValueError(f'`class_of`: expected "prediction" or "label", got {self.class_of!r}')
        if self.annotation not in ("boxes", "masks"):
            raise ValueError(f'`annotation`: expected "boxes" or "masks", got {self.annotation!r}')
        for name in ("insertion_start", "deletion_end"):
            if getattr(self, name) not in ("blur", "zeros"):
                raise ValueError(f'`{name}`: expected "blur" or "zeros", got {getattr(self, name)!r}')
        for name in ("num_steps", "num_stages", "num_classes"):
            if getattr(self, name) is not None:
                positive_integer(name, getattr(self, name))
        if not self.removed_shares or not all(0 < share < 1 for share in self.removed_shares):
            raise ValueError(f"`removed_shares`: expected shares between 0 and 1, got {self.removed_shares!r}")
        if self.tolerance is not None and self.tolerance < 0:
            raise ValueError(f"`tolerance`: expected at least 0 pixels, got {self.tolerance!r}")
