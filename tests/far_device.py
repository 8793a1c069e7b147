"""A second device that needs no hardware: its tensors hold numbers, and an operation that mixes devices fails.

A tensor of the *far* device says that its device is `meta`, and holds an ordinary tensor, which all computations are
done with. As on a GPU, an operation takes the tensors of one device only, apart from numbers (0-dim tensors of the CPU)
and indices; a tensor that is made without a device is on the CPU; and only `to`, `cpu` and `copy_` cross over.
So a forgotten device or `to` fails here as it would on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

FAR = torch.device("meta")
_CROSSING = {"copy_", "_to_copy"}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}


class FarTensor(Tensor):
    """A tensor of the far device."""

    near: Tensor

    @staticmethod
    def __new__(cls, near):
        made = Tensor._make_wrapper_subclass(
            cls, near.size(), strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype, device=FAR
        )
        made.near = near
        return made

    def __repr__(self):
        return f"FarTensor({self.near!r})"

    def tolist(self):
        return self.near.tolist()

    def as_subclass(self, cls):
        return self

    def __getitem__(self, index):
        return super().__getitem__(_of_tensors(index))

    def __setitem__(self, index, value):
        super().__setitem__(_of_tensors(index), value)

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})


def _of_tensors(index):
    """An index with a tensor in the place of each list."""
    if isinstance(index, tuple):
        return tuple(map(_of_tensors, index))
    return torch.tensor(index, dtype=None if index else torch.long) if isinstance(index, list) else index


class _FarDevice(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})


def _computed(function, args, kwargs):
    name = function.overloadpacket.__name__
    leaves = list(_tensors((args, kwargs.values())))
    far = [leaf for leaf in leaves if isinstance(leaf, FarTensor)]
    # Torch makes such a tensor where it takes the far device for that without numbers; these would be lost.
    assert all(leaf.device != FAR for leaf in leaves if not isinstance(leaf, FarTensor)), function
    if far and name not in _CROSSING:
        _check_one_device(function, args if name in _INDEXED else leaves)
    device = kwargs.get("device")
    is_far = bool(far) if device is None else torch.device(device) == FAR
    if name == "copy_":
        is_far = isinstance(args[0], FarTensor)
    near_kwargs = _mapped(kwargs, FarTensor, lambda each: each.near)
    if device is not None:
        near_kwargs["device"] = torch.device("cpu")
    output = function(*_mapped(args, FarTensor, lambda each: each.near), **near_kwargs)
    if not is_far:
        return args[0] if name == "copy_" else output
    output = _mapped(output, Tensor, FarTensor)
    aliases = far and any(each.alias_info is not None for each in function._schema.returns)
    return return_and_correct_aliasing(function, args, kwargs, output) if aliases else output


def _tensors(values):
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)) or type(value).__name__ == "dict_values":
            yield from _tensors(value)


def _mapped(value, kind, change):
    """The value, with all of this kind in it changed."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(each, kind, change) for each in value)
    if isinstance(value, dict):
        return {key: _mapped(each, kind, change) for key, each in value.items()}
    return value


def _check_one_device(function, leaves):
    near = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, FarTensor) and leaf.dim() > 0]
    if near:
        shapes = ", ".join(str(tuple(each.shape)) for each in near)
        raise RuntimeError(f"expected all tensors on one device, got {shapes} of the CPU among those of {function}")


@contextmanager
def far_device() -> Iterator[torch.device]:
    """The far device, for tensors that are made inside or moved with `to(FAR)`."""
    autocast, is_enabled, generator = torch.autocast, torch.is_autocast_enabled, torch.Generator

    # Torch knows no autocast and no generator of this device.
    def known(device_type, *args, **kwargs):
        return nullcontext() if device_type == FAR.type else autocast(device_type, *args, **kwargs)

    def known_enabled(*device_type):
        return False if device_type == (FAR.type,) else is_enabled(*device_type)

    patches = mock.patch.multiple(
        torch, autocast=known, is_autocast_enabled=known_enabled, tensor=_moved_result(torch.tensor),
        as_tensor=_moved_result(torch.as_tensor), Generator=lambda device="cpu": generator(),
    )  # fmt: skip
    with _FarDevice(), patches, mock.patch.object(Tensor, "new_tensor", _new_tensor):
        yield FAR


def _moved_result(make):
    """A function that makes tensors of data; torch makes those of the device `meta` without the data."""

    def made(data, *, device=None, **kwargs):
        of_data = data.device if isinstance(data, Tensor) else "cpu"
        device = torch.device(device or of_data)
        if isinstance(data, FarTensor):
            return data.to(device=device, **kwargs)
        return make(data, **kwargs).to(device)

    return made


def _new_tensor(tensor, data, *, dtype=None, device=None):
    return torch.tensor(data, dtype=dtype or tensor.dtype, device=device or tensor.device)
