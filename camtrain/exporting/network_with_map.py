"""A network that also puts out its map, computed by forward operations alone, as a file of ONNX needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from camtrain.cams import CAM, AttentionMap, normalize, resize
from camtrain.cams.cam import cam
from camtrain.cams.gradient_cam import GradientCAM
from camtrain.gradients import left_as_found
from camtrain.methods import method_named, method_title
from camtrain.networks import AttentionOutput, attention_heads

FORWARD_METHODS = (
    "cam", "grad_cam", "grad_cam_plus_plus", "x_grad_cam", "hi_res_cam", "layer_cam", "attention_map",
)  # fmt: skip
"""The methods whose maps need no backward pass, for a network with global average pooling and one linear layer, or with
an attention head."""


class NetworkWithMap(nn.Module):
    """From images (N, C, H, W) to logits (N, K) and the map of the predicted class, (N, H, W) in [0, 1].

    The map is that of `camtrain.image_maps` with the same method. If a network ends with global average pooling over
    h·w pixels and one linear layer with weights W, the gradient of a logit c at the layer before is a constant,

        ∂y_c/∂A^k_ij = W_ck / (hw)

    so that Grad-CAM and the methods that are computed from it need no backward pass. An attention map is a part of the
    forward pass anyway.

    Args:
        network: From (N, C, H, W) to (N, K) logits, in evaluation mode.
        method: One of `FORWARD_METHODS`.
        target_layer: The layer of the map, the one before the average pooling; `None` finds the last spatial layer.
        images: Images that the network can be run on, (N, C, H, W). The layer and the head are found with them.

    Raises:
        ValueError: If the method needs more than forward operations, for any network or for this one.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> images = torch.rand(2, 3, 32, 32)
        >>> logits, maps = NetworkWithMap(CIFARResNet(depth=8).eval(), "grad_cam", None, images)(images)
        >>> logits.shape, maps.shape
        (torch.Size([2, 10]), torch.Size([2, 32, 32]))
    """

    def __init__(self, network: nn.Module, method: str, target_layer: str | None, images: Tensor) -> None:
        super().__init__()
        if method not in FORWARD_METHODS:
            method_named(method, network)  # says so if there is none
            raise ValueError(
                f"`method`: {method_title(method)} cannot be a part of an ONNX file, since it needs gradients, many "
                f"passes or a decomposition; these can: {', '.join(FORWARD_METHODS)}"
            )
        self.network = network
        with left_as_found(network, images.device):
            if method == "attention_map":
                layer, self._map = _attention(network, images)
            else:
                layer, self._map = _of_head(network, method, target_layer, images)
        self._layer = layer

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        with _outputs(self._layer) as found:
            logits = self.network(images)
        maps = self._map(found[0], logits)
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        return logits, normalize(resize(maps, (int(images.shape[-2]), int(images.shape[-1]))))


_Map = Callable[[Tensor | AttentionOutput, Tensor], Tensor]


def _attention(network: nn.Module, images: Tensor) -> tuple[nn.Module, _Map]:
    """The head of an attention map, and the map in its output."""
    AttentionMap(network)(images)  # raises if there is none, or several
    (head,) = attention_heads(network).values()
    return head, lambda output, _logits: cast(AttentionOutput, output).attention.squeeze(1)


def _of_head(network: nn.Module, method: str, target_layer: str | None, images: Tensor) -> tuple[nn.Module, _Map]:
    """The target layer of a method, and the map from its output and the logits."""
    finder = CAM(network, target_layer)
    layer = finder.layer(images)
    try:
        weight = finder.head(images).weight.detach()
    except ValueError as error:
        raise ValueError(
            f"`method`: {method_title(method)} of this network cannot be a part of an ONNX file. Without a backward "
            "pass, its gradients are known only if the target layer is followed by global average pooling and one "
            f"linear layer: {error}"
        ) from error
    with _outputs(layer) as found, torch.no_grad():
        network(images)
    layout = finder.layout_of(images)(cast(Tensor, found[0]), layer)
    made = method_named(method, network, target_layer)

    def maps(output: Tensor | AttentionOutput, logits: Tensor) -> Tensor:
        activations = layout.maps(cast(Tensor, output))
        of_class = _direction(logits).to(weight.dtype) @ weight
        if not isinstance(made, GradientCAM):
            return cam(activations, of_class)
        height, width = activations.shape[-2:]
        gradients = (of_class / (height * width))[..., None, None].expand_as(activations)
        of_layer = made.combine(activations, gradients)
        return of_layer.relu() if made.is_rectified else of_layer

    return layer, maps


@contextmanager
def _outputs(layer: nn.Module) -> Iterator[list[Tensor | AttentionOutput]]:
    """Collect what a layer puts out."""
    found: list[Tensor | AttentionOutput] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    try:
        yield found
    finally:
        handle.remove()


def _direction(logits: Tensor) -> Tensor:
    """The coefficients of the logits in the score of the predicted class, (N, K); see `camtrain.gradients`."""
    if logits.shape[1] == 1:
        return torch.where(logits > 0, 1.0, -1.0)
    classes = torch.arange(logits.shape[1], device=logits.device)
    return (classes == logits.argmax(dim=1, keepdim=True)).to(logits.dtype)
