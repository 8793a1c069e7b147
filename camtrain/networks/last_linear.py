"""The last linear layer of a network, its head."""

from __future__ import annotations

from torch import nn

from camtrain.networks.attention_head import attention_heads


def last_linear(network: nn.Module) -> str | None:
    """The dotted name of the last `nn.Linear` of a network; `None` if it has none.

    The last is that of `network.named_modules()`, which is the order in which the modules were added. Linear layers
    inside an `AttentionHead` do not count.

    Example:
        >>> from torchvision.models import mobilenet_v2
        >>> last_linear(mobilenet_v2())
        'classifier.1'
    """
    inside = tuple(f"{name}." for name in attention_heads(network))
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(inside)
    ]
    return names[-1] if names else None
