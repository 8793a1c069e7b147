"""Run again only what lies behind a layer, whatever the network's forward looks like.

`PartialPass` watches one pass of one image and keeps what each module and each torch function put out before the layer.
A later pass on m variants of the layer's output goes through the same forward, but gets these values handed out instead
of computing them, as m rows that share their memory. From the layer on everything is computed.

The unit is the outermost call that ended before the layer was reached: of `layer3` of a ResNet, when the target is in
`layer4`, nothing inside is called again. Functions between modules are units of their own, so that a forward written
with `torch.nn.functional` is served too.
"""

from __future__ import annotations

import inspect
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from camtrain.gradients.captured_activations import LayoutOf, channels_first
from camtrain.gradients.checked_logits import checked_logits

Function = Callable[..., Any]
Arguments = tuple[Any, ...]
Keywords = Mapping[str, Any]

_IN_PLACE_OPERATORS = (
    "__iadd__", "__iand__", "__ifloordiv__", "__ilshift__", "__imod__", "__imul__", "__ior__", "__ipow__",
    "__irshift__", "__isub__", "__itruediv__", "__ixor__", "__setitem__",
)  # fmt: skip


class PartialPass:
    """What lies behind a layer, to be run with other activations of that layer than the image's own.

    The network must treat the images of a batch one by one, as in evaluation mode. No gradients are taken. Values that
    bypass the layer (skip connections, other branches) are those of the image.

    Before the first variants are run, the image's own activations are: they have to give the image's own logits. Where
    they do not, or the network does not do the same in both passes (a forward that depends on the batch size, that
    keeps tensors in attributes for later layers, that draws random numbers), a warning says so and every pass runs the
    whole network with the layer's output replaced, which is right but not fast.

    Args:
        network: from (N, 3, H, W) to (N, K) logits; if a part of it was compiled, call this inside `uncompiled`.
        layer: a module of it that runs once.
        image: (1, 3, H, W).
        max_batch: rows that the check may use, at most 2.
        layout_of: how to find maps in what the layer puts out.

    Attributes:
        logits: (1, K), of the image.
        activations: (1, C, h, w), of the image at the layer.

    Raises:
        ValueError: if the layer is not run, or run more than once, or puts out no maps, or there are no (N, K) logits.

    Cost:
        One pass of the image, and one of what lies behind the layer on two. Memory: what the outermost calls before the
        layer put out for one image.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> network = CIFARResNet(depth=8).eval()
        >>> behind = PartialPass(network, network.layer2, torch.rand(1, 3, 32, 32))
        >>> logits = behind(behind.activations * torch.tensor([1.0, 0.5, 0.0]).view(3, 1, 1, 1))
        >>> logits.shape, torch.allclose(logits[:1], behind.logits, atol=1e-6)
        (torch.Size([3, 10]), True)
    """

    @torch.no_grad()
    def __init__(
        self,
        network: nn.Module,
        layer: nn.Module,
        image: Tensor,
        max_batch: int = 2,
        layout_of: LayoutOf = channels_first,
    ) -> None:
        self._network, self._layer, self._image = network, layer, image
        recording, outputs = _Recording(network, image), list[Tensor]()
        self.logits = self._first_pass(recording, outputs)
        (self._output,) = outputs
        self._layout = layout_of(self._output, layer)
        self.activations = self._layout.maps(self._output)
        if recording.changed:
            recording = self._second_recording()
        self._recording: _Recording | None = recording
        self._check(recording, min(2, max_batch))

    @torch.no_grad()
    def __call__(self, activations: Tensor) -> Tensor:
        """Logits of the image with these activations in the place of its own.

        Args:
            activations: (m, C, h, w); the layers behind may work on them in place.

        Returns:
            (m, K).
        """
        if self._recording is not None:
            try:
                return self._pass(activations, _Replay(self._recording, len(activations)))
            except _OtherCallsError as error:  # before the layer, so that the activations are untouched
                self._give_up(str(error))
        return self._pass(activations, None)

    def _pass(self, activations: Tensor, replay: _Replay | None) -> Tensor:
        """Logits with these activations, what comes before them handed out or, without a replay, computed."""
        rows = len(activations)

        def replace(_layer: nn.Module, _inputs: object, _output: object) -> Tensor:
            if replay is not None:
                replay.reached = True
            return self._layout.output(activations, _of_rows(self._output, rows))

        images = self._image.repeat(rows, *[1] * (self._image.dim() - 1)) if replay is None else replay.images
        with _hooked(self._layer, replace), replay or nullcontext():
            logits: Tensor = self._network(images)
        return logits

    def _first_pass(self, recording: _Recording, outputs: list[Tensor]) -> Tensor:
        """Logits of the image; what the layer puts out goes to `outputs`."""

        def note(_layer: nn.Module, _inputs: object, output: object) -> None:
            if not isinstance(output, Tensor):
                raise ValueError(
                    "`target_layer`: expected a layer that puts out one tensor (N, C, h, w), got "
                    f"{type(output).__name__}"
                )
            recording.reach()
            # A copy, because the next layer may work in place.
            outputs.append(output.clone())

        with _hooked(self._layer, note), recording:
            logits: object = self._network(recording.image)
        if len(outputs) != 1:
            raise ValueError(
                f"`target_layer`: expected a layer that runs once in a forward pass, it ran {len(outputs)} times"
                + ("; choose the block around it" if outputs else "")
            )
        return checked_logits(logits)

    def _second_recording(self) -> _Recording:
        """A recording whose pass ends at the layer, so that nothing behind it could work on the values in place."""
        recording = _Recording(self._network, self._image)

        def stop(_layer: nn.Module, _inputs: object, _output: object) -> None:
            recording.reach()
            raise _LayerReachedError

        try:
            with _hooked(self._layer, stop), recording:
                self._network(recording.image)
        except _LayerReachedError:
            pass
        return recording

    def _check(self, recording: _Recording, rows: int) -> None:
        """Make sure that the image's own activations give its own logits, or give up."""
        try:
            activations = _of_rows(self.activations, rows).clone()
            agree = _agree(self._pass(activations, _Replay(recording, rows)), self.logits)
        except Exception as error:  # whatever it is, passes of the whole network avoid it or show it again
            self._give_up(str(error))
            return
        if not agree:
            self._give_up("its logits differ")

    def _give_up(self, reason: str) -> None:
        self._recording = None
        warnings.warn(
            "`network`: it can not be run from the target layer on alone; each pass runs the whole network, which is "
            f"slow. Two passes of one image are not alike: {reason}",
            stacklevel=2,
        )


