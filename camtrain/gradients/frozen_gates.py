"""The fast engine: the gradient of L_R from first-order passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

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
from camtrain.gradients.randomness import Randomness
from camtrain.gradients.scaled_gradients import in_float16, scaled_gradients

_SMALLEST_STEP = {torch.float64: 1e-6, torch.float32: 3e-4}
_SMALLEST_STEP_IN_HALF_PRECISION = 1e-2


class FrozenGates(Engine):
    """Gradient of L = L_C + λ L_R without a second derivative: one forward and one backward pass more.

    With u_i = ∂E_i/∂δ_i, a constant, the gradient of L_R is a directional derivative of that of L_C,

        ∇_θ L_R = d/dh ∇_θ L_C(x + h u) at h = 0

    and the double backward of autograd holds every gate of the network: the masks of ReLU, the choices of max
    pooling. So the gates of the pass at x are recorded and held in a second pass at x + h u, which is smooth in h, and

        L ≃ (1 − λ/h) L_C(x) + (λ/h) L_C^held(x + h u)

    has the gradient of L_C + λ L_R up to a relative error of the order of ρ = h max_i ‖u_i‖ / ‖x‖, ‖x‖ the root mean
    square norm of the batch. At h = λ the first term vanishes. That *one-term* form is used where its ρ is at most
    `one_term_limit`, the *two-term* form with ρ = `step` elsewhere.

    It trains networks whose operations have no second derivative: hardsigmoid (MobileNet-V3), fused attention,
    SyncBatchNorm.

    Not for: float16, which is refused, since λ/h amplifies its rounding; `spectral_norm`, which is refused, since its
    power iteration goes on in the second pass; activation checkpointing, whose second run of a block holds no gates.
    The gradient of L_R is approximate in bfloat16; in small batches under BatchNorm, whose curvature is large; for MAE,
    MSE and gradient norms late in training; and where a batch has very confident images beside others
    (`experiments/engine_agreement/`).

    Noted for the log: `two_terms`, whether that form was used; `step`, ρ; `floored`, the number of images whose u_i was
    cut to `longest` (a confident classifier has δ → 0, and u grows as 1/‖δ‖).

    Args:
        one_term_limit: largest ρ of the one-term form.
        step: ρ of the two-term form; null takes 3e-4 in float32, 1e-6 in float64 and 1e-2 under bfloat16, between
            the errors of curvature, which grow with it, and of rounding, which shrink.
        longest: largest ‖u_i‖ / ‖x‖ of an image; longer ones are cut to it.

    Raises:
        ValueError: if a setting is not positive, or the images are computed with in float16; in the first step of a
            network, if it has a kink or a module that cannot be held.

    Cost:
        In backward-to-the-input units, of which a plain step takes 3 (a forward pass, a backward pass of 2): 6 with one
        term, 7 with two. Double backpropagation takes more than 7, and a second graph in memory; here the graph of the
        first pass is freed before the second.

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
        gates = RecordedGates()
        forward = forward_pass(network, images, classification_loss, penalty, gates)
        if network not in self._checked:
            _check_modules(network)
            gates.check(forward.explained)
            self._checked.add(network)
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        found, of_parameters = self._first_gradients(forward, penalty, parameters)
        each, directions = _directions(penalty, found)
        norms = torch.linalg.vector_norm(directions.flatten(1), dim=1) / _norm_of_an_image(images)
        too_long = norms > self.longest
        directions = directions * (self.longest / norms).clamp(max=1.0)[:, None, None, None]
        longest = float(norms.clamp(max=self.longest).max())

        classification, regularization = forward.classification.detach(), each.mean().detach()
        own_pass = forward.explained is not forward.classification
        two_terms = own_pass or not weight * longest <= self.one_term_limit
        self._two_terms_expected = two_terms
        step = (self.step or _smallest_step(images)) if two_terms else weight * longest
        # A direction of zero has no length to measure a step by, and any will do.
        size = step / longest if two_terms and longest > 0 else weight
        if two_terms and of_parameters is None:
            of_parameters = scaled_gradients(forward.explained, parameters, images)
        kept = forward.classification if keep_classification_graph or own_pass else None
        logits, randomness = forward.logits.detach(), forward.randomness
        del forward, found  # and with them the graph of the first pass, before the second begins

        with _held(network, penalty, randomness, gates):
            loss = weight / size * classification_loss(network(images.detach() + (size * directions).to(images.dtype)))
        if two_terms:
            factor = -weight / size if own_pass else 1 - weight / size
            loss = loss + _carried(parameters, [None if g is None else factor * g for g in of_parameters or []])
        if own_pass and kept is not None:
            loss = loss + kept
        # The value that L has, with the gradient found above; of two terms that almost cancel little would be left.
        loss = (loss - loss.detach()) + (classification + weight * regularization)
        notes = {"two_terms": float(two_terms), "step": step, "floored": float(too_long.sum())}
        return EngineOutput(loss, classification if kept is None else kept, regularization, logits, notes)

    def _first_gradients(
        self, forward: ForwardPass, penalty: InputGradientPenalty, parameters: list[nn.Parameter]
    ) -> tuple[InputGradients, list[Tensor | None] | None]:
        """Gradients at the input and, where the last step needed two terms, of L_C at the parameters.

        Both from one backward pass: taken apart, the part of it that leads to the input would be run twice.
        """
        if not self._two_terms_expected:
            return input_gradients(forward, penalty, create_graph=False), None
        total = forward.explained * len(forward.images)
        guided = guided_gradient(total, forward.images) if penalty.needs_guided_gradient else None
        gradients, *of_parameters = scaled_gradients(total, [forward.images, *parameters], forward.images)
        assert gradients is not None  # the graph was checked with the guided gradient, or the network has no input
        return InputGradients(gradients, guided), [
            None if g is None else g / len(forward.images) for g in of_parameters
        ]


def _check_modules(network: nn.Module) -> None:
    for name, module in network.named_modules():
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


def _norm_of_an_image(images: Tensor) -> Tensor:
    """Root mean square over the batch, in float32 at least: an image that happens to be blank sets no scale."""
    dtype = torch.promote_types(images.dtype, torch.float32)
    norms: Tensor = torch.linalg.vector_norm(images.detach().flatten(1), dim=1, dtype=dtype)
    return norms.square().mean().sqrt().clamp(min=torch.finfo(norms.dtype).tiny)


def _smallest_step(images: Tensor) -> float:
    device = images.device.type
    half = torch.is_autocast_enabled(device) or images.dtype not in _SMALLEST_STEP
    return _SMALLEST_STEP_IN_HALF_PRECISION if half else _SMALLEST_STEP[images.dtype]


@contextmanager
def _held(
    network: nn.Module, penalty: InputGradientPenalty, randomness: Randomness, gates: RecordedGates
) -> Iterator[None]:
    """The second pass: as the first in mode, masks and gates, and without a trace in the running statistics."""
    statistics = running_batch_norm if penalty.batch_norm_statistics == "running" else frozen_batch_norm
    with statistics(network), randomness.replayed(), ReplayedGates(gates):
        yield


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
