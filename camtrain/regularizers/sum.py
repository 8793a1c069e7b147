"""A sum of several regularizers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from camtrain.messages import checked_number
from camtrain.regularizers.input_gradient_regularizer import InputGradientRegularizer
from camtrain.regularizers.map_regularizer import MapRegularizer
from camtrain.regularizers.regularizer import Regularizer


@dataclass
class Term:
    """One regularizer of a sum, with its weight and schedule.

    Args:
        regularizer: The regularizer.
        weight: Its λ, at least 0; null is the regularizer's default.
        name: Its name in log keys; null is the snake_case of the class.
        start_epoch: The epoch before which the weight is 0; may be fractional.
        warmup_epochs: The number of epochs after the start over which the weight rises linearly from 0.
        end_epoch: The epoch from which the weight is 0 again; null is never.

    Raises:
        TypeError: If `regularizer` is not a regularizer, or is a `Sum`, or an argument has another type.
        ValueError: If a number is out of its range, or the name is empty or has a dot or a slash.
    """

    regularizer: Regularizer
    weight: float | None = None
    name: str | None = None
    start_epoch: float = 0.0
    warmup_epochs: float = 0.0
    end_epoch: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.regularizer, Regularizer) or isinstance(self.regularizer, Sum):
            raise TypeError(f"`regularizer`: expected a Regularizer that is not a Sum, got {self.regularizer!r}")
        if self.weight is None:
            self.weight = self.regularizer.default_weight
        for name in ("weight", "start_epoch", "warmup_epochs"):
            setattr(self, name, checked_number(name, getattr(self, name), at_least=0))
        if self.end_epoch is not None:
            expected = f"a finite number above start_epoch = {self.start_epoch}"
            self.end_epoch = checked_number("end_epoch", self.end_epoch, expected, above=self.start_epoch)
        if self.name is not None:
            _check_name(self.name)

    def weight_at(self, epoch: float | None) -> float:
        """The weight at an epoch.

        Args:
            epoch: The epoch, which may be fractional; `None` will do for a term without a schedule.

        Raises:
            ValueError: If the weight depends on the epoch, and the epoch is `None`.

        Example:
            >>> from camtrain.regularizers import MapSparsity
            >>> [Term(MapSparsity(), 2.0, start_epoch=1, warmup_epochs=2).weight_at(epoch) for epoch in (0, 1, 2, 3)]
            [0.0, 0.0, 1.0, 2.0]
        """
        assert self.weight is not None
        if not (self.start_epoch or self.warmup_epochs or self.end_epoch is not None):
            return self.weight
        if epoch is None:
            raise ValueError("`epoch`: a term with a schedule needs it, got None; set objective.epoch before each step")
        if self.end_epoch is not None and epoch >= self.end_epoch:
            return 0.0
        return self.weight * risen_fraction(epoch, self.start_epoch, self.warmup_epochs)


def _check_name(name: object) -> None:
    """A name is a part of log keys, which slashes separate, and of keys of state dicts, which dots separate."""
    expected = "`name`: expected a text without dots and slashes, or None"
    if not isinstance(name, str):
        raise TypeError(f"{expected}, got {name!r}")
    if not name.strip() or set(name) & set("./"):
        raise ValueError(f"{expected}, got {name!r}")
    if hasattr(nn.ModuleDict, name):
        raise ValueError(f"`name`: expected another name than {name!r}, which torch needs for its own")


def risen_fraction(epoch: float, start_epoch: float, warmup_epochs: float) -> float:
    """The fraction of a weight that a schedule has reached at an epoch, which may be fractional.

    Args:
        epoch: The epoch.
        start_epoch: The epoch before which the fraction is 0.
        warmup_epochs: The number of epochs after `start_epoch` over which it rises linearly from 0 to 1.

    Example:
        >>> [risen_fraction(epoch, 1.0, 2.0) for epoch in (0.5, 1.0, 2.0, 3.0, 9.0)]
        [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    if epoch < start_epoch:
        return 0.0
    return min(1.0, (epoch - start_epoch) / warmup_epochs) if warmup_epochs else 1.0


class Sum(Regularizer):
    """Several regularizers, each with its weight and schedule: L_R = Σ_t w_t L_t, from one pass and one backward.

    All terms use the same forward pass, and terms on the input gradient share the second pass of the engine. Such terms
    may penalize gradients of different scalars: `RightForRightReasons` of the log-probabilities, `EnergyInside` with
    `method="input_gradient"` of a logit. The engine then takes the terms on the gradient of the loss or, if there is
    none, those on the same scalar as the first term; the other terms are differentiated twice in the first pass. A term
    that needs predictions on other images (`AttentionMining`, `SaliencyGuided`, `MapConsistency`, `MapFaithfulness`,
    `SoftInsertionDeletion`, `ExpectedGradientsPrior`) or further derivatives (`RightForBetterReasons`) runs its own
    passes.

    Args:
        terms: The regularizers with their weights and schedules, at least one.

    Raises:
        TypeError: If an entry is not a `Term`.
        ValueError: If there is no term, terms on the input gradient differ in `batch_norm_statistics`, or these are
            running while terms penalize the gradients of different scalars.

    Example:
        >>> from camtrain.regularizers import EnergyInside, InterpretableGradient
        >>> both = Sum([Term(InterpretableGradient()), Term(EnergyInside(), weight=0.1)])
        >>> list(both.named)
        ['interpretable_gradient', 'energy_inside']
    """

    def __init__(self, terms: list[Term]) -> None:
        super().__init__()
        if not isinstance(terms, (list, tuple)):
            raise TypeError(f"`terms`: expected a list of Terms, got {terms!r}")
        if not terms:
            raise ValueError("`terms`: expected at least one, got none")
        for term in terms:
            if not isinstance(term, Term):
                raise TypeError(f"`terms`: expected Terms, got {term!r}")
        self.terms = list(terms)
        self.regularizers = nn.ModuleList(term.regularizer for term in terms)
        _check_statistics([on_gradient(term.regularizer) for term in terms])
        self.needs_annotation = all(each.needs_annotation for each in self.regularizers)  # type: ignore[misc]

    @property
    def named(self) -> dict[str, Term]:
        """The terms by their names; the second term of the same name gets `_2`, and so on."""
        named: dict[str, Term] = {}
        for term in self.terms:
            first = term.name or name_of(term.regularizer)
            name = first
            number = 2
            while name in named:
                name, number = f"{first}_{number}", number + 1
            named[name] = term
        return named


def on_gradient(regularizer: Regularizer) -> InputGradientRegularizer | None:
    """The regularizer as a penalty on the input gradient; `None` if it penalizes something else."""
    if isinstance(regularizer, MapRegularizer):
        return regularizer.on_input_gradient()
    return regularizer if isinstance(regularizer, InputGradientRegularizer) else None


def _check_statistics(regularizers: list[InputGradientRegularizer | None]) -> None:
    present = [each for each in regularizers if each is not None]
    statistics = {each.batch_norm_statistics for each in present}
    if len(statistics) > 1:
        raise ValueError("`terms`: expected the same batch_norm_statistics for all, got batch and running")
    scalars = {each.explained for each in present}
    if "running" in statistics and len(scalars) > 1:
        raise ValueError(
            "`terms`: expected batch_norm_statistics=batch for gradients of different scalars "
            f"({', '.join(sorted(scalars))}), got running"
        )


def named_terms(regularizer: Regularizer) -> dict[str, Term]:
    """The terms of a sum by their names; another regularizer is the only term, with weight 1."""
    if isinstance(regularizer, Sum):
        return regularizer.named
    return {name_of(regularizer): Term(regularizer, 1.0)}


def name_of(regularizer: Regularizer) -> str:
    """The name of a regularizer, the snake_case of its class.

    Example:
        >>> from camtrain.regularizers import MapL1
        >>> name_of(MapL1())
        'map_l1'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(regularizer).__name__).lower()
