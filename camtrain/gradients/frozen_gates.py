"""The fast engine: the gradient of L_R from first-order passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo import OptimizedModule
from torch.autograd.function import once_differentiable

from camtrain.gradients.batch_norm import frozen_batch_norm, running_batch_norm
from camtrain.gradients.engine import (
    CheckedNetworks,
    ClassificationLoss,
    Engine,
    EngineOutput,
    ForwardPass,
    InputGradientPenalty,
    InputGradients,
    TermOfPass,
    forward_pass,
    input_gradients,
    penalties,
)
from camtrain.gradients.gates import RecordedGates, ReplayedGates
from camtrain.gradients.graph import graph_nodes
from camtrain.gradients.guided_gradient import guided_gradient
from camtrain.gradients.image_mixing import ImageMixing
from camtrain.gradients.randomness import Randomness
from camtrain.gradients.scaled_gradients import in_float16, scaled_gradients
from camtrain.gradients.step_sizes import StepRule, one_step_size, step_size_of_each

_STEP = {torch.float64: 1e-6, torch.float32: 3e-4}
_COARSE_STEP = 1e-2
# Of L_C by the step: the relative error of the gradient's norm was found to be half to twice as large. In a coarse
# precision a step as small as that would be lost in rounding.
_LARGEST_CHANGE, _LARGEST_COARSE_CHANGE = 5e-3, 0.1
_LARGEST_DIFFERENCE = 0.02  # of the logits of two equal passes: rounding, of bfloat16 too


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

    Not for, and refused in the first step: float16, since λ/h amplifies its rounding; `spectral_norm`, whose power
    iteration goes on in the second pass, and all else that changes from pass to pass; activation checkpointing and
    `torch.compile`, which hide the gates. The gradient of L_R is approximate in bfloat16 and TF32, and in batches of a
    few images under BatchNorm, whose curvature is large (`experiments/engine_agreement/`). What a network computes
    under `torch.no_grad()` from its images is not held: write `detach()`.

    Noted for the log: `two_terms`, the share of images that needed that form; `step`, the largest ρ; `floored`, the
    number of images whose u_i was cut to `longest` (a confident classifier has δ → 0, and u grows as 1/‖δ‖).

    Args:
        one_term_limit: largest ρ of the one-term form.
        step: ρ of the two-term form; null takes 3e-4 in float32, 1e-6 in float64 and 1e-2 in bfloat16 or TF32, between
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
        beside: TermOfPass | None = None,
    ) -> EngineOutput:
        """See `Engine`."""
        gates = RecordedGates()
        forward = self._checked_pass(network, images, classification_loss, penalty, gates, beside)
        further = forward.beside
        plan = self._plan(
            network, forward, classification_loss, penalty, weight, gates,
            keep_classification_graph=keep_classification_graph,
        )  # fmt: skip
        del forward  # and with it the graph of the first pass, where nothing else needs it
        explained_loss = penalty.explained or classification_loss
        with _held(network, penalty, plan.randomness, gates):
            loss = explained_loss(_rows_scaled(network(plan.displaced), plan.factors))
        if plan.carried:
            loss = loss + _carried(plan.carried)
        if plan.kept is not None and plan.adds_kept:
            loss = loss + plan.kept
        # The value that L has, with the gradient found above; of two terms that almost cancel little would be left.
        loss = (loss - loss.detach()) + (plan.classification + weight * plan.regularization)
        if further is not None:
            loss = loss + further
        classification = plan.classification if plan.kept is None else plan.kept
        return EngineOutput(loss, classification, plan.regularization, plan.logits, plan.notes)

    def _plan(
        self,
        network: nn.Module,
        forward: ForwardPass,
        classification_loss: ClassificationLoss,
        penalty: InputGradientPenalty,
        weight: float,
        gates: RecordedGates,
        *,
        keep_classification_graph: bool,
    ) -> _Plan:
        """All that the second pass needs of the first."""
        images = forward.images.detach()
        parameters = _trained(network)
        mixes = self._mixing(network, forward, penalty.explained or classification_loss)
        found, of_total = self._first_gradients(forward, penalty, parameters, together=mixes)
        each, directions = _directions(penalty, found)
        rule = self._rule(weight, images, coarse=_is_coarse(images, forward.explained_logits, gates))
        of_step = images, directions, found.gradients, _size(forward, penalty)
        steps = one_step_size(rule, *of_step, network) if mixes else step_size_of_each(rule, *of_step)
        factors = weight / steps.sizes  # λ/h_i; so often a row of the second pass counts
        two_terms = forward.explains_another or bool(steps.two_terms.any())
        self._two_terms_expected = two_terms
        carried: list[tuple[nn.Parameter, Tensor]] = []
        if two_terms:
            of_rows = -factors if forward.explains_another else torch.where(steps.two_terms, 1 - factors, 0.0)
            carried = _first_term(forward, parameters, of_rows, of_total, mixes=mixes)
        return _Plan(
            displaced=images + (steps.sizes.view(-1, 1, 1, 1) * steps.directions).to(images.dtype),
            factors=factors,
            carried=carried,
            kept=forward.classification if keep_classification_graph or forward.explains_another else None,
            adds_kept=forward.explains_another,
            classification=forward.classification.detach(),
            regularization=each.mean().detach(),
            logits=forward.logits.detach(),
            randomness=forward.randomness,
            notes={
                "two_terms": 1.0 if forward.explains_another else float(steps.two_terms.float().mean()),
                "step": steps.relative,
                "floored": float(steps.floored),
            },
        )

    def _checked_pass(
        self,
        network: nn.Module,
        images: Tensor,
        classification_loss: ClassificationLoss,
        penalty: InputGradientPenalty,
        gates: RecordedGates,
        beside: TermOfPass | None,
    ) -> ForwardPass:
        """The first pass; the first one in a mode with a look at whether a second can be made of it."""
        is_new = network not in self._checked
        if is_new:
            _check_modules(network)
        forward = forward_pass(network, images, classification_loss, penalty, gates, beside)
        if in_float16(images) or torch.float16 in (forward.logits.dtype, *gates.dtypes):
            raise ValueError(
                "`images`: FrozenGates cannot hold its precision in float16; train in bfloat16 or float32, or with "
                "engine=DoubleBackprop()"
            )
        if is_new:
            gates.check(forward.explained)
            _check_leaves(network, forward)
            again = images.detach()
            with torch.no_grad(), _held(network, penalty, forward.randomness, gates):
                logits = network(again)
                (penalty.explained or classification_loss)(logits)
            _check_repetition(forward.explained_logits, logits)
            self._checked.add(network)
        return forward

    def _rule(self, weight: float, images: Tensor, *, coarse: bool) -> StepRule:
        step = self.step or (_COARSE_STEP if coarse else _STEP[images.dtype])
        change = _LARGEST_COARSE_CHANGE if coarse else _LARGEST_CHANGE
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
        with _without_hooks(parameters):
            gradients, *of_total = scaled_gradients(forward.total, [forward.images, *parameters], forward.images)
        assert gradients is not None  # the graph was checked with the guided gradient, or the network has no input
        return InputGradients(gradients, guided), of_total


@dataclass(frozen=True)
class _Plan:
    """What the second pass needs of the first.

    Attributes:
        displaced: x_i + h_i u_i.
        factors: λ/h_i.
        carried: parameters with their part of the gradient that is known already, that of the first term.
        kept: L_C in its graph, where that lives on; `adds_kept` if L's gradient comes through it.
        classification: L_C, a value.
        regularization: L_R, a value.
        logits: (N, K), detached.
        randomness: of the first pass.
        notes: for the log.
    """

    displaced: Tensor
    factors: Tensor
    carried: list[tuple[nn.Parameter, Tensor]]
    kept: Tensor | None
    adds_kept: bool
    classification: Tensor
    regularization: Tensor
    logits: Tensor
    randomness: Randomness
    notes: dict[str, float]


def _check_modules(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if isinstance(module, OptimizedModule) or module._compiled_call_impl is not None:
            raise ValueError(
                f"`network`: FrozenGates cannot hold the gates inside of {name or 'a network'} that torch.compile made "
                "one graph of; train the network as it was before compiling"
            )
        normalizers = (module, *module._forward_pre_hooks.values())
        if {type(each).__name__ for each in normalizers} & {"SpectralNorm", "_SpectralNorm"}:
            raise ValueError(
                f"`network`: FrozenGates cannot hold the power iteration of spectral_norm at "
                f"{name.split('.param')[0]}; use engine=DoubleBackprop()"
            )


def _check_leaves(network: nn.Module, forward: ForwardPass) -> None:
    """A parameter that is not the network's, say one of the loss, would get no gradient of L_R."""
    known = {id(forward.images), *(id(parameter) for parameter in network.parameters())}
    for node in graph_nodes(forward.explained):
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in known:
            raise ValueError(
                f"`network`: the loss depends on a tensor of shape {tuple(leaf.shape)} that requires grad and is not "
                "among network.parameters(); register it there, or use engine=DoubleBackprop()"
            )


