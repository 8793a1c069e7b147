"""What is explained in place of a class: a function from the output of a network to one number for each image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor


class Target(ABC):
    """A number of each image, computed from the output of a network, that is explained in place of a class score.

    Methods take a target wherever they take a class. So they explain networks whose output is no (N, K) logits: maps of
    a segmentation network, boxes, embeddings, or several outputs in a tuple or a dictionary. Any function from the
    output to (N,) numbers will do; a subclass is needed where images have data of their own, such as a mask for each,
    because methods run some images more often than others, or only a part of them. `camtrain.targets` has the usual
    ones.

    Attributes:
        is_fraction: Whether the number is in [0, 1], such as a probability.

    Example:
        >>> import torch
        >>> from camtrain.attributions import InputGradient
        >>> network = torch.nn.Conv2d(3, 2, 1)  # two classes for each pixel
        >>> InputGradient(network)(torch.rand(4, 3, 8, 8), lambda output: output[:, 1].mean(dim=(1, 2))).shape
        torch.Size([4, 3, 8, 8])
    """

    @property
    def is_fraction(self) -> bool:
        """See the class."""
        return False

    @abstractmethod
    def __call__(self, output: Any) -> Tensor:
        """The number of each image, (N,), in the graph of the output."""

    def fixed(self, output: Any) -> Target:
        """The same target, with all that it takes from a prediction replaced by what this output predicts.

        A further pass, on changed images, then explains the same number as before.
        """
        return self

    def changed(self, change: Callable[[Tensor], Tensor]) -> Target:
        """The target of other images than before.

        Args:
            change: From a tensor with a row for each image to the tensor of the new images, which are some of the old
                ones, each once or several times.
        """
        return self


class FunctionTarget(Target):
    """The target that a plain function computes; the same function for all images.

    Args:
        function: From the output of the network to (N,) numbers.
    """

    def __init__(self, function: Callable[[Any], Tensor]) -> None:
        self.function = function

    def __call__(self, output: Any) -> Tensor:
        """What the function returns."""
        return self.function(output)


def as_target(found: Target | Callable[[Any], Tensor]) -> Target:
    """The target itself, or the target of a function.

    Raises:
        TypeError: If it is neither, such as a class of targets in the place of one of them.
    """
    if isinstance(found, Target):
        return found
    if isinstance(found, type) or not callable(found):
        got = f"the class {found.__name__}" if isinstance(found, type) else repr(found)
        raise TypeError(f"`class_idx`: expected a target or a function from the output to (N,) numbers, got {got}")
    return FunctionTarget(found)


def target_score(target: Target, output: Any) -> Tensor:
    """The number of each image, (N,).

    Raises:
        ValueError: If the target returns anything but (N,) floating-point numbers.

    Example:
        >>> import torch
        >>> target_score(FunctionTarget(lambda output: output.sum()), torch.zeros(2, 3))
        Traceback (most recent call last):
        ValueError: `class_idx`: expected a target that returns (N,) floating-point numbers, one for each image, got ()
    """
    score: object = target(output)
    if isinstance(score, Tensor) and score.dim() == 1 and score.is_floating_point():
        num_images = len(output) if isinstance(output, Tensor) and output.dim() > 0 else len(score)
        if len(score) == num_images:
            return score
    got = type(score).__name__
    if isinstance(score, Tensor):
        got = f"{tuple(score.shape)}{'' if score.is_floating_point() else f' of {score.dtype}'}"
    raise ValueError(
        f"`class_idx`: expected a target that returns (N,) floating-point numbers, one for each image, got {got}"
    )
