"""The objective: L = L_C + λ L_R of one batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain.batch import Batch
from camtrain.gradients import Engine, FrozenGates, gradients_enabled, left_as_found
from camtrain.messages import checked_integer, checked_number, positive_integer
from camtrain.networks import module_of
from camtrain.objective.batch_loss import BatchLoss
from camtrain.objective.batch_terms import ActiveTerm, BatchTerms
from camtrain.objective.check_wrapper import check_wrapper
from camtrain.objective.checked_batch import checked_batch, outside_inference
from camtrain.objective.classification_loss import ClassificationLoss
from camtrain.objective.classification_losses import (
    CLASSIFICATION_LOSSES,
    LossFunction,
    LossName,
    called_in_precision_of,
    classification_loss_of,
)
from camtrain.objective.gradient_share import gradient_share
from camtrain.objective.losses import Losses, losses_with_terms, measure_terms, plain_losses
from camtrain.objective.needed_annotation import check_annotation, has_annotated_image
from camtrain.objective.step import Step, TermStep
from camtrain.objective.term_record import TermRecord, in_several_processes, over_counted
from camtrain.regularizers import InputGradientRegularizer, PassRegularizer, Regularizer, Sum, Term
from camtrain.regularizers.sum import named_terms

# Losses of torch in which the classes compete; they do not say so themselves.
_COMPETING = (nn.CrossEntropyLoss, nn.NLLLoss)
_COMPETING_FUNCTIONS = (F.cross_entropy, F.nll_loss)


class Objective(nn.Module):
    """The interpretable gradient loss and its relatives: L = L_C + λ L_R, with L_C a cross-entropy or another loss.

    With λ = 0, or without a regularizer, it is plain training: the same numbers, bit for bit, at the same cost.

    If labels are (N, K) and the classes independent, as with binary cross-entropy, an image may show several classes. A
    penalty that is about one class, such as that of a map, then takes one of those that the image shows, drawn at
    random in each step; `class_of` of a map's penalty can ask for all of them. Images that show none do not count.
    Boxes and masks are those of an image, whatever its classes: they are where any of its objects are.

    Args:
        regularizer: What L_R penalizes; `None` is plain training.
        weight: λ, at least 0; `None` is the regularizer's `default_weight`.
        engine: How the gradient of L_R reaches the parameters; `None` is `FrozenGates()`, the fast one.
        label_smoothing: The label smoothing of an L_C that is given by its name, in [0, 1].
        every_n_steps: k. Lazy regularization applies k·λ·L_R in every k-th call, beginning with the first, and is plain
            training in between (StyleGAN2, arXiv 1912.04958, appendix B). The phase is part of the state dict.
        balance_steps: The number of steps over which balancing takes the sizes of L_C and L_R at the start of training.
            It multiplies each term by L_C / L_R, so that λ = 1 makes the two equal there and λ is comparable across
            regularizers (the rule of thumb of Ross et al., arXiv 1703.03717). Steps in which a term has no penalty do
            not count. Each of these steps costs a measurement. The sizes are part of the state dict. 0 does not
            balance.
        classification_loss: L_C. `cross_entropy`, `binary_cross_entropy` or `focal`; a loss with settings, such as
            `CrossEntropy(class_weights=[1, 4])`; or any function from (logits, labels) to the mean over the images, to
            which each image adds what depends on its own logits alone. Where L_R penalizes the gradient of L_C at the
            input, it is called with float64 logits, and with float64 labels if they are (N, K). The parameters and
            buffers of a module follow; a function of another kind has to bring its own tensors to `logits.dtype`. An
            attribute `independent_classes` of the function says whether labels (N, K) are those of images that show
            several classes, true if it has none. Instead, a subclass may override the method of this name.

    Attributes:
        epoch: The current epoch, which may be fractional, for terms of a `Sum` that have a schedule. Set it before each
            step, as `Classifier` does.
        several_labels: Whether images may show several classes, by the labels of the batches so far; see
            `shown_classes`.

    Raises:
        TypeError: If `regularizer`, `engine` or `classification_loss` is something else.
        ValueError: If λ is negative, not finite, or given without a regularizer, `label_smoothing` is not in [0, 1],
            `every_n_steps` is below 1, `balance_steps` is below 0, no loss is called `classification_loss`, or label
            smoothing is given beside a loss with settings.

    Source:
        Torres Figueroa et al., A Learning Paradigm for Interpretable Gradients, VISAPP 2024, Algorithm 1.

    Example:
        >>> from camtrain.networks import CIFARResNet
        >>> from camtrain.regularizers import InterpretableGradient
        >>> network, images, labels = CIFARResNet(depth=8), torch.rand(4, 3, 32, 32), torch.arange(4)
        >>> objective = Objective(InterpretableGradient(distance="cosine"), weight=7.5e-3)
        >>> step = objective(network, images, labels)
        >>> step.loss.backward()
        >>> torch.allclose(step.loss.detach(), step.classification + 7.5e-3 * step.regularization)
        True
    """

    def __init__(
        self,
        regularizer: Regularizer | None = None,
        weight: float | None = None,
        engine: Engine | None = None,
        label_smoothing: float = 0.0,
        every_n_steps: int = 1,
        balance_steps: int = 0,
        classification_loss: LossName | LossFunction = "cross_entropy",
    ) -> None:
        super().__init__()
        if not (regularizer is None or isinstance(regularizer, (InputGradientRegularizer, PassRegularizer, Sum))):
            raise TypeError(
                "`regularizer`: expected an InputGradientRegularizer, a PassRegularizer, a Sum or None, got "
                f"{regularizer!r}"
            )
        if not (engine is None or isinstance(engine, Engine)):
            raise TypeError(f"`engine`: expected an Engine or None, got {engine!r}")
        if regularizer is None and weight:
            raise ValueError(f"`weight`: expected 0 or None without a regularizer, got {weight}")
        self.regularizer = regularizer
        self.terms: dict[str, Term] = {} if regularizer is None else named_terms(regularizer)
        self.records = nn.ModuleDict({name: TermRecord() for name in self.terms})
        self.register_load_state_dict_pre_hook(_state_that_fits)  # type: ignore[no-untyped-call]
        self.balance_steps = checked_integer("balance_steps", balance_steps, at_least=0)
        self.epoch: float | None = None
        self.several_labels = False
        self.engine = FrozenGates() if engine is None else engine
        self.every_n_steps = positive_integer("every_n_steps", every_n_steps)
        self._phase = 0
        self.loss_function = classification_loss_of(classification_loss, label_smoothing)
        if weight is None:
            weight = 0.0 if regularizer is None else regularizer.default_weight
        self.weight = weight

    @property
    def weight(self) -> float:
        """λ; it may be set between steps, as a warm-up does."""
        return self._weight

    @weight.setter
    def weight(self, weight: float) -> None:
        self._weight = checked_number("weight", weight, at_least=0)

    def forward(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        boxes: list[Tensor] | None = None,
        masks: Tensor | None = None,
        measure_gradient_share: bool = False,
    ) -> Step:
        """The loss of one training step, ready for a single `backward()`.

        Args:
            network: From (N, C, H, W) to (N, K) logits, in the mode to train in.
            images: (N, C, H, W), floating point.
            labels: (N,) class indices, or (N, K): probabilities (mixup, distillation), or, where classes are
                independent, 1 for the classes that an image shows and 0 for the others.
            boxes: One (M_i, 4) tensor for each image, for regularizers that need boxes.
            masks: (N, H, W) bool, for regularizers that need masks.
            measure_gradient_share: Whether to measure `Step.gradient_share`; this costs two more backward passes.

        Raises:
            RuntimeError: If λ is above 0 and gradients are disabled, also in a step in which no term takes part.
            TypeError: If the network is no module, or images, labels or masks are no tensors.
            ValueError: If shapes do not fit, a label is not in [0, K), a regularizer's annotation is missing, the
                images have a graph that a penalty would cut, or λ is above 0 and the network is wrapped by something
                that no regularizer can work through (see `check_wrapper`).
        """
        network = module_of(network)
        batch = checked_batch(images, labels, boxes, masks)
        if self.terms and self.weight:
            if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
                raise RuntimeError(
                    "gradients are disabled, and λ is above 0: a training step has to be differentiated. Call it "
                    "outside of torch.no_grad() and torch.inference_mode(); `measure` works under both"
                )
            check_wrapper(network)
        loss = self._loss_of(labels)
        weights = self._weights_of_step(batch)
        left_out = self._left_out(weights, batch)
        active = {name: weight for name, weight in weights.items() if name not in left_out}
        if active:
            if self.balance_steps:
                self._balance(network, batch, active)
            terms = self._training_terms(network, batch, active)
            losses = losses_with_terms(
                network, terms, loss, self.engine, keep_classification_graph=measure_gradient_share
            )
            term_steps = self._term_steps(terms, active) | left_out
        else:
            losses = plain_losses(network, images, loss)
            term_steps = left_out
        share = gradient_share(losses.loss, losses.classification, network) if measure_gradient_share else None
        return Step.of(losses, term_steps, share)

    def measure(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        boxes: list[Tensor] | None = None,
        masks: Tensor | None = None,
    ) -> Step:
        """L_C, L_R and L of a batch as values, for validation.

        L_R is the mean over the images of this batch that count. It is measured whatever λ is, if there is a
        regularizer. Works under `torch.no_grad()` and `torch.inference_mode()`. The arguments are those of a training
        step.

        Cost:
            A forward pass, and the gradients at the input that the regularizer needs.
        """
        network = module_of(network)
        batch = checked_batch(images, labels, boxes, masks)
        if self.regularizer is None:
            with torch.no_grad():
                return Step.of(plain_losses(network, images, self._loss_of(labels)), {})
        check_wrapper(network)
        weights = self._weights_of_measurement()
        classification, logits, terms = self._measured(network, batch, weights)
        term_steps = self._term_steps(terms, weights)
        scaled = torch.stack([term.weight * term.scale * term.value for term in term_steps.values()]).sum()
        return Step.of(Losses(classification + self.weight * scaled, classification, logits), term_steps)

    def combined(self, classification: float, terms: Mapping[str, float]) -> tuple[float, float]:
        """L and L_R of many images that were measured batch by batch, from means over all of them.

        A mean of the batches' own L would depend on the size of the batches, since the number of images that count for
        a term is another one in each.

        Args:
            classification: The mean of L_C.
            terms: For each term its mean over the images that count; terms without such an image are left out.

        Example:
            >>> from camtrain.regularizers import MapSparsity
            >>> Objective(MapSparsity(), weight=0.5).combined(2.0, {"map_sparsity": 3.0})
            (3.5, 3.0)
        """
        weights = self._weights_of_measurement()
        scaled = sum(weights[name] * self._scale(name) * value for name, value in terms.items())
        return classification + self.weight * scaled, float(sum(weights[name] * terms[name] for name in terms))

    def _weights_of_measurement(self) -> dict[str, float]:
        epoch = math.inf if self.epoch is None else self.epoch
        return {name: term.weight_at(epoch) for name, term in self.terms.items()}

    def classification_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """L_C, the mean over the images, 0-dim.

        A subclass may override it instead of passing `classification_loss`, of which the same is expected; every step
        and measurement uses it.

        Args:
            logits: (N, K).
            labels: (N,) or (N, K).

        Raises:
            ValueError: If the shapes do not fit, a label is not in [0, K), or the result is not a mean, 0-dim.

        Example:
            >>> import torch.nn.functional as F
            >>> class Focal(Objective):
            ...     def classification_loss(self, logits, labels):
            ...         losses = F.cross_entropy(logits, labels, reduction="none")
            ...         return ((1 - (-losses).exp()) ** 2 * losses).mean()
            >>> Focal().classification_loss(torch.zeros(1, 2), torch.tensor([1]))
            tensor(0.1733)
        """
        return called_in_precision_of(self.loss_function, logits, labels)

    @property
    def loss_name(self) -> str:
        """The name of L_C: that by which it can be given, or that of its class or function."""
        if self._is_overridden:
            return type(self).__name__
        kind = type(self.loss_function)
        known = [name for name, loss in CLASSIFICATION_LOSSES.items() if loss is kind]
        return known[0] if known else str(getattr(self.loss_function, "__name__", kind.__name__))

    @property
    def independent_classes(self) -> bool:
        """Whether labels (N, K) say of each class by itself whether an image shows it.

        They do unless L_C is known to be a loss in which classes compete, such as cross-entropy, also torch's own.
        """
        if self._is_overridden:
            return True
        competes = isinstance(self.loss_function, _COMPETING) or self.loss_function in _COMPETING_FUNCTIONS
        return bool(getattr(self.loss_function, "independent_classes", not competes))

    def shown_classes(self, labels: Tensor) -> Tensor | None:
        """(N, K) bool, the classes that each image shows; `None` if each image has one label, also if it is mixed.

        MixUp and CutMix make (N, K) of single labels as well, which sum to 1. Those of several labels may do so too:
        the attribute `several_labels`, which remembers earlier batches and is set here, tells them apart.

        Args:
            labels: (N,) or (N, K). A number of at least 1/2 says that the image shows the class.

        Example:
            >>> objective = Objective(classification_loss="binary_cross_entropy")
            >>> objective.shown_classes(torch.tensor([[0.6, 0.4, 0.0]]))  # one label, mixed with another
            >>> objective.shown_classes(torch.tensor([[1.0, 1.0, 0.0]]))
            tensor([[ True,  True, False]])
        """
        may_be_several = self.independent_classes and labels.dim() == 2 and labels.shape[1] > 1
        if may_be_several and bool(((labels > 0) & (labels < 1)).any()):
            self.several_labels |= bool(((labels.sum(dim=1) - 1).abs() > 0.01).any())
        else:
            self.several_labels = may_be_several
        return labels >= 0.5 if self.several_labels else None

    @property
    def _is_overridden(self) -> bool:
        return type(self).classification_loss is not Objective.classification_loss

    def _loss_of(self, labels: Tensor) -> BatchLoss:
        of_images = None
        if isinstance(self.loss_function, ClassificationLoss) and not self._is_overridden:
            of_images = self.loss_function.of_images
        return BatchLoss(self.classification_loss, labels, of_images)

    def _weights_of_step(self, batch: Batch) -> dict[str, float]:
        """The weight of each term that is to be trained in this step, by its name; moves the phase on."""
        is_due = self._phase == 0
        self._phase = (self._phase + 1) % self.every_n_steps
        if not (is_due and self.weight > 0):
            return {}
        weights = {name: term.weight_at(self.epoch) for name, term in self.terms.items()}
        weights = {name: weight for name, weight in weights.items() if weight > 0}
        for name in weights:
            check_annotation(self.terms[name].regularizer, batch)
        return weights

    def _left_out(self, weights: dict[str, float], batch: Batch) -> dict[str, TermStep]:
        """The terms that have nothing to penalize, because no image is annotated; they need not be paid for."""
        # Processes that train together have to run the same passes, with annotation and without.
        if not weights or in_several_processes() or has_annotated_image(batch):
            return {}
        images = batch.images
        zero = images.new_zeros((), dtype=torch.float32)
        left_out = {}
        for name, weight in weights.items():
            if self.terms[name].regularizer.needs_annotation:
                self._record(name).see(torch.zeros(len(images), dtype=torch.bool, device=images.device))
                left_out[name] = TermStep(zero, weight, self._scale(name), zero.long(), computed=False)
        return left_out

    def _training_terms(self, network: nn.Module, batch: Batch, weights: dict[str, float]) -> BatchTerms:
        """The terms of a training step, each with the product of all its factors."""
        factor = self.weight * self.every_n_steps
        terms = [
            ActiveTerm(
                name,
                self.terms[name].regularizer,
                factor * weight * self._scale(name),
                self._record(name).training_values,
            )
            for name, weight in weights.items()
        ]
        assert batch.labels is not None  # checked_batch
        return BatchTerms(terms, network, batch, self._loss_of(batch.labels), self.shown_classes(batch.labels))

    def _measured(self, network: nn.Module, batch: Batch, names: Iterable[str]) -> tuple[Tensor, Tensor, BatchTerms]:
        """L_C, logits, and the named terms as values: means over the images of this batch that count."""
        terms = [ActiveTerm(name, self.terms[name].regularizer, 1.0, over_counted) for name in names]
        with gradients_enabled(), left_as_found(network, batch.images.device):
            batch = outside_inference(batch)
            assert batch.labels is not None
            found = BatchTerms(terms, network, batch, self._loss_of(batch.labels), self.shown_classes(batch.labels))
            classification, logits = measure_terms(network, found, found.loss)
        return classification, logits, found

    def _balance(self, network: nn.Module, batch: Batch, names: Iterable[str]) -> None:
        """Note the size of each term that is at its start."""
        starting = [name for name in names if int(self._record(name).start_steps) < self.balance_steps]
        if starting:
            classification, _, found = self._measured(network, batch, starting)
            for name in starting:
                self._record(name).note_start(classification, found.means[name], found.found[name].counted)

    def _term_steps(self, terms: BatchTerms, weights: dict[str, float]) -> dict[str, TermStep]:
        steps = {}
        for name, weight in weights.items():
            found = terms.found[name]
            flat = None if found.flat is None else found.flat.sum()
            value = terms.means[name].float()
            steps[name] = TermStep(value, weight, self._scale(name), found.counted.sum(), flat=flat)
        return steps

    def _record(self, name: str) -> TermRecord:
        record = self.records[name]
        assert isinstance(record, TermRecord)
        return record

    def _scale(self, name: str) -> float:
        return self._record(name).scale if self.balance_steps else 1.0

    def get_extra_state(self) -> Tensor:
        """The phase of lazy regularization, as a tensor, which a state dict is expected to hold."""
        return torch.tensor(self._phase)

    def set_extra_state(self, state: Tensor) -> None:
        """Continue the phase of a state dict."""
        self._phase = int(state) % self.every_n_steps

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return (
            f"weight={self.weight}, engine={self.engine}, classification_loss={self.loss_name}, "
            f"every_n_steps={self.every_n_steps}, "
            f"balance_steps={self.balance_steps}"
        )


def _state_that_fits(
    objective: Objective, state: dict[str, Tensor], prefix: str, *_strictness_and_messages: object
) -> None:
    """Make a state dict fit: drop what unknown regularizers and losses recorded, and add what new ones begin with."""
    parts = {"records": objective.records, "loss_function": objective.loss_function}
    for name, part in parts.items():
        own = part.state_dict() if isinstance(part, nn.Module) else {}
        ours = {f"{prefix}{name}.{key}": value for key, value in own.items()}
        for key in [key for key in state if key.startswith(f"{prefix}{name}.") and key not in ours]:
            del state[key]
        for key, value in ours.items():
            state.setdefault(key, value)