def _check_repetition(first: Tensor, second: Tensor) -> None:
    """With the same gates and random numbers, on the same images, the pass has to be the same."""
    scale = first.detach().abs().max().clamp(min=torch.finfo(first.dtype).tiny)
    difference = float((second - first.detach()).abs().max() / scale)
    if not difference <= _LARGEST_DIFFERENCE:
        raise ValueError(
            f"`network`: a second pass on the same images gave other logits (by {difference:.0e} of the largest). "
            "FrozenGates cannot hold what changes from pass to pass, as the power iteration of spectral_norm and "
            "random numbers other than torch's do; use engine=DoubleBackprop()"
        )


def _size(forward: ForwardPass, penalty: InputGradientPenalty) -> Tensor:
    """What a change of the explained scalar is compared with, L_C, or, of a score that may be zero, at least 1."""
    explained = forward.explained.detach()
    return explained if penalty.explained is None else explained.abs().clamp(min=1.0)


def _trained(network: nn.Module) -> list[nn.Parameter]:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("`network`: expected parameters that require a gradient, found none")
    return parameters


def _directions(penalty: InputGradientPenalty, found: InputGradients) -> tuple[Tensor, Tensor]:
    """Penalty of each image, (N,), and its derivative at the image's gradient, u, (N, 3, H, W)."""
    gradients = found.gradients.detach().requires_grad_()
    each = penalties(penalty, InputGradients(gradients, found.guided_gradients))
    (directions,) = torch.autograd.grad(each.sum(), gradients)
    return each.detach(), directions


