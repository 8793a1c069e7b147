"""How far the second pass of `FrozenGates` steps from each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed
from torch import Tensor, nn

from camtrain.gradients.image_mixing import batch_normalizing_layers

_RELATIVE_STEP = {torch.float64: 1e-6, torch.float32: 3e-4}
_COARSE_RELATIVE_STEP = 1e-2
# Largest relative change of L_C by the step. The measured relative error of the gradient's norm is half to twice as
# large. In a coarse precision, rounding would swallow a step as small as that.
_LARGEST_CHANGE, _LARGEST_COARSE_CHANGE = 5e-3, 0.1


@dataclass(frozen=True)
class StepSizes:
    """The step h_i u_i of each image.

    Attributes:
        sizes: h_i, (N,).
        directions: u_i, (N, C, H, W), cut where they were too long.
        relative: ρ, the root mean square of h ‖u_i‖ / ‖x‖ where all images share one h, and else the largest one.
        two_terms: (N,) bool, the images that need the two-term form: those with h_i other than λ.
        floored: The number of images whose u_i was cut.
    """

    sizes: Tensor
    directions: Tensor
    relative: float
    two_terms: Tensor
    floored: int


@dataclass(frozen=True)
class StepRule:
    """The limits by which steps are chosen.

    Attributes:
        weight: λ.
        one_term_limit: The largest ρ at which h = λ is accurate.
        relative: ρ where h = λ is not accurate.
        longest: The largest ‖u_i‖ / ‖x‖ where all images share one h.
        largest_change: The largest relative change of L_C by the step.
    """

    weight: float
    one_term_limit: float
    relative: float
    longest: float
    largest_change: float

    @classmethod
    def of_precision(
        cls,
        weight: float,
        one_term_limit: float,
        step: float | None,
        longest: float,
        images: Tensor,
        dtypes: set[torch.dtype],
    ) -> StepRule:
        """The rule for the precision that a network computes in.

        Args:
            weight: λ.
            one_term_limit: See `StepRule`.
            step: The relative step; `None` takes one that suits the precision.
            longest: See `StepRule`.
            images: The images, whose device and dtype count.
            dtypes: The dtypes of the logits and of the gates.
        """
        coarse = _is_coarse(images, {images.dtype, *dtypes})
        step = step or (_COARSE_RELATIVE_STEP if coarse else _RELATIVE_STEP[images.dtype])
        return cls(weight, one_term_limit, step, longest, _LARGEST_COARSE_CHANGE if coarse else _LARGEST_CHANGE)


def one_step_size(
    rule: StepRule, images: Tensor, directions: Tensor, gradients: Tensor, scale: Tensor, network: nn.Module
) -> StepSizes:
    """The same h for all images, for a network that mixes them, so that the step of one image affects all.

    The root mean square of the lengths determines h. The error of an image's part of the gradient grows with its own
    step, so that the longest step alone says little about the error of the sum: if it determined h, the steps of the
    others would be shorter than rounding allows. Images without a penalty, u_i = 0, have no part and do not count. A
    u_i of `longest` times the norm of an image would leave no step for the others, so it is cut. Where SyncBatchNorm
    mixes the images of several processes, the mean is over all of them.

    Args:
        rule: The limits of the step.
        images: (N, C, H, W).
        directions: u_i, (N, C, H, W).
        gradients: δ_i, (N, C, H, W).
        scale: The value that the change of the explained scalar is relative to, usually L_C, 0-dim.
        network: The network.
    """
    lengths = _lengths(images, directions)
    cut = (rule.longest / lengths).clamp(max=1.0)
    directions = directions * cut.view(-1, 1, 1, 1)
    # The rate at which the step changes L_C. It is zero for a cosine penalty, whose u_i is orthogonal to δ_i.
    change = (directions * gradients).flatten(1).sum(1).abs().mean() / scale.abs()
    squares = lengths.clamp(max=rule.longest).square()
    sums = torch.stack([squares.sum(), (squares > 0).sum().to(squares.dtype)])
    total, number = _over_processes(network, sums, "SUM").unbind()
    usual = (total / number.clamp(min=1)).sqrt()
    change = _over_processes(network, change.to(lengths.dtype), "MAX")
    sizes, two_terms = _sizes(rule, usual, change)
    relative = float(sizes * usual)
    count = len(images)
    return StepSizes(sizes.expand(count), directions, relative, two_terms.expand(count), int((cut < 1).sum()))


def step_size_of_each(
    rule: StepRule, images: Tensor, directions: Tensor, gradients: Tensor, scale: Tensor
) -> StepSizes:
    """A separate h_i for each image, for a network that does not mix images.

    The u_i of a confident image is longer than that of an uncertain one by orders of magnitude. With one h for both,
    rounding would swallow the step of the uncertain image. The arguments are those of `one_step_size`; no u_i is cut.
    """
    lengths = _lengths(images, directions)
    change = (directions * gradients).flatten(1).sum(1).abs() / scale.abs()
    sizes, two_terms = _sizes(rule, lengths, change.to(lengths.dtype))
    return StepSizes(sizes, directions, float((sizes * lengths).max()), two_terms, 0)


def _is_coarse(images: Tensor, dtypes: set[torch.dtype]) -> bool:
    """Whether a network computes with 10 bits or fewer: in bfloat16, or in float32 by TF32 tensor cores."""
    by_tensor_cores = images.device.type == "cuda" and torch.float32 in dtypes and _allows_tf32()
    return by_tensor_cores or torch.is_autocast_enabled(images.device.type) or not dtypes <= set(_RELATIVE_STEP)


def _allows_tf32() -> bool:
    """Whether convolutions or products of matrices may use TF32 on a GPU."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(cudnn, "conv"):  # torch 2.9 or newer, where reading the older flags is an error once the newer are set
        return "tf32" in (cudnn.conv.fp32_precision, matmul.fp32_precision)
    return bool(cudnn.allow_tf32 or matmul.allow_tf32)


