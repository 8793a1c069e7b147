"""DeepLift: the difference to a baseline, passed back through the network."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from camtrain.attributions.base_attribution import BaseAttribution
from camtrain.attributions.baseline import Baseline, baseline_of, checked_baseline
from camtrain.attributions.captum_library import ExplainedScores, captum_attr
from camtrain.attributions.integrated_gradients import completeness_error
from camtrain.attributions.saliency_map import ChannelReduction
from camtrain.gradients import ClassIndex, class_score, fixed_class, selected_class
from camtrain.messages import CamtrainWarning, checked_number, positive_integer


class DeepLift(BaseAttribution):
    """DeepLift: passes the score's difference to that of a baseline back, layer by layer, with the rescale rule.

    At each nonlinearity, the gradient is replaced by the slope between baseline and image, Δoutput / Δinput, so the
    attributions of an image add up to y(x) − y(x'). It is computed by captum, in a copy of the network that shares its
    weights and in which each call of a reused nonlinearity, such as the ReLU of a residual block, is a module of its
    own; captum alone refuses such networks.

    captum sees nonlinearities that are modules. Where the network calls functions, such as
    `torch.nn.functional.relu`, their plain gradient is taken, the sum is not complete, and a warning gives the error.
    captum's rule of max pooling is exact for a baseline of zero and may not be for others.

    Args:
        network: A network from (N, C, H, W) to (N, K) logits.
        baseline: The baseline x', as the network would get it; see `IntegratedGradients`.
        tolerance: The relative error of the sum above which a warning is given; `None` never warns.
        max_batch: The largest number of images in one forward pass, which has each image and its baseline; bounds the
            memory.
        differentiable: False only; accepted so that all methods have one signature.

    Raises:
        ModuleNotFoundError: If captum is not installed.
        ValueError: If `differentiable` is True, a number is not positive, or the baseline is not finite. When called:
            if the baseline does not broadcast to the images.

    Cost:
        One forward pass for the class, one forward and backward pass of twice as many images, and two forward passes
        for the check.

    Source:
        Shrikumar et al., Learning Important Features Through Propagating Activation Differences, ICML 2017, arXiv
        1704.02685.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> DeepLift(CIFARResNet(depth=8).eval())(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 3, 16, 16])
    """

    reduction: ChannelReduction = "sum"

    def __init__(
        self,
        network: nn.Module,
        baseline: Baseline = 0.0,
        *,
        tolerance: float | None = 0.01,
        max_batch: int = 64,
        differentiable: bool = False,
    ) -> None:
        if differentiable:
            raise ValueError(
                "`differentiable`: expected False, got True; DeepLift is not the derivative of any function, and "
                "captum's has no graph"
            )
        captum_attr("deep_lift")
        super().__init__(network)
        self.baseline = checked_baseline(baseline)
        if tolerance is not None:
            tolerance = checked_number("tolerance", tolerance, "a positive relative error, or None", above=0)
        self.tolerance = tolerance
        self.max_batch = positive_integer("max_batch", max_batch)

    def attributions(self, images: Tensor, class_idx: ClassIndex) -> Tensor:
        """See the class."""
        baseline = baseline_of(self.baseline, images)
        output = self._all_logits(images)
        class_idx = fixed_class(output, class_idx)
        if not len(images):
            return torch.zeros_like(images)
        network = _with_own_nonlinearities(self.network, images[:1])
        size = max(1, self.max_batch // 2)
        parts = [slice(start, start + size) for start in range(0, len(images), size)]
        found = torch.cat(
            [_attributed(network, selected_class(class_idx, at), images[at], baseline[at]) for at in parts]
        )
        if self.tolerance is not None:
            scores = class_score(output, class_idx), class_score(self._all_logits(baseline.contiguous()), class_idx)
            self._check(completeness_error(found, *scores))
        return found

    def _all_logits(self, images: Tensor) -> Tensor:
        return torch.cat([self.logits(part) for part in torch.split(images, self.max_batch)])

    def _check(self, errors: Tensor) -> None:
        assert self.tolerance is not None
        incomplete = int((errors > self.tolerance).sum())
        if incomplete:
            warnings.warn(
                f"DeepLift: the attributions of {incomplete} of {len(errors)} images do not add up to the difference "
                f"of the scores, the worst by {float(errors.amax()):.1e} of it; captum sees nonlinearities that are "
                "modules, and not calls of functions such as F.relu, and its rule of max pooling is not always exact",
                CamtrainWarning,
                stacklevel=5,
            )


def _attributed(network: nn.Module, class_idx: ClassIndex, images: Tensor, baseline: Tensor) -> Tensor:
    scores = ExplainedScores(network, class_idx, len(images))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum's, that it sets hooks, which it removes
        found: Tensor = captum_attr("deep_lift").DeepLift(scores).attribute(images.detach(), baselines=baseline)
    return found.detach()


def _with_own_nonlinearities(network: nn.Module, image: Tensor) -> nn.Module:
    """A copy with the same weights in which no module without parameters runs twice."""
    shared: dict[int, Any] = {id(parameter): parameter for parameter in network.parameters()}
    copied = copy.deepcopy(network, shared)
    runs: Counter[nn.Module] = Counter()
    handles = [
        module.register_forward_hook(lambda module, _inputs, _output: runs.update([module]))
        for module in copied.modules()
        if not any(True for _ in module.children()) and not any(True for _ in module.parameters())
    ]
    try:
        with torch.no_grad():
            copied(image)
    finally:
        for handle in handles:
            handle.remove()
    torch.clear_autocast_cache()
    reused = {module: _OnePerCall(module, count) for module, count in runs.items() if count > 1}
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if child in reused:
                setattr(parent, name, reused[child])
    return copied


class _OnePerCall(nn.Module):
    """As many copies of a module as it runs times in a pass; each run is of the next one."""

    def __init__(self, module: nn.Module, count: int) -> None:
        super().__init__()
        self.copies = nn.ModuleList(copy.deepcopy(module) for _ in range(count))
        self._runs = 0

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Run the next copy."""
        module = self.copies[self._runs % len(self.copies)]
        self._runs += 1
        return module(*inputs, **options)
