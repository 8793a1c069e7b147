"""Extra passes of a network that leave no trace in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from camtrain.gradients.batch_norm import frozen_batch_norm, running_batch_norm
from camtrain.gradients.randomness import left_randomness


@contextmanager
def left_as_found(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Run extra passes of `network` without changing its running statistics or the random generators.

    Modes, `requires_grad` and `.grad` need not be restored: camtrain computes gradients with `torch.autograd.grad`,
    never with `backward()`, and changes none of them.
    """
    with frozen_batch_norm(network), left_randomness(device):
        yield


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode, and restore each module's own mode afterwards, also after an error.

    Inside `left_as_found`, which sets the running statistics of BatchNorm aside, the layers have them back.
    """
    with running_batch_norm(network):
        training = [module for module in network.modules() if module.training]
        network.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True
