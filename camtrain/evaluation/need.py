"""What a metric needs beside the map, as data: the evaluator measures each need once for all metrics.

A metric lists its needs in `MetricSpec.needs`. A new need is one object of one of the four kinds below; the evaluator
knows the kinds and none of the objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from camtrain.evaluation.evaluation_settings import EvaluationSettings

if TYPE_CHECKING:
    from camtrain.evaluation.measured import ExplainedBatch, Measured


def _nothing(batch: ExplainedBatch) -> Iterable[Tensor]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something that a metric needs beside the map.

    Attributes:
        name: The key of the result in `Measurements.further`, and of the images run for it in `Evaluator.passes`.
        check: Raises `ValueError` if a network cannot be measured with these settings; called when an evaluator is
            made.
    """

    name: str
    check: Callable[[nn.Module, EvaluationSettings], object] | None = None

    def missing(self, title: str) -> str:
        """The sentence for a user when a method has no such result.

        Args:
            title: The title of the method.
        """
        return f"{title} has no {self.name} for some images, which are not counted where it is needed"


@dataclass(frozen=True, kw_only=True)
class ProbabilityNeed(Need):
    """Probabilities of the explained class on changed images.

    The variants of all needs and all methods run through the network together, in full passes.

    Attributes:
        variants: Yields (N, C, H, W) images changed by the maps of one method.
        assembled: The result, from what is known of the method, and the (N,) probabilities on the shared variants and
            on the method's own ones, each in the order in which the variants were yielded.
        shared: Yields (N, C, H, W) images that no map changes. They run once for all methods.
    """

    variants: Callable[[ExplainedBatch, Measured], Iterable[Tensor]]
    assembled: Callable[[Measured, Sequence[Tensor], Sequence[Tensor]], Tensor]
    shared: Callable[[ExplainedBatch], Iterable[Tensor]] = _nothing

    def missing(self, title: str) -> str:
        """The sentence for a user when a probability on an image changed by a map of the method is not finite.

        Args:
            title: The title of the method.
        """
        return (
            f"the network says nothing of some images as {title} changes them ({self.name}), which are not counted "
            "where it is needed"
        )


@dataclass(frozen=True, kw_only=True)
class ComparisonNeed(Need):
    """One result for all methods, computed from what was measured of each of them.

    Attributes:
        compared: The result, from what was measured of each method, in order; `None` for a method that made no map.
            Probabilities that it reads must be among the needs of the same metric.
    """

    compared: Callable[[ExplainedBatch, Sequence[Measured | None]], Tensor]


@dataclass(frozen=True, kw_only=True)
class MapNeed(Need):
    """Further maps of the same method, normalized.

    The result is (N, H, W), or (N, L, H, W) where the network goes through L stages. An image with a map that is not
    finite is not counted.

    Attributes:
        of: What the map explains, as in "made no map of the masked image".
        question: The images (N, C, H, W) and the class indices (N,) that the method is asked for.
        stages: Changes the network and yields after each change; `None` leaves the network as it is.
    """

    of: str
    question: Callable[[ExplainedBatch, Measured], tuple[Tensor, Tensor]]
    stages: Callable[[ExplainedBatch], Iterator[object]] | None = None

    def missing(self, title: str) -> str:
        """The sentence for a user when a method made no such map.

        Args:
            title: The title of the method.
        """
        return f"{title} made no map of {self.of} for some images, which are not counted where it is needed"


@dataclass(frozen=True, kw_only=True)
class GradientNeed(Need):
    """A gradient of the network at its input, whatever the method.

    Attributes:
        what: The name of the gradient in messages, as in "the input gradient is not finite".
        gradient: The gradient (N, C, H, W) of a 0-dim loss with respect to the images. It keeps the graph of the loss,
            which all gradients share, and raises `ValueError` if there is no such gradient.
    """

    what: str
    gradient: Callable[[Tensor, Tensor], Tensor]
