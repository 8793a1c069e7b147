"""The fast engine: the gradient of L_R from first-order passes.

`FrozenGates` explains the idea and its two words, *held* and *carried*. `FrozenGates.__call__` is one training step
from top to bottom. Its parts are in files of their own: `recorded_gates` (recording and holding gates), `step_sizes`
(the choice of h), `surrogate_terms` (the loss), `second_pass` (the second pass, and whether a network allows one).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

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
from camtrain.gradients.guided_gradient import guided_gradient
from camtrain.gradients.image_mixing import ImageMixing
from camtrain.gradients.recorded_gates import RecordedGates
from camtrain.gradients.scaled_gradients import in_float16, scaled_gradients
from camtrain.gradients.second_pass import check_modules, check_second_pass, second_pass
from camtrain.gradients.step_sizes import StepRule, StepSizes, one_step_size, step_size_of_each
from camtrain.gradients.surrogate_terms import times_factors, with_row_factors, zero_with_gradients
from camtrain.messages import CamtrainWarning, checked_number

_IN_BFLOAT16 = (
    "FrozenGates: in bfloat16 the gradient of L_R is noisy, because the two passes differ by less than its eight bits "
    "tell apart; engine=DoubleBackprop() is closer to float32, and precision 32 is exact"
)


class FrozenGates(Engine):
    """Gradient of L = L_C + λ L_R without a second derivative: one forward and one backward pass more.

    With u_i = ∂E_i/∂δ_i, a constant, the gradient of L_R is a directional derivative of the gradient of L_C,

        ∇_θ L_R = d/dh ∇_θ L_C(x + h u) at h = 0

    and the double backward of autograd holds every gate of the network constant: the masks of ReLU, the choices of max
    pooling. So the engine records the gates in a first pass at x and holds them in a second pass at x + h u: there they
    are *held*, each ReLU applies the mask of the first pass, whatever its new input. With its gates held the network is
    smooth in h, and

        L ≃ (1 − λ/h) L_C(x) + (λ/h) L_C^held(x + h u)

    has the gradient of L_C + λ L_R up to a relative error of the order of ρ = h ‖u_i‖ / ‖x‖, where ‖x‖ is the root mean
    square norm of the batch. The gradient of the first term is computed before the second pass, so that the graph of
    the first pass can be freed. It is then *carried* as numbers, in a term of the loss that has the value zero and adds
    these numbers to the parameters' gradients in the backward pass.

    At h = λ the first term vanishes. This *one-term* form is used where its ρ is at most `one_term_limit`, the
    *two-term* form with ρ = `step` elsewhere. A step that would change L_C by more than half a percent, as those of
    MAE, MSE and gradient norms do late in training, is shortened.

    Where the network mixes the images of a batch (BatchNorm in training mode), all images share one h, and ‖u_i‖ is
    replaced by the root mean square of the batch. Elsewhere each image has its own h_i, and its row of the loss has the
    factor λ/h_i.

    The engine trains networks whose operations have no second derivative: hardsigmoid (MobileNet-V3), fused attention,
    SyncBatchNorm.

    The first step refuses what the engine cannot train: float16, whose rounding λ/h amplifies; `spectral_norm`, whose
    power iteration goes on in the second pass, and everything else that changes from pass to pass; activation
    checkpointing and `torch.compile`, which hide the gates. The gradient of L_R is approximate in TF32, in bfloat16,
    with a warning, and in batches of a few images under BatchNorm, whose curvature is large
    (`experiments/engine_agreement/`). What a network computes from its images under `torch.no_grad()` is not held:
    write `detach()` instead.

    The output's notes are `two_terms`, the fraction of images that needed the two-term form; `step`, ρ, the largest one
    if each image has its own h_i; and `floored`, the number of images whose u_i was cut to `longest` (a confident
    classifier has δ → 0, and u grows as 1/‖δ‖).

    Args:
        one_term_limit: The largest ρ of the one-term form.
        step: ρ of the two-term form. `None` takes 3e-4 in float32, 1e-6 in float64 and 1e-2 in bfloat16 or TF32: a
            balance between the error of curvature, which grows with ρ, and that of rounding, which shrinks.
        longest: The largest ‖u_i‖ / ‖x‖ of an image where all images share one h; a longer u_i is cut to it.

    Raises:
        ValueError: If a setting is not positive, or the network computes in float16; in the first step of a network, if
            it has a kink or a module that cannot be held.

    Cost:
        In units of a backward pass to the input, of which a plain step takes 3 (a forward pass, and a backward pass of
        2): 6 with one term; with two terms 7, or 8 where each image has its own step. Without a guided gradient one
        less. Where a penalty explains another scalar than L_C, as that of `RightForRightReasons` does, 7, and the graph
        of the first pass is kept. Double backpropagation takes more than 7, and a second graph in memory. Elsewhere the
        graph of the first pass is freed before the second pass, and one byte is kept for each element of an activation
        function's output.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> network, images, labels = CIFARResNet(depth=8), torch.rand(4, 3, 32, 32), torch.arange(4)
        >>> penalty = InputGradientPenalty(lambda gradients, _: gradients.flatten(1).square().sum(1))
        >>> output = FrozenGates()(network, images, lambda logits: logits.square().mean(), penalty, 0.1)
        >>> output.loss.backward()
        >>> bool(network.conv1.weight.grad.norm() > 0)
        True
    """

    def __init__(self, one_term_limit: float = 1.5e-3, step: float | None = None, longest: float = 1e3) -> None:
        # Two of them may be infinite: always one term, never cut.
        self.one_term_limit = checked_number("one_term_limit", one_term_limit, above=0, finite=False)
        self.step = None if step is None else checked_number("step", step, above=0)
        self.longest = checked_number("longest", longest, above=0, finite=False)
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
        """See `Engine`. The numbered comments lead through one training step."""
        explained_loss = penalty.explained or classification_loss

        # 1. The first pass, at x. It records the gates.
        gates = RecordedGates()
        first = self._first_pass(network, images, classification_loss, penalty, gates, beside)
        mixes = self._mixing(network, first, explained_loss)
        # Where the explained scalar S is not L_C, the loss is L_C(x) + (λ/h_i) (S^held(x + h u) − S(x)), so that L_C(x)
        # keeps its graph. If S(x) comes from the same graph, one backward pass is enough for both.
        adds_classification = first.explains_another
        shares_graph = adds_classification and not first.in_own_pass

        # 2. The input gradients δ_i, the penalties E_i on them and their derivatives u_i, all without a graph. If the
        # previous step had two terms and all images share one h, the same backward pass also gives the parameters'
        # gradients that the first term needs. With an h_i of its own for each image, they depend on step 3.
        parameters = _trained(network)
        total_gradients: list[Tensor | None] | None = None
        if mixes and self._two_terms_expected and not shares_graph:
            found, total_gradients = _all_gradients(first, penalty, parameters)
        else:
            found = input_gradients(first, penalty, create_graph=False)
        each_penalty, directions = _penalties_and_directions(penalty, found)
        regularization = each_penalty.mean().detach()

        # 3. The steps h_i, and the images of the second pass, x_i + h_i u_i.
        steps = self._steps(network, first, penalty, weight, found, directions, gates, mixes=mixes)
        displaced = first.images.detach()
        displaced = displaced + (steps.sizes.view(-1, 1, 1, 1) * steps.directions).to(displaced.dtype)
        factors = weight / steps.sizes  # λ/h_i

        # 4. The first term. Its gradient is to be carried, unless the term shares the graph of L_C(x).
        has_first_term = adds_classification or bool(steps.two_terms.any())
        self._two_terms_expected = has_first_term
        carried: list[tuple[nn.Parameter, Tensor]] = []
        scale, in_graph = torch.ones_like(factors[0]), torch.zeros_like(factors[0])
        if has_first_term:
            row_factors = -factors if adds_classification else torch.where(steps.two_terms, 1 - factors, 0.0)
            if shares_graph:
                in_graph = explained_loss(with_row_factors(first.explained_logits, row_factors))
            elif mixes:  # all factors are equal
                scale = row_factors[0] / len(first.images)
                total_gradients = total_gradients or _total_gradients(first, parameters)
                carried = _known(parameters, total_gradients)
            else:
                carried = _known(parameters, _weighted_gradients(first, parameters, row_factors))

        # 5. The end of the first pass. Its graph is freed here, unless L_C or `beside` keeps it.
        keeps_graph = adds_classification or keep_classification_graph
        classification = first.classification if keeps_graph else first.classification.detach()
        logits, randomness, further = first.logits.detach(), first.randomness, first.beside
        notes = {
            "two_terms": 1.0 if adds_classification else float(steps.two_terms.float().mean()),
            "step": steps.relative,
            "floored": float(steps.floored),
        }
        del first, found, total_gradients, each_penalty, directions, steps

        # 6. The second pass, at x + h u, with the gates held.
        with second_pass(network, penalty, randomness, gates):
            loss = explained_loss(with_row_factors(network(displaced), factors))

        # 7. The loss. Its gradient is the sum of the terms' gradients. Its value is set to L_C + λ L_R: the values of
        # two terms that almost cancel would have few correct digits.
        if carried:
            loss = loss + zero_with_gradients(carried, scale)
        if adds_classification:
            loss = loss + classification + in_graph
        loss = (loss - loss.detach()) + (classification.detach() + weight * regularization)
        if further is not None:
            loss = loss + further
        return EngineOutput(loss, classification, regularization, logits, notes)

    def _first_pass(
        self,
        network: nn.Module,
        images: Tensor,
        classification_loss: ClassificationLoss,
        penalty: InputGradientPenalty,
        gates: RecordedGates,
        beside: TermOfPass | None,
    ) -> ForwardPass:
        """The pass at x. For a network in new modes, also check that a second pass is possible."""
        is_new = network not in self._checked
        if is_new:
            check_modules(network)
        first = forward_pass(network, images, classification_loss, penalty, watching=gates, beside=beside)
        if in_float16(images) or torch.float16 in (first.logits.dtype, *gates.dtypes):
            raise ValueError(
                "`images`: FrozenGates cannot hold its precision in float16; train in bfloat16 or float32, or with "
                "engine=DoubleBackprop()"
            )
        if is_new and torch.bfloat16 in (first.logits.dtype, *gates.dtypes):
            warnings.warn(_IN_BFLOAT16, CamtrainWarning, stacklevel=4)
        if is_new:
            check_second_pass(network, first, penalty, penalty.explained or classification_loss, gates)
            self._checked.add(network)
        return first

    def _steps(
        self,
        network: nn.Module,
        first: ForwardPass,
        penalty: InputGradientPenalty,
        weight: float,
        found: InputGradients,
        directions: Tensor,
        gates: RecordedGates,
        *,
        mixes: bool,
    ) -> StepSizes:
        """h_i of each image, by the settings of this engine and the precision of the pass."""
        images = first.images.detach()
        dtypes = {first.explained_logits.dtype, *gates.dtypes}
        rule = StepRule.of_precision(weight, self.one_term_limit, self.step, self.longest, images, dtypes)
        # The change of the explained scalar is relative to its value, or, for a score that may be zero, to at least 1.
        value = first.explained.detach()
        scale = value if penalty.explained is None else value.abs().clamp(min=1.0)
        if mixes:
            return one_step_size(
                rule, images=images, directions=directions, gradients=found.gradients, scale=scale, network=network
            )
        return step_size_of_each(rule, images=images, directions=directions, gradients=found.gradients, scale=scale)


def _trained(network: nn.Module) -> list[nn.Parameter]:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("`network`: expected parameters that require a gradient, found none")
    return parameters


def _all_gradients(
    first: ForwardPass, penalty: InputGradientPenalty, parameters: list[nn.Parameter]
) -> tuple[InputGradients, list[Tensor | None]]:
    """The input gradients and the gradients of n L_C at the parameters, from one backward pass.

    Two backward passes would run the part that leads to the input twice.
    """
    guided = guided_gradient(first.total, first.images) if penalty.needs_guided_gradient else None
    with _without_hooks(parameters):
        gradients, *total_gradients = scaled_gradients(first.total, [first.images, *parameters], first.images)
    assert gradients is not None  # The guided gradient checked the graph, or the network has no input.
    return InputGradients(gradients, guided), total_gradients


def _penalties_and_directions(penalty: InputGradientPenalty, found: InputGradients) -> tuple[Tensor, Tensor]:
    """The penalty E_i of each image, (N,), and its derivative u_i at the image's gradient, (N, C, H, W)."""
    gradients = found.gradients.detach().requires_grad_()
    each = penalties(penalty, InputGradients(gradients, found.guided_gradients))
    (directions,) = torch.autograd.grad(each.sum(), gradients)
    return each.detach(), directions


