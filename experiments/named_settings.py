"""Trains named settings of one configuration and scores their maps; what is in the results already is not made again.

An experiment that compares many regularizers is no grid: each has options and a range of λ of its own. It is a list of
named settings instead, each of which changes some keys of a configuration that all of them share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from camtrain import ablate
from camtrain.evaluation import EvaluationPlan
from camtrain.report.points import WEIGHT
from camtrain.study import Row
from experiments.result_rows import read_rows, write_rows
from experiments.study_results import parsed_row

_ROOT = Path(__file__).parents[1]
_FIRST = ("split", WEIGHT, "seed")


@dataclass(frozen=True, eq=False)
class Setting:
    """A way to train.

    Attributes:
        name: The name, which is also that of its folder and its file of results.
        changes: Configuration keys with their values, such as `{"model.regularizer": {"class_path": ...}}`.
        weights: The values of λ to choose from.
        title: What tables call it; empty is the name.
        of_seed: Makes further changes that depend on the seed; `None` is none.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    weights: Sequence[float] = (0.0,)
    title: str = ""
    of_seed: Callable[[int], Mapping[str, Any]] | None = None

    def __str__(self) -> str:
        return self.title or self.name


@dataclass(frozen=True)
class Board:
    """What the settings of an experiment have in common: the data, the network, and how maps are scored.

    Attributes:
        name: The name, which is also that of its folder.
        title: What tables call it.
        config: The path of the configuration, from the root of the repository.
        changes: Keys that all settings change.
        validation: How maps are scored to choose λ.
        test: How maps are scored for the results.
        runs: The folder of the trainings.
    """

    name: str
    title: str
    config: str
    validation: EvaluationPlan
    test: EvaluationPlan
    changes: Mapping[str, Any] = field(default_factory=dict)
    runs: Path = Path("runs/boards")

    def config_of(self, setting: Setting, seed: int = 0) -> dict[str, Any]:
        """The configuration of a setting, with its interpolations unresolved."""
        config = OmegaConf.load(_ROOT / self.config)
        of_seed = setting.of_seed(seed) if setting.of_seed else {}
        for key, value in {**self.changes, **setting.changes, **of_seed}.items():
            OmegaConf.update(config, key, value, merge=False, force_add=True)
        content = OmegaConf.to_container(config, resolve=False)
        assert isinstance(content, dict)
        return {str(key): value for key, value in content.items()}


class SettingRows:
    """The results of one setting in a CSV file, a row for each split, λ and seed.

    Args:
        path: The file. It need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[tuple[str, float, int], Row] = {}
        self._read()

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def of(self, split: str, weight: float) -> dict[int, Row]:
        """The rows of a split and a λ, by seed."""
        return {seed: row for (s, w, seed), row in self._rows.items() if (s, w) == (split, weight)}

    def weights(self, split: str) -> list[float]:
        """The values of λ that have a row, ascending."""
        return sorted({weight for s, weight, _ in self._rows if s == split})

    def missing(self, split: str, weights: Sequence[float], seeds: Sequence[int]) -> list[tuple[float, int]]:
        """The pairs of λ and seed that have no row."""
        return [
            (weight, seed) for weight in weights for seed in seeds if (split, float(weight), seed) not in self._rows
        ]

    def add(self, split: str, rows: Sequence[Row]) -> None:
        """Enter rows of a study, and write the file with what another process has entered since it was read."""
        self._read()
        for row in rows:
            self._add({"split": split, **row})
        columns = dict.fromkeys(column for row in self for column in row)
        rest = sorted(column for column in columns if column not in (*_FIRST, "trial"))
        ordered = [self._rows[case] for case in sorted(self._rows)]
        lines = [{column: _cell(value) for column, value in row.items()} for row in ordered]
        write_rows(self.path, [*_FIRST, *rest], lines)

    def _read(self) -> None:
        for row in read_rows(self.path):
            self._add(parsed_row(row))

    def _add(self, row: Row) -> None:
        self._rows[(row["split"], float(row[WEIGHT]), int(row["seed"]))] = row


def scored(
    board: Board, setting: Setting, rows: SettingRows, split: str, weights: Sequence[float], seeds: Sequence[int]
) -> None:
    """Train a setting with some λ and seeds, score the maps, and enter the results; what is in `rows` is done.

    Raises:
        SystemExit: If a training failed, with the path of its log, or was stopped.
    """
    plan = board.validation if split == "val" else board.test
    for weight in weights:
        # One folder for each λ: a study keeps one table, and this one is called with one λ at a time.
        folder = board.runs / board.name / setting.name / f"weight_{weight:g}"
        missing = [seed for _, seed in rows.missing(split, [weight], seeds)]
        for some in [[seed] for seed in missing] if setting.of_seed else filter(None, [missing]):
            study = ablate(
                board.config_of(setting, some[0]),
                {WEIGHT: [weight]},
                seeds=some,
                folder=folder / f"seed_{some[0]}" if setting.of_seed else folder,
                evaluation=plan,
                num_validation_images=0,  # each split has a plan of its own
                only=True,
                jobs=1,
                threads=1,
                wandb="disabled",
            )
            rows.add(split, study.rows)
            what = f"{board.name}, {setting.name}, λ = {weight:g}"
            for outcome in study.failed:
                raise SystemExit(f"{what}: {outcome.message} ({outcome.log})")
            if rows.missing(split, [weight], some):
                raise SystemExit(f"{what}: stopped before its end; call this again to go on")


def trained(board: Board, setting: Setting, weight: float, seed: int, folder: Path) -> Path:
    """The folder of a training whose maps are not scored; it is trained if it is not there.

    Args:
        board: Its data and network.
        setting: What it changes.
        weight: λ.
        seed: The seed.
        folder: Where it is.

    Raises:
        SystemExit: If it failed, or was stopped before its end.
    """
    ablation = ablate(
        board.config_of(setting, seed),
        {WEIGHT: [weight]},
        seeds=[seed],
        folder=folder,
        evaluation=None,
        jobs=1,
        threads=1,
        wandb="disabled",
    )
    for outcome in ablation.unfinished:
        raise SystemExit(f"{setting}, seed {seed}: {outcome.message or 'stopped before its end'} ({outcome.log})")
    return ablation.study.folder_of(ablation.study.trials[0])


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
