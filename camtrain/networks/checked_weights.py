"""Whether saved weights are those of a network, and are numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def misfit(module: nn.Module, saved: Mapping[str, Any]) -> str | None:
    """The first difference between the names and shapes of a module's weights and of saved ones.

    Args:
        module: The module that would take the weights.
        saved: Its `state_dict`, or another one.

    Returns:
        What does not fit, and how many more; `None` if all of it fits.

    Example:
        >>> misfit(nn.Linear(2, 3), nn.Linear(2, 5).state_dict())
        'weight is 5×2 in it and 3×2 here, and 1 more'
        >>> misfit(nn.Linear(2, 3), nn.Linear(2, 3, bias=False).state_dict())
        'it has no bias'
    """
    own = module.state_dict()
    found = [_difference(name, own[name], saved[name]) for name in own if name in saved]
    found += [f"it has no {name}" for name in own if name not in saved]
    found += [f"it has {name}, which is not here" for name in saved if name not in own]
    differences = [each for each in found if each]
    if not differences:
        return None
    return differences[0] + (f", and {len(differences) - 1} more" if len(differences) > 1 else "")


def _difference(name: str, own: Any, saved: Any) -> str | None:
    if not isinstance(own, Tensor) or is_lazy(own):  # type: ignore[no-untyped-call, unused-ignore]
        return None
    if not isinstance(saved, Tensor):
        return f"{name} is a {type(saved).__name__} in it, not a tensor"
    return None if own.shape == saved.shape else f"{name} is {_size(saved)} in it and {_size(own)} here"


def _size(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"


def broken_weight(module: nn.Module, saved: Mapping[str, Any]) -> str | None:
    """The first saved parameter that is NaN or infinite, or the first buffer that is NaN.

    A buffer may be infinite where it is a mask.

    Args:
        module: The module that would take the weights.
        saved: Weights that fit it.

    Returns:
        `parameter fc.bias is NaN or infinite`; `None` if all are numbers.

    Example:
        >>> broken_weight(nn.Linear(2, 1), {"weight": torch.ones(1, 2), "bias": torch.tensor([float("inf")])})
        'parameter bias is NaN or infinite'
    """
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name, value in saved.items():
        if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_complex()):
            continue
        if name in parameters and not bool(torch.isfinite(value).all()):
            return f"parameter {name} is NaN or infinite"
        if bool(torch.isnan(value).any()):
            return f"buffer {name} is NaN"
    return None
