"""Run only the layers behind a given layer again, whatever the network's forward looks like.

`PartialPass` watches one pass of one image and keeps the output of each module and each torch function before the
layer. A later pass on m variants of the layer's output runs the same forward, but the calls before the layer return the
kept outputs, as m rows that share their memory. From the layer on, everything is computed.

The unit is the outermost call that ended before the layer was reached: if the target is in `layer4` of a ResNet,
nothing inside `layer3` is called again. Functions between modules are units too, so a forward written with
`torch.nn.functional` works as well.
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

from camtrain.checked_logits import checked_logits
from camtrain.gradients.captured_activations import LayoutOf, channels_first
from camtrain.messages import CamtrainWarning

Function = Callable[..., Any]
Arguments = tuple[Any, ...]
Keywords = Mapping[str, Any]

_IN_PLACE_OPERATORS = (
    "__iadd__", "__iand__", "__ifloordiv__", "__ilshift__", "__imod__", "__imul__", "__ior__", "__ipow__",
    "__irshift__", "__isub__", "__itruediv__", "__ixor__", "__setitem__",
)  # fmt: skip


class PartialPass:
    """The part of a network behind a layer, run with other activations of that layer than the image's own.

    The network must treat the images of a batch independently, as in evaluation mode. No gradients are taken. Values
    that bypass the layer (skip connections, other branches) are those of the image.

    As a check, the image's own activations are run first: they must give the image's own logits. If they do not, or the
    network does not make the same calls in both passes (its forward depends on the batch size, keeps tensors in
    attributes for later layers, or draws random numbers), a warning says so, and every pass runs the whole network with
    the output of the layer replaced, which is correct but slow.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits. If a part of it was compiled, use this inside
            `uncompiled`.
        layer: A module of the network that runs once.
        image: One image, (1, C, H, W).
        max_batch: The largest number of rows in the check, which needs at most 2.
        layout_of: The function that finds the layout of the maps in the output of the layer.

    Attributes:
        logits: The logits of the image, (1, K).
        activations: The activations of the image at the layer, (1, C, h, w).

    Raises:
        ValueError: If the layer does not run exactly once, its output is not a map, or the network does not return
            (N, K) logits.

    Cost:
        One pass of the image, and one pass of two rows through the layers behind the layer. Memory: the outputs of the
        outermost calls before the layer, for one image.

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
        """Run the image with these activations in place of its own.

        Args:
            activations: The activations, (m, C, h, w). The layers behind may change them in place.

        Returns:
            The logits, (m, K).
        """
        if self._recording is not None:
            try:
                return self._pass(activations, _Replay(self._recording, len(activations)))
            except _OtherCallsError as error:  # before the layer, so that the activations are untouched
                self._give_up(str(error))
        return self._pass(activations, None)

    def _pass(self, activations: Tensor, replay: _Replay | None) -> Tensor:
        """The logits with these activations. The layers before are replayed or, without a replay, computed."""
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
        """The logits of the image; the output of the layer is appended to `outputs`."""

        def note(_layer: nn.Module, _inputs: object, output: object) -> None:
            if not isinstance(output, Tensor):
                raise ValueError(
                    "`target_layer`: expected a layer whose output is one tensor (N, C, h, w), got "
                    f"{type(output).__name__}"
                )
            recording.reach()
            # A copy, since the next layer may change it in place.
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
        """A recording whose pass ends at the layer, so that no later layer can change the values in place."""
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
        """Check that the image's own activations give its own logits, or give up."""
        try:
            activations = _of_rows(self.activations, rows).clone()
            agree = _agree(self._pass(activations, _Replay(recording, rows)), self.logits)
        except Exception as error:  # passes of the whole network avoid it, or raise it again
            self._give_up(str(error))
            return
        if not agree:
            self._give_up("its logits differ")

    def _give_up(self, reason: str) -> None:
        self._recording = None
        warnings.warn(
            "`network`: it cannot be run from the target layer on alone, so each pass runs the whole network, which is "
            f"slow. Two passes of one image differ: {reason}",
            CamtrainWarning,
            stacklevel=2,
        )


