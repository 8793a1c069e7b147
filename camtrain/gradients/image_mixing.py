"""Whether a network's output for one image depends on the other images of the batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from camtrain.gradients.engine import ClassificationLoss, ForwardPass
from camtrain.gradients.per_network import PerNetwork, modes
from camtrain.gradients.randomness import left_randomness


class ImageMixing:
    """Finds out whether a network, or the loss, mixes the images of a batch, and remembers it for each mode.

    BatchNorm that normalizes by the statistics of the batch mixes them. Other kinds of mixing are found by the gradient
    of one image's logits: at the first batch of a network in a mode, and again each time that the number of batches has
    doubled, because mixing may be zero or rare at the start of a training. A copy or a pickle starts anew.

    Cost:
        One backward pass to the images for each of these checks.
    """

    def __init__(self) -> None:
        self._known = PerNetwork[dict[tuple[bool, ...], _Knowledge]]()

    def __call__(self, network: nn.Module, forward: ForwardPass, loss: ClassificationLoss) -> bool:
        """Whether images are mixed in a pass. The graph of the pass is kept.

        Args:
            network: The network, in the mode of the pass.
            forward: The pass.
            loss: From logits to the explained scalar.
        """
        layers = [] if forward.in_own_pass else batch_normalizing_layers(network)
        if any(isinstance(layer, nn.SyncBatchNorm) for layer in layers):
            return True  # Also if this process has a single image.
        if len(forward.images) == 1:
            return False
        if layers:
            return True
        known = self._known.setdefault(network, {}).setdefault(modes(network), _Knowledge())
        known.batches += 1
        if not known.mixes and known.batches & (known.batches - 1) == 0:  # A power of two.
            image = (known.batches.bit_length() - 1) % len(forward.images)
            known.mixes = _mixes(forward, image) or _loss_mixes(forward.explained_logits, loss, image)
        return known.mixes


@dataclass
class _Knowledge:
    batches: int = 0
    mixes: bool = False


def batch_normalizing_layers(network: nn.Module) -> list[_BatchNorm]:
    """The layers that normalize by the mean and the variance of the batch, in their current modes."""
    layers = (module for module in network.modules() if isinstance(module, _BatchNorm))
    return [layer for layer in layers if layer.training or layer.running_mean is None]


def _mixes(forward: ForwardPass, image: int) -> bool:
    """Whether the logits of one image depend on the others."""
    row = forward.explained_logits[image]
    # Different weights, because the sum of all logits may be constant, as after a log-softmax.
    weights = torch.linspace(1.0, 2.0, len(row), device=row.device, dtype=row.dtype)
    (gradient,) = torch.autograd.grad((row * weights).sum(), forward.images, retain_graph=True)
    others = torch.arange(len(gradient), device=gradient.device) != image
    return bool(gradient[others].any())


def _loss_mixes(logits: Tensor, loss: ClassificationLoss, image: int) -> bool:
    """Whether the derivative of the loss at one row of the logits depends on the other rows."""
    leaf = logits.detach().requires_grad_()
    with left_randomness(logits.device):
        (gradient,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    if not gradient.requires_grad:
        return False
    weights = torch.linspace(1.0, 2.0, gradient.shape[1], device=gradient.device, dtype=gradient.dtype)
    (second,) = torch.autograd.grad((gradient[image] * weights).sum(), leaf, allow_unused=True)
    others = torch.arange(len(leaf), device=leaf.device) != image
    return second is not None and bool(second[others].any())
