"""A line that tells a value from others, whatever it is."""

from __future__ import annotations

import hashlib
import types
import weakref
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

_PLAIN = (bool, int, float, complex, str, bytes)
_NAMED = (torch.dtype, torch.device, torch.layout, torch.memory_format, np.dtype, range)
_BUILTIN = (types.BuiltinFunctionType, types.MethodWrapperType)
_FUNCTIONS = (types.FunctionType, types.MethodType, *_BUILTIN)
_UNBOUND = (types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType)
_HELD = (weakref.ref, weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet, RemovableHandle)
"""What holds other objects for as long as they are there, such as what was found out about a network: no setting."""

_DEEPEST = 40  # objects inside each other
_LONGEST = 1000  # characters of a line


def fingerprint(value: Any, known: Mapping[str, Any] | None = None, without: Collection[str] = ()) -> str:
    """A line that tells a value from others of the same kind, and that is the same in every process.

    Tensors, arrays and the weights of modules are told apart by their numbers, and functions by their code, their
    defaults and the values that they refer to. Any other object is told apart by its class and its attributes. The code
    of classes is not looked at, nor that of functions of other modules which a function calls.

    Args:
        value: The value.
        known: Objects that are mentioned by these names, without looking at them, such as the layers of a network.
        without: Names of attributes that are not looked at, such as those that hold what an earlier call found.

    Example:
        >>> fingerprint([3, "relu", torch.float32])
        "[3, 'relu', torch.float32]"
        >>> fingerprint(torch.zeros(3)) == fingerprint(torch.zeros(3)), fingerprint(torch.zeros(3))
        (True, '(3,) torch.float32 15ec7bf0b50732b4')
        >>> fingerprint(lambda output: output[:, 3]) == fingerprint(lambda output: output[:, 5])
        False
        >>> from functools import partial
        >>> fingerprint(partial(max, default=2))
        "partial(max, [], {'default': 2})"
    """
    line = _Description({id(each): name for name, each in (known or {}).items()}, frozenset(without)).of(value)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}… {_short_hash(line)}"


def tensor_bytes(values: Tensor) -> bytes:
    """The numbers of a tensor as bytes, whatever its type and device."""
    plain = values.detach().cpu().contiguous().as_subclass(Tensor).flatten()
    return plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""