def _agree(logits: Tensor, expected: Tensor) -> bool:
    """Whether logits are the same but for the rounding of kernels for another batch size."""
    if logits.shape[1:] != expected.shape[1:]:
        return False
    unit = torch.finfo(expected.dtype).eps
    if torch.is_autocast_enabled(expected.device.type):
        unit = max(unit, torch.finfo(torch.get_autocast_dtype(expected.device.type)).eps)
    elif expected.is_cuda:
        unit = max(unit, 2**-10)  # TensorFloat-32
    size = float(expected.abs().nan_to_num().amax()) if expected.numel() else 0.0
    return torch.allclose(logits, expected.expand_as(logits), rtol=0.0, atol=unit**0.5 * size, equal_nan=True)


@dataclass
class _Call:
    """A call that came before the layer; `output` is None where it has to be computed again."""

    callee: object
    output: Any = None


class _LayerReachedError(Exception):
    """Ends a pass at the layer."""


class _OtherCallsError(Exception):
    """The pass calls something else than the recorded one did."""


class _WatchedCalls(TorchFunctionMode):
    """Sees the calls of torch functions, and of the modules whose forward it takes over, while it is active.

    Only calls that depend on the image matter: a tensor is known to depend on it if it came out of a call that got one
    that does. What is not known to (inside scripted functions, say) is computed, which is always right.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        super().__init__()
        self.reached = False
        self._modules = modules
        self._replaced: list[tuple[nn.Module, Function | None]] = []
        self._dependent = WeakIdKeyDictionary()

    def __enter__(self) -> Any:
        for module in self._modules:
            self._replaced.append((module, vars(module).get("forward")))
            vars(module)["forward"] = partial(self._module_call, module, module.forward)
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for module, own in self._replaced:
            if own is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = own
        self._replaced.clear()

    def __torch_function__(self, function: Function, types: Any, args: Arguments = (), kwargs: Any = None) -> Any:
        """Called by torch for each of its functions."""
        kwargs = kwargs or {}
        if self.reached or not self._depends(args, kwargs):
            return self.computed(function, args, kwargs)
        return self.call(function, function, args, kwargs)

    def _module_call(self, module: nn.Module, forward: Function, *args: Any, **kwargs: Any) -> Any:
        if self.reached or not self._depends(args, kwargs):
            return forward(*args, **kwargs)
        return self.call(module, forward, args, kwargs)

    @abstractmethod
    def call(self, callee: object, function: Function, args: Arguments, kwargs: Keywords) -> Any:
        """Output of a call that depends on the image, before the layer is reached."""

    def computed(self, function: Function, args: Arguments, kwargs: Keywords) -> Any:
        """Output of a torch function that has to be computed."""
        return function(*args, **kwargs)

    def mark(self, output: Any) -> None:
        """Remember that these tensors depend on the image."""
        for leaf in _tensors(output):
            self._dependent[leaf] = None

    def _depends(self, args: Arguments, kwargs: Keywords) -> bool:
        return any(leaf in self._dependent for leaf in _tensors((args, *kwargs.values())))


class _Recording(_WatchedCalls):
    """Keeps the outermost calls that end before the layer is reached, and what they put out, in their order.

    A value that was worked on in place later shares its memory with the result, so that it is kept in its last state:
    the one that the layers from the target layer on see.
    """

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        # Of a scripted module, only a part that can be called has a forward.
        super().__init__([module for module in network.modules() if hasattr(module, "forward")])
        # A copy, because the network may work on its input in place.
        self.image = image.clone()
        self.calls: list[_Call] = []
        self._versions: list[tuple[Tensor, int]] = []
        self.mark(self.image)

    @property
    def changed(self) -> bool:
        """Whether something behind the layer worked in place on what came before it."""
        return any(value._version != version for value, version in self._versions)

    def reach(self) -> None:
        """From here on everything is computed."""
        self.reached = True
        values = [self.image, *(value for call in self.calls for value in _tensors(call.output))]
        self._versions = [(value, value._version) for value in values]

    def call(self, callee: object, function: Function, args: Arguments, kwargs: Keywords) -> Any:
        """Output of the call, which is kept in place of the calls inside."""
        start = len(self.calls)
        of_torch = not isinstance(callee, nn.Module)
        if of_torch:
            self.calls.append(_Call(callee))
        output = function(*args, **kwargs)
        if self.reached:
            return output
        with torch._C.DisableTorchFunction():
            # What a function writes into memory of the network's own, it has to write again.
            new = not of_torch or not any(
                argument is leaf and argument not in self._dependent
                for leaf in _tensors(output)
                for argument in _tensors((args, *kwargs.values()))
            )
            self.mark(output)
            if new and output is not None and _is_one_row(output):
                self.calls[start:] = [_Call(callee, output)]
        return output


class _Replay(_WatchedCalls):
    """Hands out what was recorded, for `rows` images that are all the same one."""

    def __init__(self, recording: _Recording, rows: int) -> None:
        modules = [call.callee for call in recording.calls if isinstance(call.callee, nn.Module)]
        super().__init__(dict.fromkeys(modules))
        self._calls = recording.calls
        self._next = 0
        self._rows = rows
        self.images: Tensor = _of_rows(recording.image, rows)
        self.mark(self.images)

    def call(self, callee: object, function: Function, args: Arguments, kwargs: Keywords) -> Any:
        """The recorded output, with no computation, where there is one."""
        expected = self._calls[self._next] if self._next < len(self._calls) else _Call(None)
        if expected.callee != callee:
            if isinstance(callee, nn.Module):  # one that the layer is in, or whose output has no row per image
                return function(*args, **kwargs)
            raise _OtherCallsError(f"{_name(callee)} is called where it was {_name(expected.callee)}")
        self._next += 1
        if expected.output is None:
            output = self.computed(function, args, kwargs)
        else:
            with torch._C.DisableTorchFunction():
                output = _of_rows(expected.output, self._rows)
        with torch._C.DisableTorchFunction():
            self.mark(output)
        return output

    def computed(self, function: Function, args: Arguments, kwargs: Keywords) -> Any:
        """Output of a torch function; what it works on in place gets memory for every row first."""
        for value in _written(function, args, kwargs):
            if any(stride == 0 and size > 1 for stride, size in zip(value.stride(), value.shape, strict=True)):
                value.data = value.clone()
        return function(*args, **kwargs)


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in arguments or outputs."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _is_one_row(output: Any) -> bool:
    """Whether this is one tensor or several with one row each, packed in what `_of_rows` can pack again."""
    if isinstance(output, Tensor):
        return output.shape[:1] == (1,)
    if isinstance(output, (tuple, list)):
        return all(map(_is_one_row, output))
    return output is None


def _of_rows(output: Any, rows: int) -> Any:
    """The same for so many images that are all the one of this output; the rows share their memory."""
    if isinstance(output, Tensor):
        return output.expand(rows, *output.shape[1:])
    if output is None:
        return None
    items = (_of_rows(item, rows) for item in output)
    return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)


def _written(function: Function, args: Arguments, kwargs: Keywords) -> Iterator[Tensor]:
    """The tensors that a call of a torch function writes into."""
    yield from _tensors(kwargs.get("out"))
    name = getattr(function, "__name__", "")
    in_place = name in _IN_PLACE_OPERATORS or (name.endswith("_") and not name.endswith("__"))
    if in_place or _asks_for_in_place(function, args, kwargs):
        yield from _tensors((args[:1], kwargs.get("input"), kwargs.get("self")))


def _asks_for_in_place(function: Function, args: Arguments, kwargs: Keywords) -> bool:
    position = _position_of_inplace(function)
    return bool(kwargs.get("inplace", position is not None and position < len(args) and args[position]))


@cache
def _position_of_inplace(function: Function) -> int | None:
    """Which argument of a function is `inplace`."""
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a builtin
        return None
    return parameters.index("inplace") if "inplace" in parameters else None


def _name(callee: object) -> str:
    if isinstance(callee, nn.Module):
        return type(callee).__name__
    return "nothing" if callee is None else str(getattr(callee, "__name__", callee))


@contextmanager
def _hooked(layer: nn.Module, hook: Function) -> Iterator[None]:
    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
