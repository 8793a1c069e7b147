"""The module that computes where a network attends, and how it is found in a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor, nn


class AttentionOutput(NamedTuple):
    """The output of an attention head.

    Attributes:
        attention: (N, 1, h, w), in [0, 1]. `AttendedNetwork` multiplies its features by 1 + attention; `CAStream`
            averages them with the attention as weights.
        logits: The logits of the head's own classifier, (N, K), for a loss on them; `None` if it has no classifier.
    """

    attention: Tensor
    logits: Tensor | None


class AttentionHead(nn.Module, ABC):
    """From the features of a layer, or of several, to the attention of the last one.

    `AttentionMap`, and a loss on the head's logits, find the head by this type, wherever it is in a network. A network
    of your own has an attention map if its forward runs such a module once.
    """

    @abstractmethod
    def forward(self, features: Any, images: Tensor) -> AttentionOutput:
        """The attention.

        Args:
            features: The output of the attended layer, (N, C, h, w); a list of outputs for a head that attends to
                several layers.
            images: The images that the network is run on, (N, C, H, W).
        """


def attention_heads(network: nn.Module) -> dict[str, AttentionHead]:
    """The attention heads of a network by their dotted names; most networks have none.

    Example:
        >>> attention_heads(nn.Linear(2, 2))
        {}
    """
    return {name: module for name, module in network.named_modules() if isinstance(module, AttentionHead)}
