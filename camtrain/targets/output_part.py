"""A class or target of one among several outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from camtrain.gradients import ClassIndex, Target, class_score, fixed_class
from camtrain.gradients.class_score import changed_class
from camtrain.messages import nearest_names


@dataclass(frozen=True, eq=False)
class OutputPart(Target):
    """A class, or another target, of one output of a network that puts out several, in a tuple or a dictionary.

    Args:
        part: The place of the output in the tuple, or its name in the dictionary or among the attributes.
        class_idx: What is explained of this output: a class as for any network, or a target.

    Example:
        >>> import torch
        >>> output = {"out": torch.tensor([[1.0, 4.0]]), "aux": torch.zeros(1, 2)}
        >>> OutputPart("out", 1)(output), OutputPart(0, None)((output["out"], 7))
        (tensor([4.]), tensor([4.]))
    """

    part: int | str
    class_idx: ClassIndex = None

    @property
    def is_fraction(self) -> bool:
        """Whether the number of a target inside is one."""
        return bool(getattr(self.class_idx, "is_fraction", False))

    def __call__(self, output: Any) -> Tensor:
        """The number of each image, (N,).

        Raises:
            ValueError: If there is no such part.
        """
        return class_score(part_of(output, self.part), self.class_idx)

    def fixed(self, output: Any) -> OutputPart:
        """With the predicted classes in the place of `None`."""
        return OutputPart(self.part, fixed_class(part_of(output, self.part), self.class_idx))

    def changed(self, change: Callable[[Tensor], Tensor]) -> OutputPart:
        """See `Target.changed`."""
        return OutputPart(self.part, None if self.class_idx is None else changed_class(self.class_idx, change))


def part_of(output: Any, part: int | str) -> Any:
    """One of several outputs.

    Args:
        output: A tuple or list, a dictionary, or an object with attributes, such as a named tuple.
        part: The place, or the name.

    Raises:
        ValueError: If there is no such part.

    Example:
        >>> part_of({"logits": 1, "aux": 2}, "logit")
        Traceback (most recent call last):
        ValueError: `part`: the output has no 'logit'; did you mean 'logits'?
    """
    try:
        if isinstance(part, str) and not hasattr(output, "keys"):
            return getattr(output, part)
        return output[part]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        keys = [str(key) for key in output] if hasattr(output, "keys") else getattr(output, "_fields", ())
        known = nearest_names(part, keys) if keys else f"it is a {type(output).__name__}"
        if isinstance(output, (tuple, list)) and not keys:
            known = f"it has {len(output)} parts"
        raise ValueError(f"`part`: the output has no {part!r}; {known}") from error
