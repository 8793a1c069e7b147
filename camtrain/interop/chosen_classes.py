"""The explained class of each image, in the form that other libraries take it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from camtrain.gradients import ClassIndex, Target, class_score, fixed_class, selected_class


def fixed_choice(network: Any, images: Tensor, class_idx: ClassIndex) -> tuple[ClassIndex, list[int] | None]:
    """What is explained of these images, without `None`, and as one class of several logits for each image.

    Args:
        network: The network.
        images: The images.
        class_idx: What is explained.

    Returns:
        The choice; and the classes, `None` where what is explained is no logit of several, and a function of the output
        has to say it.

    Cost:
        One forward pass.
    """
    with torch.no_grad():
        output = network(images)
    # Autocast caches cast weights: weights from a pass without a graph would cut the graph of the next pass.
    torch.clear_autocast_cache()
    choice = fixed_class(output, class_idx)
    if isinstance(choice, Tensor) and output.shape[1] > 1:
        return choice, choice.tolist()
    return choice, None


def score_of_image(choice: ClassIndex, number: int) -> Callable[[Any], Tensor]:
    """From the output for one image, without the axis of the batch, to its explained score, as a number."""
    chosen = selected_class(choice, slice(number, number + 1))

    def score(output: Any) -> Tensor:
        return class_score(_batch_of_one(output), chosen)[0]

    return score


def _batch_of_one(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.unsqueeze(0)
    if isinstance(output, dict):
        return {key: _batch_of_one(value) for key, value in output.items()}
    if isinstance(output, tuple):
        return tuple(_batch_of_one(each) for each in output)
    return [output]


def kind_of(choice: ClassIndex) -> str:
    """What is explained, in a word for messages."""
    return "a target" if isinstance(choice, Target) else type(choice).__name__
