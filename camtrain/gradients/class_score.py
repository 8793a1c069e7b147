"""The score of an image that is explained: a class, one class rather than another, the evidence against, a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import torch
from torch import Tensor

from camtrain.checked_logits import checked_logits
from camtrain.gradients.not_inference import not_inference
from camtrain.gradients.target import Target, as_target, target_score
from camtrain.probabilities import with_both_classes


@dataclass(frozen=True, eq=False)
class Contrast:
    """Why class a rather than class b: the score is logit_a - logit_b.

    Evidence for both classes cancels. Where a and b are the same class, as in `Contrast(None, labels)` for an image
    that is classified correctly, the score is always 0 and the map is flat.

    Args:
        class_idx: a, one class for all images, or (N,) integers. `None` takes the predicted class of each image.
        against: b, in the same forms. `None` takes the runner-up, the class with the highest logit other than a.

    Source:
        Prabhushankar et al., Contrastive Explanations in Neural Networks, ICIP 2020, arXiv 2008.00178. Departure: the
        difference of the two logits replaces the loss between them.

    Example:
        >>> class_score(torch.tensor([[1.0, 2.0, 5.0], [4.0, 3.0, 0.0]]), Contrast())
        tensor([3., 1.])
        >>> class_score(torch.tensor([[1.0, 2.0, 5.0], [4.0, 3.0, 0.0]]), Contrast(1, against=0))
        tensor([ 1., -1.])
    """

    class_idx: int | Tensor | None = None
    against: int | Tensor | None = None


@dataclass(frozen=True, eq=False)
class Against:
    """The evidence against a class: the score is -logit.

    Args:
        class_idx: One class for all images, or (N,) integers. `None` takes the predicted class of each image.

    Source:
        Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017,
        arXiv 1610.02391: counterfactual explanations use the gradients of a class with the opposite sign.

    Example:
        >>> class_score(torch.tensor([[1.0, 2.0], [4.0, 3.0]]), Against())
        tensor([-2., -4.])
    """

    class_idx: int | Tensor | None = None


ClassIndex: TypeAlias = int | Tensor | Contrast | Against | Target | Callable[[Any], Tensor] | None
"""What is explained: one class for all images, (N,) integers, the predicted class (`None`), one of the above, or any
number of each image, as a `Target` or a function from the output of the network to (N,) numbers."""


def class_score(logits: Tensor, class_idx: ClassIndex = None) -> Tensor:
    """The explained score of each image: a logit, the difference of two logits, the negative of a logit, or a target's.

    If `class_idx` is no target and contains no `None`, the score is linear in `logits`, and class probabilities can be
    given instead.

    A network of a single logit z has two classes: the score of class 1 is z, and that of class 0 is -z. The predicted
    class is 1 where z is positive.

    Args:
        logits: (N, K). For a target, whatever the network puts out.
        class_idx: One class for all images, or (N,) integers. `None` takes the predicted class of each image. For other
            scores, a `Contrast`, an `Against`, a `Target`, or a function from the output to (N,) numbers.

    Returns:
        (N,), in the graph of `logits`.

    Raises:
        ValueError: If `logits` are not (N, K), a class is not one of the K (of a single logit, 0 or 1), or `class_idx`
            is not one integer per image, or a target returns anything but (N,) numbers.
        TypeError: If `class_idx` has another type.

    Example:
        >>> class_score(torch.tensor([[1.0, 2.0], [4.0, 3.0]]))
        tensor([2., 4.])
        >>> class_score(torch.tensor([[1.0, 2.0], [4.0, 3.0]]), 0)
        tensor([1., 4.])
        >>> class_score(torch.tensor([[2.0], [-3.0]])), class_score(torch.tensor([[2.0], [-3.0]]), 1)
        (tensor([2., 3.]), tensor([ 2., -3.]))
    """
    match fixed_class(logits, class_idx):
        case Target() as target:
            return target_score(target, logits)
        case Contrast(class_idx=index, against=against):
            return _logit(logits, index) - _logit(logits, against)
        case Against(class_idx=index):
            return -_logit(logits, index)
        case index:
            return _logit(logits, index)


def fixed_class(logits: Tensor, class_idx: ClassIndex = None) -> Tensor | Contrast | Against | Target:
    """The same choice, with every `None` replaced by the classes that these logits predict.

    A further pass, on changed images, then explains the same class as before.

    Args:
        logits: (N, K).
        class_idx: As in `class_score`.

    Returns:
        (N,) integers, a `Contrast` or an `Against` of such integers, or a `Target`.

    Raises:
        ValueError: As in `class_score`.
        TypeError: As in `class_score`.

    Example:
        >>> logits = torch.tensor([[1.0, 2.0, 5.0], [4.0, 3.0, 0.0]])
        >>> fixed_class(logits)
        tensor([2, 0])
        >>> fixed_class(logits, Contrast(1))
        Contrast(class_idx=tensor([1, 1]), against=tensor([2, 0]))
    """
    if callable(class_idx):
        return as_target(class_idx).fixed(logits)
    logits = checked_logits(logits)
    match class_idx:
        case Contrast():
            index = _index(logits, class_idx.class_idx)
            against = _runner_up(logits, index) if class_idx.against is None else _index(logits, class_idx.against)
            return Contrast(index, against)
        case Against():
            return Against(_index(logits, class_idx.class_idx))
        case _:
            return _index(logits, class_idx)


def repeated_class(class_idx: ClassIndex, repeats: int) -> ClassIndex:
    """The choice for a batch of `repeats` variants of each image, with the variants of an image side by side.

    `variants.flatten(0, 1)` makes such a batch of (N, repeats, C, H, W).

    Args:
        class_idx: A choice without `None`, as `fixed_class` returns it.
        repeats: The number of variants of each image.

    Returns:
        The same choice for N · repeats images.

    Raises:
        ValueError: If there is a `None`, since each variant would be explained for its own prediction.

    Example:
        >>> repeated_class(torch.tensor([2, 0]), 3)
        tensor([2, 2, 2, 0, 0, 0])
    """
    return changed_class(class_idx, lambda index: index.repeat_interleave(repeats))


def selected_class(class_idx: ClassIndex, images: Tensor | slice) -> ClassIndex:
    """The choice for some of the images.

    Args:
        class_idx: A choice without `None`, as `fixed_class` returns it.
        images: The selected images: a slice, (M,) integers (an image may occur more than once), or an (N,) mask.

    Returns:
        The same choice for these images, in this order.

    Raises:
        ValueError: If there is a `None`, since its meaning depends on the images.

    Example:
        >>> selected_class(Against(torch.tensor([2, 0, 1])), slice(1, 3))
        Against(class_idx=tensor([0, 1]))
    """
    return changed_class(
        class_idx, lambda index: index[images.to(index.device) if isinstance(images, Tensor) else images]
    )


def _logit(logits: Tensor, index: int | Tensor | None) -> Tensor:
    """The logit of each image's class, (N,); the classes are fixed."""
    assert isinstance(index, Tensor)
    if logits.shape[1] == 1:
        return torch.where(index == 1, logits.squeeze(1), -logits.squeeze(1))
    return logits.gather(1, index.unsqueeze(1)).squeeze(1)


