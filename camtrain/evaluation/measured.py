"""What is known of a batch before anything is scored: the explained classes, and what was measured of each method."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from camtrain.batch import Batch
from camtrain.blurred import blurred
from camtrain.cams import normalize
from camtrain.evaluation.annotated_boxes import annotated_boxes, annotation_of
from camtrain.evaluation.evaluation_settings import EvaluationSettings, Substrate
from camtrain.evaluation.foreign_content import noise_images, other_images
from camtrain.evaluation.removal_path import removal_ranks
from camtrain.metrics import Annotation


@dataclass(frozen=True)
class ExplainedBatch:
    """A batch, and what the network says of it; the same for all methods.

    Attributes:
        batch: The images with what is known of them.
        network: The network, in evaluation mode.
        settings: The settings of the evaluation.
        probabilities: (N, K) probabilities of all classes; for an unusable image, equal ones.
        class_idx: (N,) explained classes.
        usable: (N,) bool: the images whose values and probabilities are finite and of which a class is explained. The
            others are no part of any score of maps.
    """

    batch: Batch
    network: nn.Module
    settings: EvaluationSettings
    probabilities: Tensor
    class_idx: Tensor
    usable: Tensor

    def subset(self, images: Tensor, class_idx: Tensor) -> ExplainedBatch:
        """Some of the images, explained for other classes.

        Args:
            images: (M,) indices.
            class_idx: (M,) classes.
        """
        part = self.batch.subset(images.tolist())
        chosen = self.probabilities[images], class_idx, self.usable[images]
        return ExplainedBatch(part, self.network, self.settings, *chosen)

    @property
    def shown(self) -> Tensor | None:
        """(N, K) bool, the classes that each image shows; `None` if each image has one label, or labels are unknown."""
        labels = self.batch.labels
        return None if labels is None or labels.dim() == 1 else labels == 1

    @property
    def images(self) -> Tensor:
        """(N, C, H, W) images, normalized."""
        return self.batch.images

    @cached_property
    def scores(self) -> Tensor:
        """(N,) probabilities of the explained classes."""
        return self.probabilities.gather(1, self.class_idx.unsqueeze(1)).squeeze(1)

    @cached_property
    def noise(self) -> Tensor:
        """(N, C, H, W) noise, which does not show the explained class."""
        return noise_images(self.images, self.settings.seed)

    @cached_property
    def others(self) -> tuple[Tensor, Tensor]:
        """(N,) index of another image for each image, and (N,) bool: whether it is of another class, and usable."""
        return self.others_beside(None)

    def others_beside(self, lenders: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same for maps that other images lent: never the image that lent the map.

        Args:
            lenders: (N,) index of the image that lent each map; `None` if each image has its own.
        """
        others, foreign = other_images(self.class_idx, self.batch.labels, self.settings.seed, lenders)
        return others, foreign & self.usable[others]

    @cached_property
    def labels(self) -> Tensor:
        """(N,) labels; zeros if they are unknown; if images show several classes, the explained one."""
        labels = self.batch.labels
        if labels is not None and labels.dim() == 2:
            return self.class_idx
        return torch.zeros_like(self.class_idx) if labels is None else labels

    @cached_property
    def annotation(self) -> Annotation:
        """The boxes or masks that maps are compared with; empty for an image without annotation."""
        return annotation_of(self.batch, self.settings.annotation)

    @cached_property
    def boxes(self) -> list[Tensor]:
        """One (M_i, 4) tensor per image; the tight box around the mask for an image that has only a mask."""
        return annotated_boxes(self.batch)

    @cached_property
    def labeled_boxes(self) -> tuple[list[Tensor], Tensor, Tensor]:
        """The boxes of images whose labels are known and explained, with (N, K) probabilities and (N,) labels."""
        boxes = self.boxes
        if self.batch.labels is None or self.settings.class_of == "prediction":
            boxes = [of_image[:0] for of_image in boxes]
        return boxes, self.probabilities, self.labels

    @cached_property
    def masks(self) -> Tensor:
        """(N, H, W) bool masks; false everywhere for an image without a mask."""
        masks = annotation_of(self.batch, "masks")
        assert isinstance(masks, Tensor)
        return masks

    @property
    def ignored(self) -> Tensor | None:
        """(N, H, W) bool, the pixels that the pixel average precision leaves out; `None` if there are none."""
        return None if self.batch.ignored is None else self.batch.ignored.as_subclass(Tensor)

    def substrate(self, kind: Substrate) -> Tensor:
        """(N, C, H, W) images without content, which replace pixels."""
        return self._blurred if kind == "blur" else torch.zeros_like(self.images)

    @cached_property
    def _blurred(self) -> Tensor:
        return blurred(self.images)


@dataclass(kw_only=True)
class Measurements:
    """What was measured of the network on a batch, beside its probabilities.

    Attributes:
        batch: The explained batch.
        usable: (N,) bool: the images that can be counted at all.
        further: The result of each need, by its name. A need that could not be measured has no entry.
        finite: (N,) bool by the name of a need: the images whose result is finite. No entry means all images.
    """

    batch: ExplainedBatch
    usable: Tensor
    further: dict[str, Tensor] = field(default_factory=dict)
    finite: dict[str, Tensor] = field(default_factory=dict)

    def has(self, needs: Iterable[str]) -> bool:
        """Whether all needs of these names were measured."""
        return set(needs) <= set(self.further)

    def counted(self, needs: Iterable[str]) -> Tensor:
        """(N,) bool: the images that a metric with needs of these names may count."""
        counted = self.usable
        for name in needs:
            counted = counted & self.finite.get(name, counted)
        return counted


@dataclass(kw_only=True)
class Measured(Measurements):
    """The maps of one method on a batch, and what was measured with them.

    An image is usable if it can be counted at all and its map is finite.

    Attributes:
        raw_cams: (N, H, W) maps at the size of the images, as the method makes them; zeros for an unusable image.
        method: The index of the method among those that are compared.
        is_normalized: Whether the maps are in [0, 1] as the method makes them, as those of most controls.
        lenders: (N,) index of the image that lent each map, of a shuffled control; `None` if each image has its own.
    """

    raw_cams: Tensor
    method: int = 0
    is_normalized: bool = False
    lenders: Tensor | None = None

    @cached_property
    def others(self) -> tuple[Tensor, Tensor]:
        """(N,) index of the image over which each map is laid, and (N,) bool: whether it does not show the class."""
        return self.batch.others if self.lenders is None else self.batch.others_beside(self.lenders)

    @cached_property
    def cams(self) -> Tensor:
        """(N, H, W) maps in [0, 1]: a method's from its own minimum to its own maximum, a control's as it is."""
        return self.raw_cams if self.is_normalized else normalize(self.raw_cams)

    @property
    def positive_cams(self) -> Tensor:
        """(N, H, W) the positive part of the maps as the method makes them, which metrics of energy compare."""
        return self.raw_cams.relu()

    @cached_property
    def ranks(self) -> Tensor:
        """(N, H, W) places of the pixels from the most to the least relevant; see `removal_ranks`."""
        return removal_ranks(self.cams)

    def release_ranks(self) -> None:
        """Free the memory of `ranks`, which are as large as two maps; they are computed again if asked for."""
        self.__dict__.pop("ranks", None)
