"""A module that says where a network attends, and how it is found in a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class AttentionOutput(NamedTuple):
    """What an attention head puts out.

    Attributes:
        attention: (N, 1, h, w), in [0, 1], that the features are multiplied by.
        logits: (N, K) of the head's own classification, for a loss of their own; `None` of a head that has none.
    """

    attention: Tensor
    logits: Tensor | None


class AttentionHead(nn.Module, ABC):
    """From the features of a layer to the attention that they get.

    By this type the head is found wherever it is in a network: by `AttentionMap`, and by a loss on the head's logits.
    A network of one's own has an attention map if it runs such a module once in its forward.
    """

    @abstractmethod
    def forward(self, features: Tensor, images: Tensor) -> AttentionOutput:
        """The attention.

        Args:
            features: (N, C, h, w), what the attended layer puts out.
            images: (N, 3, H, W), what the network is run on.
        """


def attention_heads(network: nn.Module) -> dict[str, AttentionHead]:
    """The attention heads of a network by their dotted names; none in most networks.

    Example:
        >>> attention_heads(nn.Linear(2, 2))
        {}
    """
    return {name: module for name, module in network.named_modules() if isinstance(module, AttentionHead)}
