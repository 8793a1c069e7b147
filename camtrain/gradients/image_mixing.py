"""Whether what a network says of one image depends on the other images of the batch."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class ImageMixing:
    """Knows of each network, in each of its modes, whether it mixes the images of a batch.

    BatchNorm that normalizes by the statistics of the batch does. Other ways are found by a gradient, once for each
    combination of modes of the modules; a copy or a pickle starts anew.

    Cost:
        One backward pass to the images at the first batch of a network in a mode.
    """

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[nn.Module, dict[tuple[bool, ...], bool]] = weakref.WeakKeyDictionary()

    def __reduce__(self) -> tuple[type[ImageMixing], tuple[()]]:
        return type(self), ()

    def __call__(self, network: nn.Module, images: Tensor, logits: Tensor, *, running_statistics: bool) -> bool:
        """Whether images are mixed.

        Args:
            network: the network, in the mode of the pass.
            images: (N, 3, H, W), requires grad.
            logits: (N, K), computed from them; their graph is kept.
            running_statistics: whether BatchNorm used its running averages in that pass.
        """
        if len(images) == 1:
            return False
        if not running_statistics and batch_normalizing_layers(network):
            return True
        modes = tuple(module.training for module in network.modules())
        known = self._known.setdefault(network, {})
        if modes not in known:
            mixes = _mixes(images, logits)
            if mixes is None:  # a head of zeros hides it: nothing is learnt about the next batch
                return True
            known[modes] = mixes
        return known[modes]


def batch_normalizing_layers(network: nn.Module) -> list[_BatchNorm]:
    """The layers that normalize by the mean and the variance of the batch."""
    layers = (module for module in network.modules() if isinstance(module, _BatchNorm))
    return [layer for layer in layers if layer.training or layer.running_mean is None]


def _mixes(images: Tensor, logits: Tensor) -> bool | None:
    """Whether the even images' logits depend on the odd images; `None` where they depend on no image."""
    # Weights that differ, because the sum of all logits may be constant (a log-softmax).
    weights = torch.linspace(1.0, 2.0, logits[::2].numel(), device=logits.device, dtype=logits.dtype)
    (gradient,) = torch.autograd.grad((logits[::2] * weights.view_as(logits[::2])).sum(), images, retain_graph=True)
    if not gradient[::2].any():
        return None
    return bool(gradient[1::2].any())