def _is_coarse(images: Tensor, logits: Tensor, gates: RecordedGates) -> bool:
    """Whether the network computes with 10 bits or fewer: in bfloat16, or in float32 by TF32 tensor cores."""
    dtypes = {images.dtype, logits.dtype, *gates.dtypes}
    by_tensor_cores = images.device.type == "cuda" and torch.float32 in dtypes and torch.backends.cudnn.allow_tf32
    return by_tensor_cores or torch.is_autocast_enabled(images.device.type) or not dtypes <= set(_STEP)


def _first_term(
    forward: ForwardPass,
    parameters: list[nn.Parameter],
    of_rows: Tensor,
    of_total: list[Tensor | None] | None,
    *,
    mixes: bool,
) -> list[tuple[nn.Parameter, Tensor]]:
    """The parameters' gradient of the first pass's L_C, each image counted so often; `of_total` may be known."""
    with _without_hooks(parameters):
        if mixes:  # all rows count alike, and the numbers are the same whether they were expected or not
            of_total = of_total or scaled_gradients(forward.total, parameters, forward.images)
            found = [None if g is None else of_rows[0] / len(forward.images) * g for g in of_total]
        else:
            (of_logits,) = torch.autograd.grad(forward.explained, forward.explained_logits, retain_graph=True)
            found = list(
                torch.autograd.grad(
                    forward.explained_logits, parameters, _each_row(of_logits, of_rows), allow_unused=True,
                    retain_graph=True,
                )
            )  # fmt: skip
    return [(p, g) for p, g in zip(parameters, found, strict=True) if g is not None]


def _each_row(rows: Tensor, factors: Tensor) -> Tensor:
    """Rows times their factors, in the precision of the factors: in bfloat16 λ/h would be rounded to 8 bits."""
    return (rows.to(torch.promote_types(rows.dtype, factors.dtype)) * factors.view(-1, 1)).to(rows.dtype)


@contextmanager
def _without_hooks(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Hooks on parameters are for the gradient of the step; they run in its backward pass, and only there."""
    hooks = [(each._backward_hooks, dict(each._backward_hooks)) for each in parameters if each._backward_hooks]
    for live, _ in hooks:
        live.clear()
    try:
        yield
    finally:
        for live, kept in hooks:
            live.update(kept)


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
        ctx.save_for_backward(factors)
        return logits.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _each_row(gradient, ctx.saved_tensors[0]), None


def _rows_scaled(logits: Tensor, factors: Tensor) -> Tensor:
    """(N, K) logits, from which any mean over the images has a gradient that weights these by `factors`, (N,)."""
    scaled: Tensor = _RowsScaled.apply(logits, factors)
    return scaled


class _Carried(torch.autograd.Function):
    """Zero, with gradients that were found before."""

    @staticmethod
    def forward(ctx: Any, count: int, *parameters_and_gradients: Tensor) -> Tensor:
        ctx.save_for_backward(*parameters_and_gradients[count:])
        return parameters_and_gradients[0].new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> Any:
        gradients = ctx.saved_tensors
        return None, *(factor * gradient for gradient in gradients), *(None for _ in gradients)


def _carried(pairs: list[tuple[nn.Parameter, Tensor]]) -> Tensor:
    """Zero, 0-dim, whose gradient with respect to each parameter is the given one."""
    carried: Tensor = _Carried.apply(len(pairs), *(p for p, _ in pairs), *(g for _, g in pairs))
    return carried