def _total_gradients(first: ForwardPass, parameters: list[nn.Parameter]) -> list[Tensor | None]:
    """The gradients of n times the explained scalar, in the way of `_all_gradients`: the numbers are the same."""
    with _without_hooks(parameters):
        return list(scaled_gradients(first.total, parameters, first.images))


def _weighted_gradients(first: ForwardPass, parameters: list[nn.Parameter], row_factors: Tensor) -> list[Tensor | None]:
    """The gradients of the explained scalar with each image weighted by its factor, (N,)."""
    with _without_hooks(parameters):
        (of_logits,) = torch.autograd.grad(first.explained, first.explained_logits, retain_graph=True)
        weighted = times_factors(of_logits, row_factors)
        return list(
            torch.autograd.grad(first.explained_logits, parameters, weighted, allow_unused=True, retain_graph=True)
        )


def _known(parameters: list[nn.Parameter], gradients: list[Tensor | None]) -> list[tuple[nn.Parameter, Tensor]]:
    """Each parameter that the first term depends on, with its gradient."""
    return [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]


@contextmanager
def _without_hooks(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Suspend the hooks on parameters, which are meant for the step's own backward pass and run only there."""
    hooks = [(each._backward_hooks, dict(each._backward_hooks)) for each in parameters if each._backward_hooks]
    for live, _ in hooks:
        live.clear()
    try:
        yield
    finally:
        for live, kept in hooks:
            live.update(kept)