class _Description:
    """Describes values one after another; an object that was met before is described by its number.

    So cycles end, and the work grows with the number of objects.

    Args:
        known: Names by the identity of objects.
        without: Names of attributes that are not looked at.
        met: Objects that were met before, by their identity; they are held so that no other object gets it.
    """

    def __init__(
        self, known: Mapping[int, str], without: frozenset[str], met: dict[int, tuple[int, Any]] | None = None
    ) -> None:
        self._known, self._without = known, without
        self._met = {} if met is None else met
        self._depth = 0

    def of(self, value: Any) -> str:
        """The line of a value."""
        if id(value) in self._known:
            return f"<{self._known[id(value)]}>"
        simple = self._simple(value)
        if simple is not None:
            return simple
        if isinstance(value, tuple):  # equal tuples of constants may be one object in one process and two in another
            return _of_class(value, tuple) + self._listed(value)
        if isinstance(value, set | frozenset):
            return _of_class(value, set) + self._sorted(value)
        if id(value) in self._met:
            return f"#{self._met[id(value)][0]}"
        self._meet(value)
        if self._depth > _DEEPEST:
            return _class_name(type(value))
        self._depth += 1
        try:
            return self._whole(value)
        finally:
            self._depth -= 1

    def _meet(self, value: Any) -> None:
        self._met.setdefault(id(value), (len(self._met), value))

    def _simple(self, value: Any) -> str | None:
        """The line of a value that nothing else can be in; `None` for any other."""
        if value is None or value is Ellipsis:
            return repr(value)
        if isinstance(value, Enum):
            return f"{_class_name(type(value))}.{value.name}"
        if isinstance(value, np.generic):
            return f"{value.dtype} {value.item()!r}"
        for kind in _PLAIN:
            if isinstance(value, kind):
                said = kind.__repr__(value)
                return said if type(value) is kind else f"{_class_name(type(value))}({said})"
        if isinstance(value, _NAMED):
            return str(value)
        if isinstance(value, type):
            return _class_name(value)
        if isinstance(value, types.ModuleType):
            return value.__name__
        return _class_name(type(value)) if isinstance(value, _HELD) else None

    def _whole(self, value: Any) -> str:
        """The line of an object that other objects can be in."""
        if isinstance(value, Tensor):
            return _of_tensor(value)
        if isinstance(value, np.ndarray):
            numbers = self.of(value.tolist()) if value.dtype.hasobject else _short_hash(value.tobytes())
            return f"{value.shape} {value.dtype} {numbers}"
        if isinstance(value, nn.Module):
            return self._module(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return f"{self.of(value.__func__)} of {self.of(value.__self__)}"
        if isinstance(value, _BUILTIN):
            owner = getattr(value, "__self__", None)
            own = "" if owner is None or isinstance(owner, types.ModuleType) else f" of {self.of(owner)}"
            return f"{value.__qualname__}{own}"
        if isinstance(value, _UNBOUND):
            return f"{_class_name(value.__objclass__)}.{value.__name__}"
        if isinstance(value, partial):
            return f"partial({self.of(value.func)}, {self.of(value.args)}, {self.of(value.keywords)})"
        if isinstance(value, dict | types.MappingProxyType):
            return _of_class(value, dict) + self._mapping(value)
        if isinstance(value, list):
            return _of_class(value, list) + self._listed(value)
        return self._object(value)

    def _listed(self, values: Iterable[Any]) -> str:
        return f"[{', '.join(map(self.of, values))}]"

    def _sorted(self, values: set[Any] | frozenset[Any]) -> str:
        """Sorted, since a set has another order in every process; so each goes on from what was met before the set."""
        lines = []
        for each in values:
            alone = _Description(self._known, self._without, dict(self._met))
            alone._depth = self._depth + 1
            lines.append(alone.of(each))
        return f"{{{', '.join(sorted(lines))}}}"

    def _mapping(self, values: Mapping[Any, Any]) -> str:
        items = list(values.items())
        if all(isinstance(key, str) for key, _ in items):
            items.sort(key=lambda item: str(item[0]))
        return f"{{{', '.join(f'{self.of(key)}: {self.of(each)}' for key, each in items)}}}"

    def _module(self, module: nn.Module) -> str:
        layers = []
        for name, each in module.named_modules():
            self._meet(each)  # so that a layer that is mentioned later is told from others like it
            own = {
                key: held
                for key, held in vars(each).items()
                if not (key.startswith("_") or key == "training" or key in self._without)
                if _is_value(held) or isinstance(held, _FUNCTIONS)
            }
            layers.append([name, type(each), own])
        weights = dict(module.named_buffers()) | dict(module.state_dict())
        found = self.of(layers) + self.of({name: each for name, each in weights.items() if _is_value(each)})
        return f"{_class_name(type(module))} {_short_hash(found)}"

    def _function(self, function: types.FunctionType) -> str:
        said = [_code(function.__code__, self)]
        said += map(self.of, (function.__defaults__, function.__kwdefaults__, vars(function)))
        said += [self._cell(cell) for cell in function.__closure__ or ()]
        for name in sorted(_names_in(function.__code__)):
            found = function.__globals__.get(name)
            beside = isinstance(found, types.FunctionType) and found.__module__ == function.__module__
            if _is_value(found) or beside:
                said.append(f"{name}: {self.of(found)}")
        return f"{function.__module__}.{function.__qualname__} {_short_hash('; '.join(said))}"

    def _cell(self, cell: types.CellType) -> str:
        try:
            return self.of(cell.cell_contents)
        except ValueError:  # what it is of has no value yet
            return "-"

    def _object(self, value: Any) -> str:
        own = {name: each for name, each in _attributes(value).items() if name not in self._without}
        inside = [f"{name}={self.of(own[name])}" for name in sorted(own)]
        # Such as an `operator.itemgetter`, which has no attributes, but can be pickled.
        inside = inside or [self.of(each) for each in _pickled(value)]
        return f"{_class_name(type(value))}({', '.join(inside)})"


def _short_hash(found: str | bytes) -> str:
    content = found.encode(errors="surrogatepass") if isinstance(found, str) else found
    return hashlib.sha256(content).hexdigest()[:16]


def _class_name(kind: type) -> str:
    """The name of a class, with its module if it is of another package."""
    package = kind.__module__.partition(".")[0]
    return kind.__qualname__ if package in ("builtins", "camtrain") else f"{kind.__module__}.{kind.__qualname__}"


def _of_class(value: Any, usual: type) -> str:
    """The name of the class of a container; empty for a usual one."""
    return "" if type(value) in (usual, frozenset) else _class_name(type(value))


def _of_tensor(values: Tensor) -> str:
    about = f"{tuple(values.shape) if not is_lazy(values) else 'lazy'} {values.dtype}"
    if is_lazy(values) or values.is_meta:  # it has no numbers
        return about
    plain = values.detach()
    plain = plain.to_dense() if plain.layout != torch.strided else plain
    return f"{about} {_short_hash(tensor_bytes(plain.resolve_conj().resolve_neg()))}"


def _code(code: types.CodeType, description: _Description) -> str:
    """What a function does, without the names and lines of its source."""
    constants = [
        _code(each, description) if isinstance(each, types.CodeType) else description.of(each)
        for each in code.co_consts
    ]
    return _short_hash(repr((code.co_code.hex(), code.co_names, code.co_freevars, constants)))


def _names_in(code: types.CodeType) -> set[str]:
    """The names in a function and in those inside it, among them those of the global values that it refers to."""
    inner = (each for each in code.co_consts if isinstance(each, types.CodeType))
    return set(code.co_names).union(*map(_names_in, inner))


def _is_value(value: Any, depth: int = 4) -> bool:
    """Whether something is a value, also of several values; any other object may be the whole program."""
    if isinstance(value, list | tuple | set | frozenset):
        return depth > 0 and all(_is_value(each, depth - 1) for each in value)
    if isinstance(value, dict):
        return depth > 0 and all(_is_value(each, depth - 1) for each in (*value, *value.values()))
    kinds = (*_PLAIN, *_NAMED, Enum, Tensor, np.generic, np.ndarray, nn.Module, partial)
    return value is None or isinstance(value, kinds)


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object, without those that its class computes and remembers."""
    kind = type(value)
    own = {
        name: each
        for name, each in getattr(value, "__dict__", {}).items()
        if not isinstance(getattr(kind, name, None), cached_property)
    }
    for base in kind.__mro__:
        # A class in C may also have members, but these can be addresses.
        slots = vars(base).items() if "__slots__" in vars(base) else ()
        for name, each in slots:
            if isinstance(each, types.MemberDescriptorType) and hasattr(value, name):
                own[name] = each.__get__(value, kind)
    return own


def _pickled(value: Any) -> tuple[Any, ...]:
    """What an object is made with again: arguments, state and items; nothing where it cannot be pickled."""
    try:
        found = value.__reduce_ex__(2)
    except Exception:  # a class may raise anything
        return ()
    if not isinstance(found, tuple):
        return (found,)
    return (*found[1:3], *(list(items) for items in found[3:5] if items is not None))
