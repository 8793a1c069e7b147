"""The fast engine: the gradient of L_R from first-order passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo import OptimizedModule

from camtrain.gradients.batch_norm import frozen_batch_norm, running_batch_norm
from camtrain.gradients.engine import (
    CheckedNetworks,
    ClassificationLoss,
    Engine,
    EngineOutput,
    ForwardPass,
    InputGradientPenalty,
    InputGradients,
    forward_pass,
    input_gradients,
    penalties,
)
from camtrain.gradients.gates import RecordedGates, ReplayedGates
from camtrain.gradients.guided_gradient import guided_gradient
from camtrain.gradients.image_mixing import ImageMixing
from camtrain.gradients.randomness import Randomness
from camtrain.gradients.scaled_gradients import in_float16, scaled_gradients
from camtrain.gradients.step_sizes import StepRule, one_step_size, step_size_of_each

_STEP = {torch.float64: 1e-6, torch.float32: 3e-4}
_STEP_IN_HALF_PRECISION = 1e-2
# Of L_C by the step: the relative error of the gradient's norm was found to be half to twice as large. In half
# precision a step as small as that would be lost in rounding.
_LARGEST_CHANGE, _LARGEST_CHANGE_IN_HALF_PRECISION = 5e-3, 0.1


class FrozenGates(Engine):
    """Gradient of L = L_C + λ L_R without a second derivative: one forward and one backward pass more.

    With u_i = ∂E_i/∂δ_i, a constant, the gradient of L_R is a directional derivative of that of L_C,

        ∇_θ L_R = d/dh ∇_θ L_C(x + h u) at h = 0

    and the double backward of autograd holds every gate of the network: the masks of ReLU, the choices of max
    pooling. So the gates of the pass at x are recorded and held in a second pass at x + h u, which is smooth in h, and

        L ≃ (1 − λ/h) L_C(x) + (λ/h) L_C^held(x + h u)

    has the gradient of L_C + λ L_R up to a relative error of the order of ρ = h ‖u_i‖ / ‖x‖, ‖x‖ the root mean square
    norm of the batch. At h = λ the first term vanishes. That *one-term* form is used where its ρ is at most
    `one_term_limit`, the *two-term* form with ρ = `step` elsewhere; a step that would change L_C by more than half a
    percent, as those of MAE, MSE and gradient norms do late in training, is shortened.

    Where the network mixes the images of a batch (BatchNorm in training mode) all have one h, set by the longest u_i.
    Elsewhere each image has its own, and its row of the loss the factor λ/h_i.

    It trains networks whose operations have no second derivative: hardsigmoid (MobileNet-V3), fused attention,
    SyncBatchNorm.

    Not for: float16, which is refused, since λ/h amplifies its rounding; `spectral_norm`, which is refused, since its
    power iteration goes on in the second pass; activation checkpointing and `torch.compile`, which are refused, since
    they hide the gates. The gradient of L_R is approximate in bfloat16, and in batches of a few images under BatchNorm,
    whose curvature is large (`experiments/engine_agreement/`).

    Noted for the log: `two_terms`, the share of images that needed that form; `step`, the largest ρ; `floored`, the
    number of images whose u_i was cut to `longest` (a confident classifier has δ → 0, and u grows as 1/‖δ‖).

    Args:
        one_term_limit: largest ρ of the one-term form.
        step: ρ of the two-term form; null takes 3e-4 in float32, 1e-6 in float64 and 1e-2 under bfloat16, between
            the errors of curvature, which grow with it, and of rounding, which shrink.
        longest: largest ‖u_i‖ / ‖x‖ of an image where all have one h; longer ones are cut to it.

    Raises:
        ValueError: if a setting is not positive, or the images are computed with in float16; in the first step of a
            network, if it has a kink or a module that cannot be held.

    Cost:
        In backward-to-the-input units, of which a plain step takes 3 (a forward pass, a backward pass of 2): 6 with one
        term; with two terms 7, or 8 where each image has its own step. Without a guided gradient one less. Double
        backpropagation takes more than 7, and a second graph in memory; here the graph of the first pass is freed
        before the second, and a byte is kept for each element of an activation function's output.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> network, images, labels = CIFARResNet(depth=8), torch.rand(4, 3, 32, 32), torch.arange(4)
        >>> penalty = InputGradientPenalty(lambda gradients, _: gradients.flatten(1).square().sum(1))
        >>> output = FrozenGates()(network, images, lambda logits: logits.square().mean(), penalty, 0.1)
        >>> output.loss.backward()
        >>> bool(network.conv1.weight.grad.norm() > 0)
        True
    """

    def __init__(self, one_term_limit: float = 1e-3, step: float | None = None, longest: float = 1e3) -> None:
        for name, value in {"one_term_limit": one_term_limit, "step": step, "longest": longest}.items():
            if value is not None and not value > 0:
                raise ValueError(f"`{name}`: expected a positive number, got {value}")
        self.one_term_limit = one_term_limit
        self.step = step
        self.longest = longest
        self._checked = CheckedNetworks()
        self._mixing = ImageMixing()
        self._two_terms_expected = False

    def __repr__(self) -> str:
        return f"FrozenGates(one_term_limit={self.one_term_limit}, step={self.step}, longest={self.longest})"

    def __call__(
        self,
        network: nn.Module,
        images: Tensor,
        classification_loss: ClassificationLoss,
        penalty: InputGradientPenalty,
        weight: float,
        *,
        keep_classification_graph: bool = False,
    ) -> EngineOutput:
        """See `Engine`."""
        if in_float16(images):
            raise ValueError(
                "`images`: FrozenGates cannot hold its precision in float16; train in bfloat16 or float32, or with "
                "engine=DoubleBackprop()"
            )
        if network not in self._checked:
            _check_modules(network)
        gates = RecordedGates()
        forward = forward_pass(network, images, classification_loss, penalty, gates)
        if network not in self._checked:
            gates.check(forward.explained)
            self._checked.add(network)
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not parameters:
            raise ValueError("`network`: expected parameters that require a gradient, found none")
        own_pass = forward.explained is not forward.classification
        mixes = self._mixing(network, forward.images, forward.explained_logits, running_statistics=own_pass)
        found, of_parameters = self._first_gradients(forward, penalty, parameters, together=mixes)
        each, directions = _directions(penalty, found)
        of_step = images, directions, found.gradients, forward.explained.detach()
        rule = self._rule(weight, images)
        steps = one_step_size(rule, *of_step, network) if mixes else step_size_of_each(rule, *of_step)
        classification, regularization = forward.classification.detach(), each.mean().detach()
        two_terms = own_pass or bool(steps.two_terms.any())
        self._two_terms_expected = two_terms
        factors = weight / steps.sizes  # λ/h_i; a row of the second pass counts so often
        of_first = -factors if own_pass else torch.where(steps.two_terms, 1 - factors, 0.0)
        if two_terms and mixes:
            # The same numbers whether they were expected or not: a resumed run is the run.
            of_parameters = of_parameters or scaled_gradients(forward.total, parameters, images)
            of_parameters = [None if g is None else of_first[0] / len(images) * g for g in of_parameters]
        elif two_terms:
            of_parameters = _weighted_gradients(forward, classification_loss, of_first, parameters)
        kept = forward.classification if keep_classification_graph or own_pass else None
        logits, randomness = forward.logits.detach(), forward.randomness
        del forward, found  # and with them the graph of the first pass, before the second begins

        displaced = images.detach() + (steps.sizes.view(-1, 1, 1, 1) * steps.directions).to(images.dtype)
        with _held(network, penalty, randomness, gates):
            loss = classification_loss(_rows_scaled(network(displaced), factors))
        if two_terms:
            loss = loss + _carried(parameters, of_parameters or [])
        if own_pass and kept is not None:
            loss = loss + kept
        # The value that L has, with the gradient found above; of two terms that almost cancel little would be left.
        loss = (loss - loss.detach()) + (classification + weight * regularization)
        notes = {
            "two_terms": 1.0 if own_pass else float(steps.two_terms.float().mean()),
            "step": steps.relative,
            "floored": float(steps.floored),
        }
        return EngineOutput(loss, classification if kept is None else kept, regularization, logits, notes)

    def _rule(self, weight: float, images: Tensor) -> StepRule:
        half = _in_half_precision(images)
        step = self.step or (_STEP_IN_HALF_PRECISION if half else _STEP[images.dtype])
        change = _LARGEST_CHANGE_IN_HALF_PRECISION if half else _LARGEST_CHANGE
        return StepRule(weight, self.one_term_limit, step, self.longest, change)

    def _first_gradients(
        self, forward: ForwardPass, penalty: InputGradientPenalty, parameters: list[nn.Parameter], *, together: bool
    ) -> tuple[InputGradients, list[Tensor | None] | None]:
        """Gradients at the input and, where the last step needed two terms, of n L_C at the parameters.

        Both from one backward pass: taken apart, the part of it that leads to the input would be run twice. Where each
        image has its own step, that of the parameters has to wait for it.
        """
        if not (together and self._two_terms_expected):
            return input_gradients(forward, penalty, create_graph=False), None
        guided = guided_gradient(forward.total, forward.images) if penalty.needs_guided_gradient else None
        gradients, *of_parameters = scaled_gradients(forward.total, [forward.images, *parameters], forward.images)
        assert gradients is not None  # the graph was checked with the guided gradient, or the network has no input
        return InputGradients(gradients, guided), of_parameters


def _check_modules(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if isinstance(module, OptimizedModule) or module._compiled_call_impl is not None:
            raise ValueError(
                f"`network`: FrozenGates cannot hold the gates inside of {name or 'a network'} that torch.compile made "
                "one graph of; train the network as it was before compiling"
            )
        if type(module).__name__ == "_SpectralNorm":
            raise ValueError(
                f"`network`: FrozenGates cannot hold the power iteration of spectral_norm at "
                f"{name.split('.param')[0]}; use engine=DoubleBackprop()"
            )


def _directions(penalty: InputGradientPenalty, found: InputGradients) -> tuple[Tensor, Tensor]:
    """Penalty of each image, (N,), and its derivative at the image's gradient, u, (N, 3, H, W)."""
    gradients = found.gradients.detach().requires_grad_()
    each = penalties(penalty, InputGradients(gradients, found.guided_gradients))
    (directions,) = torch.autograd.grad(each.sum(), gradients)
    return each.detach(), directions


