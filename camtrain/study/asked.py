"""What was asked of a study."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from camtrain.study.grid import Axis


@dataclass(frozen=True)
class Asked:
    """What was asked of a study.

    Attributes:
        name: of the study, and of its group of W&B runs.
        config: path of the configuration.
        axes: of the grid.
        seeds: each point is run with each of them.
        evaluation: words of `camtrain evaluate` after each training; empty for none.
        wandb: `offline`, `online` or `disabled`.
        project: W&B's project.
        threads: of each run's process. Sums depend on it, so it belongs to the study.
        tags: of all W&B runs.
        test: whether a training ends with the scores of its best checkpoint on the test images.
        command: what was typed.
    """

    name: str
    config: str
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    evaluation: tuple[str, ...] = ()
    wandb: str = "offline"
    project: str = "camtrain"
    threads: int = 1
    tags: tuple[str, ...] = ()
    test: bool = True
    command: tuple[str, ...] = field(default=())

    @property
    def split(self) -> str:
        """Of the images that points are to be compared on: `val` or `test`.

        The last one counts, as it does to `camtrain evaluate`. Where no maps are scored, it is in what was typed.

        Example:
            >>> Asked("a", "c.yaml", (), (0,), ("--split", "test", "--split=val")).split
            'val'
        """
        parser = ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--split", default="test")
        found, _ = parser.parse_known_args(self.evaluation or self.command)
        return str(found.split)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Asked:
        """From a file."""
        axes = tuple(Axis(axis["key"], tuple(axis["values"])) for axis in found["axes"])
        lists = {key: tuple(found.get(key, ())) for key in ("seeds", "evaluation", "tags", "command")}
        return cls(**{**found, **lists, "axes": axes})
