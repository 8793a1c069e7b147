"""CAM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.cams.base_cam import BaseCAM
from camtrain.checked_logits import checked_logits
from camtrain.gradients import ClassIndex, class_score

_TOLERANCE = 1e-3  # relative to the sum of the magnitudes of a logit's terms; about the precision of TF32


def cam(activations: Tensor, weights: Tensor) -> Tensor:
    """CAM: the sum of the channels, weighted by the linear head.

        map = Σ_k w_k A^k

    The logit y = Σ_k w_k · 1/(hw) Σ_ij A^k_ij + b is the mean of the map plus b, so the map shows exactly where the
    score comes from. As in the paper there is no ReLU: negative values are evidence against the class. The ReLU of the
    map is hw times Grad-CAM.

    Args:
        activations: The activations A that the head averages over the pixels, (N, C, h, w).
        weights: The weights of the head for the class of each image, (N, C).

    Returns:
        (N, h, w), of both signs, not normalized. Differentiable in both arguments.

    Source:
        Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, eq. 2, arXiv 1512.04150.

    Example:
        >>> cam(torch.tensor([[[[1.0, 0.0]], [[2.0, 3.0]]]]), torch.tensor([[4.0, -1.0]]))
        tensor([[[ 2., -3.]]])
    """
    return torch.einsum("nk,nkij->nij", weights, activations)


class CAM(BaseCAM):
    """CAM: weights the channels by the linear head of a network that ends with global average pooling; see `cam`.

    The head is the `nn.Linear` whose output is the logits. It must get the averages of the target layer directly
    (dropout in evaluation mode aside). Each call checks this by the numbers: the logits of the images must be
    W · 1/(hw) Σ_ij A_ij + b, up to a thousandth of the sum of the magnitudes of these terms. No gradient is taken. A
    `Contrast` or `Against` combines the rows of W as it combines the logits.

    ResNets, MobileNetV2, EfficientNets, GoogLeNet and ShuffleNets have such a head behind their last spatial layer.
    VGG, DenseNets (a ReLU follows `features`) and vision transformers do not: use `GradCAM`.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        target_layer: The layer before the average pooling; see `BaseCAM`. Only one.
        differentiable: Whether the map stays in the graph; see `BaseCAM`.

    Raises:
        ValueError: As for `BaseCAM`. When called: if there are several target layers, or the logits are not a linear
            layer of the average of the target layer's output.
        TypeError: As for `BaseCAM`.

    Cost:
        One forward pass.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> CAM(CIFARResNet(depth=8).eval(), "layer3")(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
    """

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """Capture, find the head, combine."""
        activations, logits, head = self._pass(images)
        return cam(activations, _direction(logits, class_idx).to(head.weight.dtype) @ head.weight)

    def head(self, images: Tensor) -> nn.Linear:
        """The linear head that gets the averages of the target layer; run in the mode that the network is in.

        Args:
            images: The images that it is found with, (N, C, H, W).

        Raises:
            ValueError: As for the call.
        """
        with torch.no_grad():
            return self._pass(images)[2]

    def _pass(self, images: Tensor) -> tuple[Tensor, Tensor, nn.Linear]:
        """The activations of the target layer, the logits, and the head."""
        self.layer(images)
        with self.captured(images, gradients=self.differentiable) as captured, _linear_outputs(self.network) as outputs:
            logits = checked_logits(self.network(images))
        activations = captured.activations
        return activations, logits, _head(self.network, outputs, activations.detach(), logits.detach())


def _direction(logits: Tensor, class_idx: ClassIndex) -> Tensor:
    """The coefficients of the logits in the score of each image, (N, K)."""
    logits = logits.detach().requires_grad_() if isinstance(logits, Tensor) else logits
    (direction,) = torch.autograd.grad(class_score(logits, class_idx).sum(), logits)
    return direction


@contextmanager
def _linear_outputs(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of the linear layers for a batch of vectors, by name, in the order in which they ran."""
    outputs: dict[str, Tensor] = {}

    def note(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 2:
            outputs.pop(name, None)
            outputs[name] = output.detach()

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: note(name, output))
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _head(network: nn.Module, outputs: dict[str, Tensor], activations: Tensor, logits: Tensor) -> nn.Linear:
    """The linear layer that computes the logits from the averages of the activations.

    Raises:
        ValueError: If there is none; the message says why.
    """
    remedy = "CAM needs global average pooling and one nn.Linear behind the target layer; use GradCAM"
    names = [name for name, output in outputs.items() if _same(output, logits)]
    if not names:
        raise ValueError(f"`network`: its logits are not the output of an nn.Linear. {remedy}")
    head = network.get_submodule(names[-1])
    assert isinstance(head, nn.Linear)
    channels = activations.shape[1]
    if head.in_features != channels:
        raise ValueError(
            f"`target_layer`: expected a layer with {head.in_features} channels, one for each input feature of the "
            f"head {names[-1]!r}, got {channels}. {remedy}"
        )
    error = _relative_error(head, activations.mean(dim=(-2, -1)), logits)
    if not error <= max(_TOLERANCE, 4 * torch.finfo(activations.dtype).eps, 4 * torch.finfo(logits.dtype).eps):
        raise ValueError(
            f"`target_layer`: the input of the head {names[-1]!r} is not the average of this layer's output over the "
            f"pixels; logits computed from that average are off by {error:.1g} of the sum of their terms. Something "
            "lies between: another layer, a ReLU, a normalization, max pooling, or dropout in training mode. "
            f"{remedy}"
        )
    return head


def _same(output: Tensor, logits: Tensor) -> bool:
    return output.shape == logits.shape and torch.equal(output.to(logits.dtype).nan_to_num(), logits.nan_to_num())


def _relative_error(head: nn.Linear, averages: Tensor, logits: Tensor) -> float:
    """The error of the logits that the head computes from these averages, relative to the magnitudes of the terms."""
    weight = head.weight.detach()
    bias = None if head.bias is None else head.bias.detach()
    difference = (F.linear(averages.to(weight.dtype), weight, bias) - logits).abs()
    terms = F.linear(averages.to(weight.dtype).abs(), weight.abs(), None if bias is None else bias.abs())
    errors = torch.where(terms > 0, difference / torch.where(terms > 0, terms, 1.0), difference)
    return float(errors.nan_to_num().max()) if errors.numel() else 0.0