def _in_half_precision(images: Tensor) -> bool:
    return torch.is_autocast_enabled(images.device.type) or images.dtype not in _STEP


def _weighted_gradients(
    forward: ForwardPass, classification_loss: ClassificationLoss, weights: Tensor, parameters: list[nn.Parameter]
) -> list[Tensor | None]:
    """Gradients at the parameters of the first pass's loss, each image weighted."""
    loss = classification_loss(_rows_scaled(forward.explained_logits, weights))
    return scaled_gradients(loss, parameters, forward.images)


@contextmanager
def _held(
    network: nn.Module, penalty: InputGradientPenalty, randomness: Randomness, gates: RecordedGates
) -> Iterator[None]:
    """The second pass: as the first in mode, masks and gates, and without a trace in the running statistics."""
    statistics = running_batch_norm if penalty.batch_norm_statistics == "running" else frozen_batch_norm
    with statistics(network), randomness.replayed(), ReplayedGates(gates):
        yield


class _RowsScaled(torch.autograd.Function):
    """The logits themselves; the gradient of each row is multiplied by its factor."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, factors: Tensor) -> Tensor:
        ctx.factors = factors
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient * ctx.factors.to(gradient.dtype).view(-1, 1), None


def _rows_scaled(logits: Tensor, factors: Tensor) -> Tensor:
    """(N, K) logits, from which any mean over the images has a gradient that weights these by `factors`, (N,)."""
    scaled: Tensor = _RowsScaled.apply(logits, factors)
    return scaled


class _Carried(torch.autograd.Function):
    """Zero, with gradients that were found before."""

    @staticmethod
    def forward(ctx: Any, count: int, *parameters_and_gradients: Tensor) -> Tensor:
        ctx.gradients = parameters_and_gradients[count:]
        return parameters_and_gradients[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> Any:
        return None, *(factor * gradient for gradient in ctx.gradients), *(None for _ in ctx.gradients)


def _carried(parameters: list[nn.Parameter], gradients: list[Tensor | None]) -> Tensor:
    """Zero, 0-dim, whose gradient with respect to each parameter is the given one."""
    pairs = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
    carried: Tensor = _Carried.apply(len(pairs), *(p for p, _ in pairs), *(g for _, g in pairs))
    return carried