def _agree(logits: Tensor, expected: Tensor) -> bool:
    """Whether logits are equal up to the rounding of kernels for another batch size."""
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
    """A call before the layer; `output` is None if it has to be computed again."""

    callee: object
    output: Any = None


class _LayerReachedError(Exception):
    """Ends a pass at the layer."""


class _OtherCallsError(Exception):
    """The pass makes other calls than the recorded one."""


class _WatchedCalls(TorchFunctionMode):
    """Intercepts the calls of torch functions and of the given modules while it is active.

    Only calls that depend on the image matter. A tensor is known to depend on it if a call with such a tensor as an
    argument returned it. Anything else (inside scripted functions, for example) is computed, which is always correct.
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
        """The output of a call that depends on the image, before the layer is reached."""

    def computed(self, function: Function, args: Arguments, kwargs: Keywords) -> Any:
        """The output of a torch function that has to be computed."""
        return function(*args, **kwargs)

    def mark(self, output: Any) -> None:
        """Remember that these tensors depend on the image."""
        for leaf in _tensors(output):
            self._dependent[leaf] = None

    def _depends(self, args: Arguments, kwargs: Keywords) -> bool:
        return any(leaf in self._dependent for leaf in _tensors((args, *kwargs.values())))


class _Recording(_WatchedCalls):
    """Keeps the outermost calls that end before the layer is reached, with their outputs, in their order.

    A value that is changed in place later shares its memory with the result. It is kept in its last state, which is the
    one that the target layer and the layers behind it see.
    """

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        # Some parts of a scripted module have no forward.
        super().__init__([module for module in network.modules() if hasattr(module, "forward")])
        # A copy, since the network may change its input in place.
        self.image = image.clone()
        self.calls: list[_Call] = []
        self._versions: list[tuple[Tensor, int]] = []
        self.mark(self.image)

    @property
    def changed(self) -> bool:
        """Whether something behind the layer changed a value from before it in place."""
        return any(value._version != version for value, version in self._versions)

    def reach(self) -> None:
        """Mark the layer as reached: from here on, everything is computed."""
        self.reached = True
        values = [self.image, *(value for call in self.calls for value in _tensors(call.output))]
        self._versions = [(value, value._version) for value in values]

    def call(self, callee: object, function: Function, args: Arguments, kwargs: Keywords) -> Any:
        """The output of the call, which is kept instead of the calls inside it."""
        start = len(self.calls)
        of_torch = not isinstance(callee, nn.Module)
        if of_torch:
            self.calls.append(_Call(callee))
        output = function(*args, **kwargs)
        if self.reached:
            return output
        with torch._C.DisableTorchFunction():
            # A function that writes into memory of the network has to write again.
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
    """Returns the recorded outputs for `rows` copies of the image."""

    def __init__(self, recording: _Recording, rows: int) -> None:
        modules = [call.callee for call in recording.calls if isinstance(call.callee, nn.Module)]
        super().__init__(dict.fromkeys(modules))
        self._calls = recording.calls
        self._next = 0
        self._rows = rows
        self.images: Tensor = _of_rows(recording.image, rows)
        self.mark(self.images)

    def call(self, callee: object, function: Function, args: Arguments, kwargs: Keywords) -> Any:
        """The recorded output if there is one, else the computed output."""
        expected = self._calls[self._next] if self._next < len(self._calls) else _Call(None)
        if expected.callee != callee:
            if isinstance(callee, nn.Module):  # it contains the layer, or its output has no row per image
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
        """The output of a torch function. Tensors that it changes in place get memory for every row first."""
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
    """Whether this is a tensor of one row, or a nesting of such tensors that `_of_rows` can rebuild."""
    if isinstance(output, Tensor):
        return output.shape[:1] == (1,)
    if isinstance(output, (tuple, list)):
        return all(map(_is_one_row, output))
    return output is None


def _of_rows(output: Any, rows: int) -> Any:
    """The output for that number of copies of the image; the rows share their memory."""
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
