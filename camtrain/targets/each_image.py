"""A function of its own for each image, as other libraries take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from camtrain.gradients import Target
from camtrain.targets.per_image import changed_items


class EachImage(Target):
    """A function for each image, which takes the output for this image alone, without the axis of the batch.

    This is how pytorch-grad-cam and torchcam take their targets, and theirs can be given here.

    Args:
        functions: N functions, each from the output of one image to a number: an element or a tensor of one element.

    Raises:
        TypeError: If one of them cannot be called.

    Example:
        >>> each = EachImage([lambda logits: logits[0], lambda logits: logits.max()])
        >>> each(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([1., 4.])
    """

    def __init__(self, functions: Sequence[Callable[[Any], Tensor]]) -> None:
        self.functions = list(functions)
        for function in self.functions:
            if not callable(function):
                raise TypeError(f"`targets`: expected functions of the output of an image, got {function!r} among them")

    def __call__(self, output: Any) -> Tensor:
        """The number of each image, (N,).

        Raises:
            ValueError: If there are not as many functions as images, or one returns no single number.
        """
        images = list(outputs_of_images(output))
        if len(images) != len(self.functions):
            raise ValueError(f"`targets`: expected one for each of {len(images)} images, got {len(self.functions)}")
        numbers = [function(image) for function, image in zip(self.functions, images, strict=True)]
        for number in numbers:
            if not isinstance(number, Tensor) or number.numel() != 1:
                got = tuple(number.shape) if isinstance(number, Tensor) else type(number).__name__
                raise ValueError(f"`targets`: expected a function that returns one number in a tensor, got {got}")
        return torch.stack([number.reshape(()) for number in numbers]) if numbers else torch.zeros(0)

    def changed(self, change: Callable[[Tensor], Tensor]) -> EachImage:
        """See `Target.changed`."""
        return EachImage(changed_items(self.functions, change))


def outputs_of_images(output: Any) -> Iterator[Any]:
    """The output of a batch, image by image: tensors and dictionaries of tensors are split, lists are not.

    Example:
        >>> [each["a"].item() for each in outputs_of_images({"a": torch.tensor([1.0, 2.0])})]
        [1.0, 2.0]
    """
    if hasattr(output, "keys"):
        parts = {key: list(outputs_of_images(output[key])) for key in output.keys()}  # noqa: SIM118 - no plain dict
        count = len(next(iter(parts.values()), []))
        return iter({key: values[place] for key, values in parts.items()} for place in range(count))
    if isinstance(output, tuple):
        return iter(zip(*(outputs_of_images(each) for each in output), strict=True))
    return iter(output)
