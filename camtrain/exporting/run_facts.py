"""What a run's folder says of a network: how it was trained, and how well it and its maps do."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from camtrain.evaluation import METRICS
from camtrain.exporting.without_places import without_places
from camtrain.files import DamagedFileError, check_yaml_size, local_path, read_sealed
from camtrain.loading.checkpoint import config_of
from camtrain.networks.checkpoint_file import scored_checkpoint

SCORES = "scores.json"
_PARTS = ("seed_everything", "model", "data", "trainer")  # of a configuration: what makes the numbers
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class MapScore:
    """A score of a method's maps.

    Attributes:
        method: The method or control; `network` for a score of the network itself.
        metric: The metric.
        value: The score, a fraction.
        low: The lower end of its 95 % interval.
        high: The upper end.
    """

    method: str
    metric: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RunFacts:
    """How a network was trained and scored.

    Attributes:
        training: The configuration of its training, without what says where things are on a machine; `None` where none
            is known.
        regularizer: The name of the regularizer's class; `None` for plain training.
        weight: λ; `None` if it was left to the regularizer.
        accuracies: The test scores of the network that its run has written, by their names.
        images: What the maps were scored on, and on how many; empty if they were not scored.
        scores: The scores of the maps.
        picture: A picture of maps; `None` if there is none.
    """

    training: dict[str, Any] | None
    regularizer: str | None
    weight: float | None
    accuracies: dict[str, float]
    images: str
    scores: list[MapScore]
    picture: Path | None


def run_facts(
    checkpoint: Path,
    content: Mapping[str, Any],
    weights: str,
    config: Path | None = None,
    evaluation: str | Path | None = None,
) -> RunFacts:
    """What is known of the network in a checkpoint.

    Args:
        checkpoint: The checkpoint.
        content: Its content.
        weights: The name of the network's weights, which an evaluation of it has too; see `network_hash`.
        config: The configuration of its run, where it is elsewhere.
        evaluation: The folder of an evaluation of the network. `None` looks in the folder of the run, and beside it.

    Raises:
        FileNotFoundError: If there is no evaluation in the folder that was given.
        ValueError: If it is one of other weights, or damaged.
    """
    config = config or config_of(checkpoint)
    run = checkpoint.absolute().parents[1]
    settings: Any = content.get("hyper_parameters") or {}
    found = _given(evaluation, weights) if evaluation is not None else _of_weights(run, weights)
    path, scored = found or (None, {})
    pictures = [] if path is None else sorted((path.parent / "panels").glob("*.png"))
    pictures += _pictures_of_run(checkpoint, content.get("epoch"))
    return RunFacts(
        _training(config),
        _name(settings.get("regularizer") or content.get("regularizer")),
        _number(settings.get("regularizer_weight")),
        _accuracies(run / SCORES) if _is_tested(checkpoint) else {},
        _images(scored),
        list(_map_scores(scored)),
        next((each for each in pictures if _is_png(each)), None),
    )


def _pictures_of_run(checkpoint: Path, epoch: Any) -> list[Path]:
    """The pictures of the run that are of this checkpoint, and not of another epoch."""
    folder = checkpoint.absolute().parents[1] / "panels"
    of_test = [folder / "test.png"] if _is_tested(checkpoint) else []
    return [*of_test, *(each for each in folder.glob("val_epoch_*.png") if _epoch(each) == epoch)]


def _training(config: Path | None) -> dict[str, Any] | None:
    try:
        text = "" if config is None else config.read_text(encoding="utf-8")
        check_yaml_size(text)
        content = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):  # `load_network` has read it, or it is of no use for it
        return None
    if not isinstance(content, dict):
        return None
    return {part: without_places(content[part]) for part in _PARTS if content.get(part) is not None}


def _given(evaluation: str | Path, weights: str) -> tuple[Path, dict[str, Any]]:
    path = local_path(evaluation, "evaluation")
    path = path if path.name == SCORES else path / SCORES
    if not path.is_file():
        raise FileNotFoundError(f"`evaluation`: expected the folder of `camtrain evaluate`, with {SCORES}, got {path}")
    try:
        content = read_sealed(path)
    except DamagedFileError as error:
        raise ValueError(f"`evaluation`: {error}") from error
    if _weights_of(content) != weights:
        raise ValueError(f"`evaluation`: {path} has the scores of another network, by the checksum of its weights")
    return path, content


def _of_weights(run: Path, weights: str) -> tuple[Path, dict[str, Any]] | None:
    """The evaluation of these weights in the folder of a run or beside it: one of test images before others."""
    found = []
    for path in sorted([*run.glob(f"*/{SCORES}"), *run.parent.glob(f"evaluat*/{SCORES}")]):
        try:
            content = read_sealed(path)
        except (DamagedFileError, OSError):  # of no use, and no reason to leave the network where it is
            continue
        if _weights_of(content) == weights:
            is_test = content["settings"].get("split") == "test"
            found.append((is_test, len(list(_map_scores(content))), path, content))
    best = max(found, key=lambda each: each[:2], default=None)
    return None if best is None else best[2:]


def _weights_of(content: Mapping[str, Any]) -> Any:
    settings = content.get("settings")
    return settings.get("weights") if isinstance(settings, dict) else None


def _images(scored: Mapping[str, Any]) -> str:
    data, count = scored.get("data"), scored.get("images")
    return f"{count} {data}" if isinstance(data, str) and isinstance(count, int) else ""


def _map_scores(scored: Mapping[str, Any]) -> Iterator[MapScore]:
    """The scores in the file of an evaluation whose metrics this version knows."""
    scores = scored.get("scores")
    for method, of_method in (scores if isinstance(scores, dict) else {}).items():
        for metric, entry in (of_method if isinstance(of_method, dict) else {}).items():
            entry = entry if isinstance(entry, dict) else {}
            numbers = [_number(entry.get(name)) for name in ("score", "low_95", "high_95")]
            if metric in METRICS and None not in numbers:
                yield MapScore(method, metric, *numbers)  # type: ignore[arg-type]


def _is_tested(checkpoint: Path) -> bool:
    """Whether the test scores of a run are those of this checkpoint, and not of another one of the run."""
    last = checkpoint.with_name("last.ckpt")
    try:
        return last.is_file() and scored_checkpoint(last) == checkpoint.name
    except ValueError:
        return False


def _accuracies(path: Path) -> dict[str, float]:
    """The test scores of the network itself."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    found = content.items() if isinstance(content, dict) else ()
    names = ("accuracy", "accuracy_top5", "accuracy_worst_group", "mean_average_precision", "f1")
    wanted = {f"test/{name}": name for name in names}
    return {wanted[key]: number for key, value in found if key in wanted and (number := _number(value)) is not None}


def _name(described: Any) -> str | None:
    """The name of a class, from its description in a checkpoint."""
    path = described.get("class_path") if isinstance(described, dict) else described
    return path.rpartition(".")[2][:100] if isinstance(path, str) else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _epoch(path: Path) -> int:
    number = path.stem.rpartition("_")[2]
    return int(number) if number.isdecimal() else -1


def _is_png(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_PNG)) == _PNG
    except OSError:
        return False
