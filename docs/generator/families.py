"""What has a page of its own: each regularizer, each method, each metric, with the names in its module."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import camtrain.regularizers
from camtrain.evaluation import METRICS, EvaluationSettings
from camtrain.methods import CONTROLS, FURTHER_METHODS, METHODS, method_title
from camtrain.regularizers import Regularizer

_SHORT = {"auc": "AUC", "iou": "IoU", "adcc": "ADCC", "road": "ROAD"}
Kind = Literal["regularizers", "methods", "metrics"]


@dataclass(frozen=True)
class Family:
    """A regularizer, a method or a metric, with its variants and the functions that it is made of.

    Attributes:
        kind: The part of the site.
        module: The module in which all of them are defined.
        title: The heading.
        main: The class that the page is about.
        registered: The names in configurations and on the command line.
    """

    kind: Kind
    module: str
    title: str
    main: type[Any]
    registered: tuple[str, ...]

    @property
    def key(self) -> str:
        """The name of the page, which is that of the file."""
        return self.module.rpartition(".")[2]

    @property
    def page(self) -> str:
        """The page, such as `methods/grad_cam`."""
        return f"{self.kind}/{self.key}"


@cache
def families() -> tuple[Family, ...]:
    """All families, in the order of the registries."""
    return (*_regularizers(), *_methods(), *_metrics())


def families_of(kind: Kind) -> list[Family]:
    """The families of one part of the site."""
    return [family for family in families() if family.kind == kind]


def _regularizers() -> Iterable[Family]:
    for name in camtrain.regularizers.__all__:
        value = getattr(camtrain.regularizers, name)
        is_regularizer = inspect.isclass(value) and issubclass(value, Regularizer)
        if is_regularizer and value is not Regularizer and not inspect.isabstract(value):
            yield Family("regularizers", value.__module__, name, value, (name,))


def _methods() -> Iterable[Family]:
    for name, method in {**METHODS, **FURTHER_METHODS, **CONTROLS}.items():
        title = method_title(name)
        yield Family("methods", method.__module__, title[0].upper() + title[1:], method, (name,))


def _metrics() -> Iterable[Family]:
    by_module: dict[str, list[str]] = {}
    classes: dict[str, type[Any]] = {}
    for name, metric in METRICS.items():
        made = type(metric.make(EvaluationSettings()))
        by_module.setdefault(made.__module__, []).append(name)
        classes.setdefault(made.__module__, made)
    for module, names in by_module.items():
        yield Family("metrics", module, _title(module), classes[module], tuple(names))


def _title(module: str) -> str:
    """The name of a file as a heading: `insertion_auc` is "Insertion AUC"."""
    first, *rest = (_SHORT.get(word, word) for word in module.rpartition(".")[2].split("_"))
    return " ".join([first[0].upper() + first[1:], *rest])
