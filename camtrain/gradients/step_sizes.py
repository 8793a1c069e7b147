"""How far the second pass of `FrozenGates` steps from each image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor, nn

from camtrain.gradients.image_mixing import batch_normalizing_layers


@dataclass(frozen=True)
class StepSizes:
    """The step h_i u_i of each image.

    Attributes:
        sizes: h_i, (N,).
        directions: u_i, (N, 3, H, W), cut where they were too long.
        relative: the largest h_i ‖u_i‖ / ‖x‖.
        two_terms: (N,) bool, the images for which the first pass is needed too: those with h_i other than λ.
        floored: the number of images whose u_i was cut.
    """

    sizes: Tensor
    directions: Tensor
    relative: float
    two_terms: Tensor
    floored: int


@dataclass(frozen=True)
class StepRule:
    """What the steps are chosen by.

    Attributes:
        weight: λ.
        one_term_limit: largest relative step at which h = λ is accurate.
        relative: relative step elsewhere.
        longest: largest ‖u_i‖ / ‖x‖ where all images have one h.
        largest_change: of L_C by the step, relative.
    """

    weight: float
    one_term_limit: float
    relative: float
    longest: float
    largest_change: float


def one_step_size(
    rule: StepRule, images: Tensor, directions: Tensor, gradients: Tensor, classification: Tensor, network: nn.Module
) -> StepSizes:
    """The same h for all images, for a network that mixes them: a step of one image is felt by all.

    The longest u_i decides. One that is `longest` times the norm of an image would leave no step for the others, and
    is cut. Where SyncBatchNorm mixes the images of several processes, these agree on h.

    Args:
        rule: what it is chosen by.
        images: (N, 3, H, W).
        directions: u_i, (N, 3, H, W).
        gradients: δ_i, (N, 3, H, W).
        classification: L_C, 0-dim.
        network: the network.
    """
    lengths = _lengths(images, directions)
    cut = (rule.longest / lengths).clamp(max=1.0)
    directions = directions * cut.view(-1, 1, 1, 1)
    # How fast the step changes L_C. What cosine penalizes does not: its u_i is orthogonal to δ_i.
    change = (directions * gradients).flatten(1).sum(1).abs().mean() / classification.abs()
    of_all = torch.stack([lengths.clamp(max=rule.longest).max(), change.to(lengths.dtype)])
    longest, change = _over_processes(network, of_all).unbind()
    sizes, two_terms = _sizes(rule, longest, change)
    relative = float(sizes * longest)
    count = len(images)
    return StepSizes(sizes.expand(count), directions, relative, two_terms.expand(count), int((cut < 1).sum()))


def step_size_of_each(
    rule: StepRule, images: Tensor, directions: Tensor, gradients: Tensor, classification: Tensor
) -> StepSizes:
    """Each image's own h_i, for a network that does not mix images.

    The u_i of a confident image is longer than that of an uncertain one by orders of magnitude: with one h for both,
    the step of the uncertain one drowns in rounding. Arguments as for `one_step_size`; nothing is cut.
    """
    lengths = _lengths(images, directions)
    change = (directions * gradients).flatten(1).sum(1).abs() / classification.abs()
    sizes, two_terms = _sizes(rule, lengths, change.to(lengths.dtype))
    return StepSizes(sizes, directions, float((sizes * lengths).max()), two_terms, 0)


def _sizes(rule: StepRule, lengths: Tensor, changes: Tensor) -> tuple[Tensor, Tensor]:
    # A division by zero is infinity, which is what is meant: no limit to the step.
    unchanged = rule.largest_change / changes.nan_to_num(nan=0.0)
    limit = torch.minimum(rule.one_term_limit / lengths, unchanged)
    elsewhere = rule.relative / lengths
    # Not below what rounding would swallow: of a classifier that is sure beyond its precision, L_C is zero.
    elsewhere = torch.maximum(torch.minimum(elsewhere, unchanged), elsewhere / 1e3)
    elsewhere = elsewhere.clamp(max=1.0 / torch.finfo(lengths.dtype).eps)
    two_terms = ~(rule.weight <= limit) | (rule.weight == 0)
    return torch.where(two_terms, elsewhere, rule.weight), two_terms


def _lengths(images: Tensor, directions: Tensor) -> Tensor:
    """‖u_i‖ over the root mean square ‖x‖ of the batch: an image that happens to be blank sets no scale."""
    norms = torch.linalg.vector_norm(images.detach().flatten(1), dim=1, dtype=directions.dtype)
    size = norms.square().mean().sqrt().clamp(min=torch.finfo(norms.dtype).tiny)
    lengths: Tensor = torch.linalg.vector_norm(directions.flatten(1), dim=1) / size
    return lengths


def _over_processes(network: nn.Module, largest: Tensor) -> Tensor:
    """The largest over the processes whose images are mixed."""
    synchronized = [layer for layer in batch_normalizing_layers(network) if isinstance(layer, nn.SyncBatchNorm)]
    if synchronized and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX, group=synchronized[0].process_group)
    return largest