def _index(logits: Tensor, class_idx: int | Tensor | None) -> Tensor:
    """Checked classes, (N,) integers; the predicted classes for `None`."""
    images, classes = len(logits), max(2, logits.shape[1])
    if class_idx is None:
        return with_both_classes(logits.detach()).argmax(dim=1)
    # A part of the images is chosen from a tensor only: a list would be taken for one class of all of them.
    if not isinstance(class_idx, (Tensor, Real)):
        raise TypeError(f"`class_idx`: expected an integer, a tensor of integers (N,), or None, got {class_idx!r}")
    index = torch.as_tensor(class_idx, device=logits.device)
    if index.is_floating_point() or index.dtype == torch.bool:
        raise ValueError(f"`class_idx`: expected integers, got {index.dtype}")
    if index.dim() == 0:
        index = index.expand(images)
    if index.shape != (images,):
        raise ValueError(f"`class_idx`: expected one class, or one for each of {images} images, got {class_idx!r}")
    outside = index[(index < 0) | (index >= classes)]
    if len(outside):
        raise ValueError(f"`class_idx`: expected classes from 0 to {classes - 1}, got {int(outside[0])}")
    # Autograd cannot save an index made under inference mode, such as a test loop's labels; it can save a clone.
    return not_inference(index).long()


def _runner_up(logits: Tensor, index: Tensor) -> Tensor:
    """The class with the highest logit other than `index`, (N,)."""
    both = with_both_classes(logits.detach())
    runner_up = both.scatter(1, index.unsqueeze(1), -torch.inf).argmax(dim=1)
    # If all other logits are minus infinity, `argmax` may return the class itself.
    return torch.where(runner_up == index, (index + 1) % both.shape[1], runner_up)


def changed_class(class_idx: ClassIndex, change: Callable[[Tensor], Tensor]) -> ClassIndex:
    """The choice for other images than before; see `Target.changed`.

    Raises:
        ValueError: If there is a `None`.
    """
    if callable(class_idx):
        return as_target(class_idx).changed(change)
    match class_idx:
        case Contrast():
            return Contrast(_changed_index(class_idx.class_idx, change), _changed_index(class_idx.against, change))
        case Against():
            return Against(_changed_index(class_idx.class_idx, change))
        case _:
            return _changed_index(class_idx, change)


def _changed_index(class_idx: int | Tensor | None, change: Callable[[Tensor], Tensor]) -> int | Tensor:
    if class_idx is None:
        raise ValueError("`class_idx`: expected classes, got None; replace it first with `fixed_class`")
    # One class for all images holds for any images.
    one_for_all = not isinstance(class_idx, Tensor) or class_idx.dim() == 0
    return class_idx if one_for_all else change(class_idx)  # type: ignore[arg-type]
