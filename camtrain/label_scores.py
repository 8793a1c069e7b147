"""How well classes are recognized: accuracies of images with one label, and scores of images that show several."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MultilabelAccuracy,
    MultilabelAveragePrecision,
    MultilabelF1Score,
)
from torchmetrics.utilities import dim_zero_cat


class AccuracyPerClass(MulticlassAccuracy):
    """The accuracy of each class, (K,); NaN for a class of which there is no image, where torchmetrics says 0."""

    def compute(self) -> Tensor:
        """See the class."""
        assert isinstance(self.tp, Tensor)
        assert isinstance(self.fn, Tensor)
        return super().compute().masked_fill(self.tp + self.fn == 0, torch.nan)


class AveragePrecisionPerClass(MultilabelAveragePrecision):
    """The average precision of each class, (K,); NaN for a class that no image shows.

    Example:
        >>> metric = AveragePrecisionPerClass(3)
        >>> metric.update(torch.tensor([[0.9, 0.2, 0.5], [0.4, 0.7, 0.5]]), torch.tensor([[1, 0, 0], [0, 1, 0]]))
        >>> metric.compute()
        tensor([1., 1., nan])
    """

    def __init__(self, num_labels: int) -> None:
        super().__init__(num_labels, average="none")

    def compute(self) -> Tensor:  # type: ignore[override]  # as the class above has it, in spite of its own base
        """See the class."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No positive samples found in target")
            warnings.filterwarnings("ignore", message="Average precision score for one or more classes was `nan`")
            found = super().compute()
        return found.masked_fill(dim_zero_cat(self.target).sum(dim=0) == 0, torch.nan)


def accuracies(num_classes: int, stage: str) -> MetricCollection:
    """The accuracies of images with one label, from logits or probabilities (N, K) and class indices (N,).

    Args:
        num_classes: K.
        stage: The beginning of their names.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        f"{stage}/accuracy": MulticlassAccuracy(num_classes, average="micro"),
        f"{stage}/accuracy_per_class": AccuracyPerClass(num_classes, average="none"),
    }
    if num_classes > 5:
        metrics[f"{stage}/accuracy_top5"] = MulticlassAccuracy(num_classes, average="micro", top_k=5)
    return MetricCollection(metrics, compute_groups=False)


def scores_of_several(num_classes: int, stage: str) -> MetricCollection:
    """The scores of images that show several classes, from probabilities (N, K) and what is shown, (N, K) bool.

    - `accuracy`: the fraction of right answers over all images and classes, where a probability of at least 1/2 says
      that the image shows the class;
    - `f1`: the F1 score of these answers, the mean over the classes;
    - `average_precision_per_class`: the average precision of each class, which needs no threshold. Its mean over the
      classes that some image shows is the mean average precision, mAP.

    Args:
        num_classes: K, at least 2.
        stage: The beginning of their names.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        f"{stage}/accuracy": MultilabelAccuracy(num_classes, average="micro"),
        f"{stage}/f1": MultilabelF1Score(num_classes, average="macro"),
        f"{stage}/average_precision_per_class": AveragePrecisionPerClass(num_classes),
    }
    return MetricCollection(metrics, compute_groups=False)


def class_indices(labels: Tensor) -> Tensor:
    """Class indices (N,) of labels of which each image has one.

    Args:
        labels: Class indices (N,), probabilities (N, K), or the answers (N, 1) that a single logit should give.

    Example:
        >>> class_indices(torch.tensor([[0.2, 0.8], [1.0, 0.0]])), class_indices(torch.tensor([[1.0], [0.0]]))
        (tensor([1, 0]), tensor([1, 0]))
    """
    if labels.dim() == 1:
        return labels
    return (labels.squeeze(1) >= 0.5).long() if labels.shape[1] == 1 else labels.argmax(dim=1)


def classes_of(labels: Tensor | None, row: int) -> list[int] | None:
    """The classes that one image shows; `None` if they are unknown.

    Args:
        labels: Class indices (N,), or (N, K), 1 for the classes that an image shows, or `None`.
        row: The place of the image.

    Example:
        >>> classes_of(torch.tensor([4, 7]), 1), classes_of(torch.tensor([[1.0, 0.0, 1.0]]), 0)
        ([7], [0, 2])
    """
    if labels is None:
        return None
    if labels.dim() == 1 or labels.shape[1] == 1:
        return [int(class_indices(labels)[row])]
    return (labels[row] >= 0.5).nonzero().flatten().tolist()


class StageScores(nn.Module):
    """The scores of one stage, whether images have one label or show several classes.

    Args:
        num_classes: K, at least 2.
        stage: The beginning of their names.

    Example:
        >>> scores = StageScores(2, "val")
        >>> scores.add(torch.tensor([[0.9, 0.8], [0.4, 0.6]]), torch.tensor([[True, False], [False, True]]))
        >>> {name: value.tolist() for name, value in scores.pop().items()}["val/mean_average_precision"]
        0.75
    """

    def __init__(self, num_classes: int, stage: str) -> None:
        super().__init__()
        self.stage = stage
        self.of_one = accuracies(num_classes, stage)
        self.of_several = scores_of_several(num_classes, stage)
        self._counts = [0, 0]

    def add(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            probabilities: (N, K); of images with one label, logits will do.
            labels: Class indices (N,), or what the images show, (N, K) bool.
        """
        several = labels.dim() == 2
        (self.of_several if several else self.of_one).update(probabilities, labels.long())
        self._counts[several] += len(labels)

    def pop(self) -> dict[str, Tensor]:
        """The scores over all processes, by name; empty without images. A new count begins."""
        counts = torch.tensor(self._counts, device=self.of_one[f"{self.stage}/accuracy"].device)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts)
        found: dict[str, Tensor] = {}
        for count, metrics in zip(counts.tolist(), (self.of_one, self.of_several), strict=True):
            if count:
                found |= metrics.compute()
            metrics.reset()
        self._counts = [0, 0]
        by_class = found.get(f"{self.stage}/average_precision_per_class")
        if by_class is not None:
            found = {f"{self.stage}/mean_average_precision": by_class.nanmean()} | found
        return found
