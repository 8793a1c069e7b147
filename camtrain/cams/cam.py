"""CAM, the first of the family."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.cams.base_cam import BaseCAM
from camtrain.gradients import ClassIndex, class_score

# Of the sum of the magnitudes that make up a logit; a matrix product in TF32 keeps about that.
_TOLERANCE = 1e-3


def cam(activations: Tensor, weights: Tensor) -> Tensor:
    """CAM: the channels, weighted as the linear head weights their averages.

        map = Σ_k w_k A^k

    Where the logit is y = Σ_k w_k · 1/(hw) Σ_ij A^k_ij + b, it is the mean of the map plus b: the map says exactly
    where the score comes from. Hence no ReLU, as in the paper: negative values are evidence against the class. The ReLU
    of the map is hw times Grad-CAM.

    Args:
        activations: (N, C, h, w), what is averaged over the pixels and goes into the head.
        weights: (N, C), those of the head for the class of each image.

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
    """CAM of a network that ends with global average pooling and one linear layer; see `cam` for the formula.

    The head is the `nn.Linear` that puts out the logits. That it gets the averages of the target layer, and nothing
    lies between (dropout in evaluation mode aside), is checked by the numbers at each call: the logits must be
    W · 1/(hw) Σ_ij A_ij + b for these images, up to a thousandth of the terms that make them up. No gradient is taken.
    A `Contrast` or `Against` is the same combination of the rows of W as it is of the logits.

    ResNets, MobileNetV2, EfficientNets, GoogLeNet and ShuffleNets have such a head behind their last spatial layer;
    VGG, DenseNets (a ReLU after `features`) and vision transformers do not: use `GradCAM`.

    Args:
        network: from (N, 3, H, W) to (N, K) logits.
        target_layer: see `BaseCAM`; one layer, the one in front of the average pooling.
        differentiable: see `BaseCAM`.

    Raises:
        ValueError: as `BaseCAM`, or, at the call, if there are several target layers, or the logits are not a linear
            layer of the average of what the target layer puts out.
        TypeError: as `BaseCAM`.

    Cost:
        One forward pass.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> CAM(CIFARResNet(depth=8).eval(), "layer3")(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 8, 8])
    """

    def maps(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """Capture, find the head, combine."""
        self.layer(images)
        with self.captured(images, gradients=self.differentiable) as captured, _linear_outputs(self.network) as outputs:
            logits = self.network(images)
        activations, direction = captured.activations, _direction(logits, class_idx)
        weight = _head(self.network, outputs, activations.detach(), logits.detach()).weight
        return cam(activations, direction.to(weight.dtype) @ weight)


def _direction(logits: Tensor, class_idx: ClassIndex) -> Tensor:
    """(N, K), the linear combination of its logits that each image is scored with."""
    logits = logits.detach().requires_grad_() if isinstance(logits, Tensor) else logits
    (direction,) = torch.autograd.grad(class_score(logits, class_idx).sum(), logits)
    return direction


@contextmanager
def _linear_outputs(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What the linear layers put out for a batch of vectors, by name, in the order in which they ran."""
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
    """The linear layer that makes the logits of the averages of the activations.

    Raises:
        ValueError: if there is none, with what stands in the way.
    """
    remedy = "CAM needs global average pooling and one nn.Linear behind the target layer; use GradCAM"
    names = [name for name, output in outputs.items() if _same(output, logits)]
    if not names:
        raise ValueError(f"`network`: its logits are not what an nn.Linear puts out. {remedy}")
    head = network.get_submodule(names[-1])
    assert isinstance(head, nn.Linear)
    channels = activations.shape[1]
    if head.in_features != channels:
        raise ValueError(
            f"`target_layer`: expected a layer that puts out {head.in_features} channels, one for each feature that "
            f"the head {names[-1]!r} takes, got {channels}. {remedy}"
        )
    error = _relative_error(head, activations.mean(dim=(-2, -1)), logits)
    if not error <= max(_TOLERANCE, 4 * torch.finfo(activations.dtype).eps, 4 * torch.finfo(logits.dtype).eps):
        raise ValueError(
            f"`target_layer`: the head {names[-1]!r} does not get the average over the pixels of what this layer puts "
            f"out; computed from it, the logits are off by {error:.1g} of the terms that they are the sum of. "
            "Something lies between: another layer, a ReLU or a normalization, max pooling, dropout in training mode. "
            f"{remedy}"
        )
    return head


def _same(output: Tensor, logits: Tensor) -> bool:
    return output.shape == logits.shape and torch.equal(output.to(logits.dtype).nan_to_num(), logits.nan_to_num())


def _relative_error(head: nn.Linear, averages: Tensor, logits: Tensor) -> float:
    """How far the logits are from the head of these averages, as a share of the sum of the magnitudes of its terms."""
    weight = head.weight.detach()
    bias = None if head.bias is None else head.bias.detach()
    difference = (F.linear(averages.to(weight.dtype), weight, bias) - logits).abs()
    terms = F.linear(averages.to(weight.dtype).abs(), weight.abs(), None if bias is None else bias.abs())
    shares = torch.where(terms > 0, difference / torch.where(terms > 0, terms, 1.0), difference)
    return float(shares.nan_to_num().max()) if shares.numel() else 0.0
