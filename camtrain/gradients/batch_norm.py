"""Which statistics BatchNorm uses, and whether a pass updates them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

# The running statistics of frozen layers, for a `running_batch_norm` inside of `frozen_batch_norm`.
_FROZEN: WeakKeyDictionary[_NormBase, tuple[Tensor | None, Tensor | None]] = WeakKeyDictionary()

BatchNormStatistics = Literal["batch", "running"]
"""`"batch"`: the statistics of the batch, as in training. `"running"`: the running averages, as in evaluation."""


@contextmanager
def frozen_batch_norm(network: nn.Module) -> Iterator[None]:
    """Run forward passes that do not update running statistics and `num_batches_tracked`.

    A layer in training mode still normalizes by the statistics of its batch, so the output of a pass is the same inside
    and outside of this context. The context covers BatchNorm, SyncBatchNorm and InstanceNorm.
    """
    layers = _tracking_layers(network)
    for layer in layers:
        _FROZEN[layer] = layer.running_mean, layer.running_var
        layer.track_running_stats = False
        # InstanceNorm updates the statistics that it has, even if the flag is off.
        layer.running_mean = layer.running_var = None
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
            layer.running_mean, layer.running_var = _FROZEN.pop(layer)


@contextmanager
def running_batch_norm(network: nn.Module) -> Iterator[None]:
    """Put only the normalization layers in evaluation mode, frozen ones included, and leave the others alone."""
    layers = _tracking_layers(network)
    frozen = [layer for layer in network.modules() if isinstance(layer, _NormBase) and _is_frozen(layer)]
    for layer in frozen:
        layer.running_mean, layer.running_var = _FROZEN[layer]
        layer.track_running_stats = True
    for layer in [*layers, *frozen]:
        layer.training = False
    try:
        yield
    finally:
        for layer in [*layers, *frozen]:
            layer.training = True
        for layer in frozen:
            layer.track_running_stats = False
            layer.running_mean = layer.running_var = None


def _is_frozen(layer: _NormBase) -> bool:
    return layer in _FROZEN and layer.training and not layer.track_running_stats


def _tracking_layers(network: nn.Module) -> list[_NormBase]:
    layers = (module for module in network.modules() if isinstance(module, _NormBase))
    return [layer for layer in layers if layer.training and layer.track_running_stats]
