"""What a study runs, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from camtrain.evaluation import EvaluationPlan
from camtrain.study.evaluation_words import plan_of_words, split_of_words
from camtrain.study.grid import Axis

_KINDS: dict[str, type] = {"name": str, "config": str, "project": str, "threads": int, "test": bool}
_MEMBERS: dict[str, type] = {"axes": Axis, "seeds": int, "tags": str, "command": str}


@dataclass(frozen=True)
class StudyPlan:
    """What a study runs.

    Attributes:
        name: The name of the study, and of its group of W&B runs.
        config: The path of the configuration.
        axes: The axes of the grid.
        seeds: Each point is run with each of them.
        evaluation: How maps are scored after each training; `None` scores none.
        split: The images that points are compared on.
        wandb: `offline`, `online` or `disabled`.
        project: W&B's project.
        threads: The number of threads of each run's process. Sums depend on it, so it belongs to the study.
        tags: W&B's tags of all runs.
        test: True if a training ends with the scores of its best checkpoint on the test images.
        command: The words that were typed; empty where the study was made in Python.
        validation: How maps are scored on validation images, by which the best point is chosen; `None` scores none.

    Raises:
        ValueError: If W&B has no such mode.
        TypeError: If an evaluation is none, or a value is of another type.
    """

    name: str
    config: str
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    evaluation: EvaluationPlan | None = None
    split: Literal["test", "val"] = "test"
    wandb: Literal["offline", "online", "disabled"] = "offline"
    project: str = "camtrain"
    threads: int = 1
    tags: tuple[str, ...] = ()
    test: bool = True
    command: tuple[str, ...] = ()
    validation: EvaluationPlan | None = None

    def __post_init__(self) -> None:
        for name in ("evaluation", "validation"):
            if not isinstance(value := getattr(self, name), EvaluationPlan | None):
                raise TypeError(f"`{name}`: expected an EvaluationPlan or None, got {value!r}")
        for name, kind in _KINDS.items():
            if not isinstance(value := getattr(self, name), kind) or (kind is int and isinstance(value, bool)):
                raise TypeError(f"`{name}`: expected {kind.__name__}, got {value!r}")
        for name, kind in _MEMBERS.items():
            if not all(isinstance(each, kind) for each in getattr(self, name)):
                raise TypeError(f"`{name}`: expected {kind.__name__} each, got {getattr(self, name)!r}")
        if not self.project.strip():
            raise ValueError(f"`project`: expected a name, got {self.project!r}")
        if self.split not in ("test", "val"):
            raise ValueError(f"`split`: expected test or val, got {self.split!r}")
        if self.wandb not in ("offline", "online", "disabled"):
            raise ValueError(f"`wandb`: expected offline, online or disabled, got {self.wandb!r}")

    def as_json(self) -> dict[str, Any]:
        """The plan as JSON can hold it."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        axes = [{"key": axis.key, "values": list(axis.values)} for axis in self.axes]
        plans = {name: evaluation_as_json(found[name]) for name in ("evaluation", "validation")}
        lists = {name: list(found[name]) for name in ("seeds", "tags", "command")}
        return {**found, **lists, "axes": axes, **plans}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> StudyPlan:
        """The plan that `as_json` gave, also by an earlier version, which kept words of the command line."""
        axes = tuple(Axis(axis["key"], tuple(axis["values"])) for axis in found["axes"])
        lists = {name: tuple(found.get(name, ())) for name in ("seeds", "tags", "command")}
        evaluation = evaluation_from_json(found.get("evaluation"))
        default = "test" if evaluation is None else evaluation.split
        split = found.get("split", split_of_words(lists["command"]) if evaluation is None else default)
        known = {each.name for each in fields(cls)}
        rest = {name: value for name, value in found.items() if name in known}
        plans = {"evaluation": evaluation, "validation": evaluation_from_json(found.get("validation"))}
        return cls(**{**rest, **lists, **plans, "axes": axes, "split": split})


def evaluation_as_json(plan: EvaluationPlan | None) -> dict[str, Any] | None:
    """A plan as a file has it."""
    return None if plan is None else plan.as_json()


def evaluation_from_json(found: Any) -> EvaluationPlan | None:
    """A plan as a file has it: a mapping, words of the command line as earlier versions wrote them, or nothing."""
    if not found:
        return None
    return plan_of_words(found) if isinstance(found, list) else EvaluationPlan.from_json(found)
