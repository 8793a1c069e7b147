"""A number for each class, given by the user or computed from how frequent the classes are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from camtrain.messages import checked_numbers

ClassNumbers = list[float] | Literal["balanced"] | None


class ClassWeights(nn.Module):
    """The weight of each class in a loss.

    Weights that are computed from the training images are part of the state dict, so that a checkpoint can be scored
    without them; given ones are not, since they are a setting. They are no buffer: a callback that averages weights,
    such as Lightning's `EMAWeightAveraging`, copies all buffers before balanced weights are computed, and could not
    average them with the copy; and they are float64, which an Apple GPU does not have.

    Args:
        name: The name of the argument that the user set, for messages.
        given: One number for each class, of at least 0, in the order of their indices; or `balanced`, to be computed
            from class frequencies; or `None`, for no weights.
        balanced: From the frequency of each class, (K,), above 0, to its weight.

    Raises:
        TypeError: If `given` is something else.
        ValueError: If a number is negative or not finite, or all are 0.
    """

    def __init__(self, name: str, given: ClassNumbers, balanced: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.name = name
        self.is_balanced = given == "balanced" if isinstance(given, str) else False
        self._rule = balanced
        values = torch.zeros(0)
        if given is not None and not self.is_balanced:
            expected = "one number of at least 0 for each class, or balanced"
            numbers = checked_numbers(name, given, expected, at_least=0)
            if not any(numbers):
                raise ValueError(f"`{name}`: expected {expected}, got only zeros")
            values = torch.tensor(numbers, dtype=torch.float64)
        self.given = None if given is None else "balanced" if self.is_balanced else values.tolist()
        self.values = values

    @property
    def needs_frequencies(self) -> bool:
        """Whether the weights wait for `set_frequencies`."""
        return self.is_balanced and len(self.values) == 0

    def set_frequencies(self, frequencies: Tensor) -> None:
        """Compute balanced weights; nothing happens for others.

        Args:
            frequencies: (K,), the fraction of the training images that show each class.

        Raises:
            ValueError: If no training image shows one of the classes.
        """
        if not self.is_balanced:
            return
        missing = (~(frequencies > 0)).nonzero().flatten().tolist()
        if missing:
            raise ValueError(
                f"`{self.name}`: expected training images of every class for balanced weights, got none of class "
                f"{', '.join(map(str, missing))}; give one number for each class"
            )
        self.values = self._rule(frequencies.cpu().double())

    def of(self, logits: Tensor) -> Tensor | None:
        """The weights, (K,), as the loss of logits (N, K) takes them; `None` if there are none.

        Raises:
            ValueError: If their number is not K.
            RuntimeError: If balanced weights have not been computed.
        """
        if self.given is None:
            return None
        if self.needs_frequencies:
            raise RuntimeError(
                f"`{self.name}`: balanced weights are computed from the training images when `Classifier` is fitted; "
                "elsewhere, call `set_class_frequencies` of the loss first"
            )
        # Of the two classes of a single logit, the frequency of yes says it all.
        is_of_both = self.is_balanced and logits.shape[1] == 1 and len(self.values) == 2
        if logits.device.type != "mps":
            self.values = self.values.to(logits.device)  # stays there
        values = self.values[1:] if is_of_both else self.values
        if len(values) != logits.shape[1]:
            raise ValueError(
                f"`{self.name}`: expected {logits.shape[1]} numbers, one for each class, got {len(values)}"
            )
        return values.to(logits)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.is_balanced:
            destination[f"{prefix}values"] = self.values

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        *rest: Any,
    ) -> None:
        key = f"{prefix}values"
        if self.is_balanced and isinstance(stored := state_dict.get(key), Tensor):
            self.values = stored.clone()
            state_dict = {name: value for name, value in state_dict.items() if name != key}
        elif self.is_balanced:
            missing_keys.append(key)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, *rest)

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"{self.given}"
