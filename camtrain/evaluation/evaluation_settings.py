"""The settings of an evaluation: the choices that change its numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from camtrain.messages import checked_number, checked_numbers, checked_seed, positive_integer

ClassOf = Literal["prediction", "label", "every_label"]
"""The class of an image that is explained: the predicted class, its label, or each of its labels."""

Substrate = Literal["blur", "zeros"]
"""The images without content that replace pixels: the blurred image, or zeros."""

Parts = Literal["spread", "given"]
"""Which images are evaluated together: images from all over the data set, or neighbors."""


@dataclass(frozen=True)
class EvaluationSettings:
    """The choices that change the numbers of an evaluation.

    Args:
        class_of: The class of each image that its map explains and whose probability is measured: the predicted class,
            as the faithfulness metrics are defined, or the label. If images show several classes, `label` is one of
            them, drawn at random with the seed, and `every_label` takes the map of each of them, with equal weights.
        annotation: What maps are compared with: boxes, masks, or any, which means the mask of an image that has one and
            the boxes of the other images. With boxes, an image that has only a mask gets the tight box around it.
        num_steps: The number of steps of insertion and deletion. RISE takes as many as the image is high; fewer are
            faster and make the area under the curve coarser.
        insertion_start: The image that insertion starts from: the blurred image, as in RISE, or zeros.
        deletion_end: The image that deletion ends at: zeros (the mean color), as in RISE, or the blurred image.
        removed_shares: The fractions of the pixels that ROAD removes, each between 0 and 1.
        num_stages: The number of stages in which the layers of the network are randomized, from the last to the first.
        num_classes: The number of classes over which the pointing game is averaged; `None` pools all images.
        tolerance: The distance from the object, in pixels, within which the pointing game counts a hit. `None` takes 15
            pixels for images whose shorter side has 224, and in proportion for others.
        box_threshold: The fraction of a map's largest value above which pixels belong to its box, in Top-1, Top-5 and
            GT-known Loc; `None` finds the best one for the images that are scored. To score test images with the best
            one of validation images, take it from `Evaluation.box_thresholds`.
        seed: The seed of noise, of random weights, and of which image lends another its map or its content.
        parts: Which images are evaluated together, and can lend each other a map or content: `spread` takes them from
            all over the data set, so that they show several classes even where images are in the order of their
            classes; `given` takes neighbors. Batches of an iterable are taken as they come.

    Raises:
        TypeError: If a setting has another type.
        ValueError: If a setting is out of its range.
    """

    class_of: ClassOf = "prediction"
    annotation: Literal["boxes", "masks", "any"] = "boxes"
    num_steps: int = 28
    insertion_start: Substrate = "blur"
    deletion_end: Substrate = "zeros"
    removed_shares: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    num_stages: int = 4
    num_classes: int | None = None
    tolerance: float | None = None
    seed: int = 0
    box_threshold: float | None = None
    parts: Parts = "spread"

    def __post_init__(self) -> None:
        if self.parts not in get_args(Parts):
            raise ValueError(f'`parts`: expected "spread" or "given", got {self.parts!r}')
        if self.class_of not in get_args(ClassOf):
            raise ValueError(f'`class_of`: expected "prediction", "label" or "every_label", got {self.class_of!r}')
        if self.annotation not in ("boxes", "masks", "any"):
            raise ValueError(f'`annotation`: expected "boxes", "masks" or "any", got {self.annotation!r}')
        for name in ("insertion_start", "deletion_end"):
            if getattr(self, name) not in ("blur", "zeros"):
                raise ValueError(f'`{name}`: expected "blur" or "zeros", got {getattr(self, name)!r}')
        for name in ("num_steps", "num_stages", "num_classes"):
            if getattr(self, name) is not None or name != "num_classes":
                self._set(name, positive_integer(name, getattr(self, name)))
        expected = "fractions between 0 and 1"
        self._set("removed_shares", checked_numbers("removed_shares", self.removed_shares, expected, above=0, below=1))
        if not self.removed_shares:
            raise ValueError(f"`removed_shares`: expected {expected}, got none")
        if self.tolerance is not None:
            expected = "a finite number of pixels of at least 0"
            self._set("tolerance", checked_number("tolerance", self.tolerance, expected, at_least=0))
        if self.box_threshold is not None:
            expected = "a number in [0, 1), or None for the best one"
            self._set(
                "box_threshold", checked_number("box_threshold", self.box_threshold, expected, at_least=0, below=1)
            )
        self._set("seed", checked_seed("seed", self.seed))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def as_json(self) -> dict[str, Any]:
        """The settings as JSON can hold them; those that an earlier version did not have, only where they are set.

        So an evaluation of an earlier version is known to have the same settings.
        """
        found = asdict(self)
        if self.box_threshold is None:
            del found["box_threshold"]
        if self.parts == "given":  # as an earlier version did
            del found["parts"]
        return found
