"""Networks that put out more than logits, such as those of Hugging Face and those with auxiliary heads."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from camtrain.networks.module_of import module_of


class LogitsOf(nn.Module):
    """A network that puts out only the logits of another, whose output holds more.

    It makes a classifier of networks whose output is an object, a dictionary or a tuple: the image classifiers of
    Hugging Face's `transformers` (`output.logits`), and torchvision's GoogLeNet and Inception, which add the logits of
    their auxiliary heads in training mode. The rest of the output is dropped: auxiliary heads get no gradient. Build
    the network with `aux_logits=False` if it should not have them; then it also trains on several devices, where each
    parameter needs a gradient.

    The names of layers begin with `network`: `network.layer4`.

    Args:
        network: The other network. It is called with images (N, C, H, W) as its only argument.
        part: The attribute, the key or the place of the logits in its output. `None` finds them: an attribute or a key
            `logits`, or the only tensor (N, K) of a tuple or a list. An output that is a tensor is taken as it is, in
            either case.

    Raises:
        TypeError: If `network` is no network, or `part` is neither a text nor an integer. When called: ValueError, if
            the output holds no logits there.

    Example:
        >>> import torch
        >>> from torchvision.models import GoogLeNet
        >>> network = LogitsOf(GoogLeNet(num_classes=5, init_weights=False)).train()
        >>> type(network.network(torch.rand(2, 3, 32, 32))).__name__, network(torch.rand(2, 3, 32, 32)).shape
        ('GoogLeNetOutputs', torch.Size([2, 5]))
    """

    def __init__(self, network: nn.Module, part: str | int | None = None) -> None:
        super().__init__()
        self.network = module_of(network)
        if isinstance(part, bool) or not isinstance(part, (str, int, type(None))):
            raise TypeError(f"`part`: expected an attribute, a key, a place or None, got {part!r}")
        self.part = part

    def forward(self, images: Tensor) -> Tensor:
        """The logits, (N, K), of images (N, C, H, W)."""
        output: object = self.network(images)
        if isinstance(output, Tensor):
            return output
        found = _found(output) if self.part is None else _named(output, self.part)
        if not isinstance(found, Tensor) or found.dim() != 2:
            asked = "None" if self.part is None else repr(self.part)
            raise ValueError(
                f"`part`: expected the attribute, the key or the place of (N, K) logits in what "
                f"{type(self.network).__name__} puts out, got {asked}; the output is {_described(output)}"
            )
        return found

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return "" if self.part is None else f"part={self.part!r}"


def _named(output: object, part: str | int) -> object:
    if isinstance(output, Mapping) and part in output:
        return output[part]
    if isinstance(part, str):
        return getattr(output, part, None)
    is_place = isinstance(output, (tuple, list)) and -len(output) <= part < len(output)
    return output[part] if is_place else None  # type: ignore[index]


def _found(output: object) -> object:
    if (logits := _named(output, "logits")) is not None:
        return logits
    parts = output if isinstance(output, (tuple, list)) else ()
    rows = [part for part in parts if isinstance(part, Tensor) and part.dim() == 2]
    return rows[0] if len(rows) == 1 else None


def _described(output: object) -> str:
    if isinstance(output, Mapping):
        parts = ", ".join(f"{key}: {_shape(part)}" for key, part in output.items())
    elif isinstance(output, (tuple, list)):
        parts = ", ".join(_shape(part) for part in output)
    else:
        parts = ", ".join(getattr(output, "__dict__", {}))
    return f"{type(output).__name__} of {parts or 'nothing'}"


def _shape(part: object) -> str:
    return str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__