def _sizes(rule: StepRule, lengths: Tensor, changes: Tensor) -> tuple[Tensor, Tensor]:
    # A division by zero gives infinity: no limit to the step.
    unchanged = rule.largest_change / changes.nan_to_num(nan=0.0)
    limit = torch.minimum(rule.one_term_limit / lengths, unchanged)
    elsewhere = rule.relative / lengths
    # Not so short that rounding swallows it: L_C is zero for a classifier that is confident beyond its precision.
    elsewhere = torch.maximum(torch.minimum(elsewhere, unchanged), elsewhere / 1e3)
    elsewhere = elsewhere.clamp(max=1.0 / torch.finfo(lengths.dtype).eps)
    two_terms = ~(rule.weight <= limit) | (rule.weight == 0)
    return torch.where(two_terms, elsewhere, rule.weight), two_terms


def _lengths(images: Tensor, directions: Tensor) -> Tensor:
    """‖u_i‖ / ‖x‖, (N,), with the root mean square norm ‖x‖ of the batch, since a single image may be blank."""
    norms = torch.linalg.vector_norm(images.detach().flatten(1), dim=1, dtype=directions.dtype)
    size = norms.square().mean().sqrt().clamp(min=torch.finfo(norms.dtype).tiny)
    lengths: Tensor = torch.linalg.vector_norm(directions.flatten(1), dim=1) / size
    return lengths


def _over_processes(network: nn.Module, values: Tensor, reduction: Literal["SUM", "MAX"]) -> Tensor:
    """The sum or the largest of each value over the processes whose images are mixed."""
    synchronized = [layer for layer in batch_normalizing_layers(network) if isinstance(layer, nn.SyncBatchNorm)]
    if synchronized and torch.distributed.is_available() and torch.distributed.is_initialized():
        operation = getattr(torch.distributed.ReduceOp, reduction)
        torch.distributed.all_reduce(values, operation, group=synchronized[0].process_group)
    return values
