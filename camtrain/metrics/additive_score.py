"""The base of all metrics: how a score adds up over images, batches and processes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics import Metric

from camtrain.metrics.checked import checked_tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class AdditiveScore(Metric):
    """A metric that depends on a set of images only through the sum of one row of numbers per image.

        score = value(Σ_i row_i)

    Batches and processes merge by adding their sums. The score of one image is the score of the set that holds only
    this image. A bootstrap weights the rows, an interrupted evaluation continues from the rows that it has, and two
    networks are compared image by image.

    NaN or infinity in an argument is an error in every metric, unless the metric says what NaN stands for. An
    evaluation leaves out the image instead.

    A subclass defines `rows`, `value` and `update`. The arguments of `update` are those of `rows`; name them one by
    one, because a torchmetrics `MetricCollection` reads the signature of `update` to choose the keywords to pass.

    Args:
        row_length: S, the length of a row.
        settings: Everything besides the class and the row length that decides what a row holds, such as a threshold. A
            `MetricCollection` lets two metrics share one state if their states agree after the first batch. Metrics
            that differ in class or settings never share, even if they agree by chance.
        kwargs: Passed on to `torchmetrics.Metric`.

    Example:
        >>> class MeanValue(AdditiveScore):
        ...     def __init__(self) -> None:
        ...         super().__init__(row_length=2)
        ...
        ...     def update(self, values: Tensor) -> None:
        ...         super().update(values)
        ...
        ...     def rows(self, values: Tensor) -> Tensor:
        ...         return torch.stack([values, torch.ones_like(values)], dim=1)
        ...
        ...     def value(self, total: Tensor) -> Tensor:
        ...         return total[..., 0] / total[..., 1]
        >>> metric = MeanValue()
        >>> metric.update(torch.tensor([1.0, 2.0]))
        >>> metric.update(torch.tensor([6.0]))
        >>> metric.compute()
        tensor(3.)
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, row_length: int, settings: Sequence[object] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Metrics whose states have different names are never in one compute group.
        self._state = "_".join(["total", type(self).__name__, *map(str, settings)])
        self.add_state(self._state, default=torch.zeros(row_length, dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def total(self) -> Tensor:
        """The sum of all rows, (S,) float64."""
        total: Tensor = getattr(self, self._state)
        return total

    @total.setter
    def total(self, total: Tensor) -> None:
        setattr(self, self._state, total)

    @abstractmethod
    def rows(self, *args: Any, **kwargs: Any) -> Tensor:
        """One row per image, (N, S); the row of an image does not depend on the other images."""

    @abstractmethod
    def value(self, total: Tensor) -> Tensor:
        """The score of sums of rows, (..., S) to (...), float64; NaN where no image was counted."""

    def image_scores(self, rows: Tensor) -> Tensor:
        """The score of each image, (N,) float64, from the rows (N, S) of all images; NaN for images not counted."""
        return self.value(rows.double())

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Count a batch; the arguments are those of `rows`."""
        self._add(self.rows(*args, **kwargs))

    def add_rows(self, rows: Tensor) -> None:
        """Count images whose rows were computed elsewhere; the call counts as one `update`.

        Args:
            rows: (N, S) rows, as `rows` returns them.

        Raises:
            TypeError: If `rows` is no tensor.
            ValueError: If `rows` is not (N, S).

        Example:
            >>> from camtrain.metrics import AverageDrop
            >>> metric = AverageDrop()
            >>> metric.add_rows(metric.rows(torch.tensor([0.8, 0.5]), torch.tensor([0.2, 0.9])))
            >>> metric.compute(), metric.update_count
            (tensor(0.3750), 1)
        """
        checked = checked_tensor("rows", rows, f"N, {len(self.total)}")
        # torchmetrics does this for calls of `update` only.
        self._computed = None
        self._update_count += 1
        self._add(checked)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the images that another metric of the same class and settings has counted; see `torchmetrics.Metric`."""
        super().merge_state(incoming_state)
        self._computed = None  # torchmetrics would return the score from before

    def compute(self) -> Tensor:
        """The score of all images counted so far, 0-dim float32; NaN if there are none."""
        return self.value(self.total).float()

    def plot(
        self, val: Tensor | float | Sequence[Tensor | float] | None = None, ax: Axes | None = None
    ) -> tuple[Figure | None, Axes]:
        """Plot one score, or the scores of several steps.

        Args:
            val: A score from `compute` or from calling the metric, or a list of scores, one per step; `None` plots
                `compute()`.
            ax: The axes to draw on; `None` makes a new figure.

        Returns:
            The figure, which is `None` if `ax` is given, and the axes.

        Example:
            >>> from camtrain.metrics import AverageDrop
            >>> figure, axes = AverageDrop().plot([0.4, 0.3, 0.25])
            >>> axes.get_ylabel(), len(axes.lines[0].get_ydata())
            ('AverageDrop', 3)
        """
        val = self.compute() if val is None else val
        drawn: Any = [self.drawn(each) for each in val] if isinstance(val, Sequence) else self.drawn(val)
        axes: Any
        figure, axes = self._plot(drawn, ax)
        return figure, axes

    def drawn(self, score: Tensor | float) -> Tensor | dict[str, Tensor]:
        """The parts of a score that `plot` draws: one point, or several points by name."""
        return torch.as_tensor(score)

    def _add(self, rows: Tensor) -> None:
        # Not in place: a state that was reset under inference mode must stay usable outside of it.
        self.total = self.total + rows.detach().double().sum(dim=0).to(self.total)
