"""Images that show several classes: which of them a map explains, and the scores of an image from those of its maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from camtrain.controls import content_seeds

if TYPE_CHECKING:
    from camtrain.evaluation.evaluator import Evaluated, Rows

SOME_CLASSES = "/some classes"
"""What is added to a key of `Evaluator.reasons` where an image is left out for some of the classes that it shows."""


def checked_shown(labels: Tensor) -> Tensor:
    """(N, K) bool, the classes that images show, of labels (N, K).

    Raises:
        ValueError: If a label is neither 0 nor 1.

    Example:
        >>> checked_shown(torch.tensor([[1.0, 0.0]]))
        tensor([[ True, False]])
    """
    bad = labels[(labels != 0) & (labels != 1)]
    if len(bad):
        raise ValueError(f"`labels`: expected 1 for a class that an image shows, 0 for another, got {float(bad[0]):g}")
    return labels == 1


def drawn_class(images: Tensor, shown: Tensor, seed: int) -> Tensor:
    """One of the classes that each image shows, (N,); 0 where it shows none.

    It is drawn with a seed that depends on the image's values and on `seed`, so that it does not depend on the batch.

    Args:
        images: (N, C, H, W).
        shown: (N, K) bool.
        seed: The seed.

    Example:
        >>> images, shown = torch.rand(2, 3, 4, 4), torch.tensor([[False, True, False], [False, False, False]])
        >>> drawn_class(images, shown, 0)
        tensor([1, 0])
    """
    drawn = []
    for each, of_image in zip(content_seeds(images, seed), shown.cpu(), strict=True):
        classes = of_image.nonzero().flatten().tolist()
        drawn.append(classes[each % len(classes)] if classes else 0)
    return torch.tensor(drawn, dtype=torch.long, device=images.device)


def rounds_of(shown: Tensor, probabilities: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The classes that images show, so that each image occurs once in a round, the most probable class first.

    Args:
        shown: (N, K) bool.
        probabilities: (N, K).

    Returns:
        For each round the indices of the images that take part, (M,), and their classes, (M,). All images take part in
        the first one; one that shows no class does so with class 0.

    Example:
        >>> shown = torch.tensor([[True, False, True], [False, True, False]])
        >>> rounds_of(shown, torch.tensor([[0.2, 0.3, 0.9], [0.2, 0.3, 0.9]]))
        [(tensor([0, 1]), tensor([2, 1])), (tensor([0]), tensor([0]))]
    """
    ranked = probabilities.masked_fill(~shown, -1.0).argsort(dim=1, descending=True, stable=True)
    counts = shown.sum(dim=1)
    first = torch.where(counts > 0, ranked[:, 0], 0)
    rounds = [(torch.arange(len(shown), device=shown.device), first)]
    for place in range(1, int(counts.max()) if len(counts) else 0):
        taking_part = (counts > place).nonzero().flatten()
        rounds.append((taking_part, ranked[taking_part, place]))
    return rounds


def mean_rows(
    of_rounds: Sequence[tuple[Tensor, Tensor]], num_images: int, is_counted: Callable[[Tensor], Tensor]
) -> Tensor:
    """The rows of images from those of their maps, (N, S): the mean over the maps that count, zeros where none does.

    A score is made of sums of rows, so that each of the m maps of an image has the weight 1 / m.

    Args:
        of_rounds: For each round the indices of the images that took part, (M,), and their rows, (M, S).
        num_images: N.
        is_counted: From rows (M, S) to (M,) bool.

    Example:
        >>> rounds = [(torch.tensor([0, 1]), torch.tensor([[1.0], [3.0]])), (torch.tensor([0]), torch.tensor([[2.0]]))]
        >>> mean_rows(rounds, 2, lambda rows: rows[:, 0] > 0).flatten()
        tensor([1.5000, 3.0000])
    """
    width = of_rounds[0][1].shape[1]
    total = of_rounds[0][1].new_zeros(num_images, width)
    number = of_rounds[0][1].new_zeros(num_images)
    for images, rows in of_rounds:
        counted = is_counted(rows)
        total.index_add_(0, images.cpu(), torch.where(counted.unsqueeze(1), rows, 0.0))
        number.index_add_(0, images.cpu(), counted.to(number.dtype))
    return total / number.clamp(min=1).unsqueeze(1)


Rounds = Sequence[tuple[Tensor, "Evaluated"]]
"""For each round the indices of the images that took part, (M,), and what was found out."""


def joined_rows(found: Rounds, is_counted: Callable[[str, Tensor], Tensor]) -> Rows:
    """The rows of all images from those of rounds.

    Args:
        found: The rounds.
        is_counted: From the name of a metric and rows (M, S) to (M,) bool.
    """
    joined = {}
    for pair in found[0][1].rows:
        of_rounds = [(images, each.rows[pair]) for images, each in found]
        joined[pair] = mean_rows(of_rounds, len(found[0][0]), partial(is_counted, pair[1]))
    return joined


def rows_beside(
    found: Rounds, is_counted: Callable[[str, Tensor], Tensor], compared: Iterable[tuple[str, str]]
) -> dict[tuple[str, str, str], Tensor]:
    """The rows of methods over the classes of each image whose maps also count for another method.

    Args:
        found: The rounds.
        is_counted: From the name of a metric and rows (M, S) to (M,) bool.
        compared: Methods with the others.

    Returns:
        (N, S) rows by method, other and metric.
    """
    beside = {}
    first = found[0][1].rows
    for method, other in compared:
        for metric in (name for owner, name in first if owner == method and (other, name) in first):
            both = [
                (images, each.rows[method, metric] * is_counted(metric, each.rows[other, metric]).unsqueeze(1))
                for images, each in found
            ]
            beside[method, other, metric] = mean_rows(both, len(found[0][0]), partial(is_counted, metric))
    return beside


def joined_left_out(found: Rounds) -> dict[str, Tensor]:
    """Which images are left out, from those of rounds, (N,) bool.

    An image is left out if all its maps are; where some of them are, it is found by the name with `SOME_CLASSES`.

    Args:
        found: The rounds.
    """
    left_out: dict[str, Tensor] = {}
    for name in dict.fromkeys(name for _, each in found for name in each.left_out):
        whole = torch.ones(len(found[0][0]), dtype=torch.bool)
        some = ~whole
        for images, each in found:
            of_round = each.left_out.get(name, torch.zeros(len(images), dtype=torch.bool))
            whole[images.cpu()] &= of_round
            some[images.cpu()] |= of_round
        left_out |= {name: whole, f"{name}{SOME_CLASSES}": some & ~whole}
    return {name: which for name, which in left_out.items() if bool(which.any())}
