"""The passes of a step that a compiled network runs without its compiled code."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from torch import nn

from camtrain.gradients.per_network import PerNetwork
from camtrain.messages import CamtrainWarning
from camtrain.networks.uncompiled import is_compiled, uncompiled

_WARNED = PerNetwork[set[str]]()


def uncompiled_pass(network: nn.Module, regularizers: Sequence[str]) -> AbstractContextManager[None]:
    """A context in which a network runs as it was before `torch.compile`, for regularizers that need that.

    Compiled code ignores hooks, and so the outputs of layers cannot be captured; it has no second derivatives, and
    after a batch of another size not even a second gradient of one pass. The context changes nothing if the network
    was not compiled or no regularizer needs it.

    Args:
        network: The network.
        regularizers: The names of the regularizers that need more than compiled code offers; a warning for each network
            names them once.
    """
    if not regularizers or not is_compiled(network):
        return nullcontext()
    names = " and ".join(dict.fromkeys(regularizers))
    if names not in _WARNED.setdefault(network, set()):
        _WARNED[network].add(names)
        warnings.warn(
            f"`network`: steps with {names} run it without its compiled code, because torch.compile hides the outputs "
            "of layers and takes a single gradient of a pass; other steps run the compiled code",
            CamtrainWarning,
            stacklevel=2,
        )
    return uncompiled()
