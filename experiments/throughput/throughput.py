"""Measure how many images a second `camtrain fit` trains at λ = 0, beside a bare PyTorch loop; see README.md.

    python -m experiments.throughput.throughput [--device cuda] [--quick]

Rows that are already in results.csv are not measured again, unless --fresh is given.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch

from camtrain.runs import RunSettings, fit
from experiments.measuring import quartiles, ratios
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import ResultRows

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
MARKER = "results of experiments/throughput"
WARM_UP = 2
WAYS = {"in memory": True, "one by one": False}
"""Whether images are in memory and augmented by the batch, by the name of the way."""


def main() -> None:
    """Measure, write results.csv as the rows come, and the table of README.md."""
    settings = parsed()
    torch.set_num_threads(settings.threads)
    rows = ResultRows(settings.results, Row, Case, fresh=settings.fresh)
    for way in settings.ways:
        if Case.of(way, settings) not in rows:
            rows.add(row_of(way, measured(way, settings), settings))
    if settings.results == RESULTS:
        put_texts(readme_texts(), HERE / "README.md")
    print(table(rows))


def parsed() -> argparse.Namespace:
    """Read the settings from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--images", type=int, default=6400, help="number of images in an epoch")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=10, help="number of rounds that count, an epoch of each loop")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="number of threads on the CPU")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="few images and rounds; the results go elsewhere")
    parser.add_argument("--fresh", action="store_true", help="delete the results first")
    settings = parser.parse_args()
    if settings.quick:
        settings.images, settings.batch_size, settings.rounds = 64, 16, 2
        settings.results = Path(tempfile.mkdtemp()) / "results.csv"
    return settings


def measured(way: str, settings: argparse.Namespace) -> list[dict[str, list[float]]]:
    """Train, and read the times of each round, (by the clock, of the processor), of the bare loop and the training."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")  # its hints about workers and logging
        times, config = Path(folder) / "times.json", Path(folder) / "throughput.yaml"
        config.write_text(json.dumps(configuration(way, times, settings)), encoding="utf-8")  # JSON is YAML
        fit(config, RunSettings(folder=folder, wandb="disabled", test=False))
        found: list[dict[str, list[float]]] = json.loads(times.read_text(encoding="utf-8"))
        return found


def configuration(way: str, times: Path, settings: argparse.Namespace) -> dict[str, Any]:
    """Make the configuration of the training."""
    loops = {
        "class_path": "experiments.throughput.alternating_loops.AlternatingLoops",
        "init_args": {"path": str(times), "warm_up": WARM_UP},
    }
    return {
        "model": {
            "network": "cifar_resnet20",
            "regularizer": {"class_path": "camtrain.regularizers.InterpretableGradient"},
            "regularizer_weight": 0.0,
            "optimizer": {
                "class_path": "torch.optim.SGD",
                "init_args": {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4},
            },
        },
        "data": {
            "class_path": "experiments.throughput.random_images.RandomImages",
            "init_args": {
                "num_images": settings.images,
                "batch_size": settings.batch_size,
                "in_memory": WAYS[way],
            },
        },
        "trainer": {
            "accelerator": "gpu" if settings.device == "cuda" else "cpu",
            "devices": 1,
            "max_epochs": WARM_UP + settings.rounds + 1,  # the last one is not timed
            "limit_val_batches": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [loops],
        },
        "checkpoint": {"monitor": None},
        "cam_logger": {"num_images": 0},
        "localization_scores": {"num_images": 0},
    }


# Results


@dataclass(frozen=True)
class Case:
    """What was measured."""

    way: str
    device: str
    threads: str
    images: str
    batch_size: str

    @classmethod
    def of(cls, way: str, settings: argparse.Namespace) -> Case:
        """Make the case that the settings describe."""
        cuda = settings.device == "cuda"
        return cls(
            way,
            torch.cuda.get_device_name() if cuda else "CPU",
            "" if cuda else str(settings.threads),
            str(settings.images),
            str(settings.batch_size),
        )


@dataclass(frozen=True)
class Row(Case):
    """The result.

    Images per second are medians over the rounds. `ratio` is the median over the rounds of the images per second of the
    training divided by those of the bare loop in the same round, between its quartiles `ratio_low` and `ratio_high`;
    `processor_ratio` is the same by the time of the processor instead of the clock.
    """

    rounds: str
    images_per_second: str
    bare_images_per_second: str
    ratio: str
    ratio_low: str
    ratio_high: str
    processor_ratio: str
    processor_ratio_low: str
    processor_ratio_high: str
    torch: str
    machine: str


def row_of(way: str, rounds: list[dict[str, list[float]]], settings: argparse.Namespace) -> Row:
    """Make the row of a way."""
    (bare, bare_processor), (training, training_processor) = (
        zip(*(each[loop] for each in rounds), strict=True) for loop in ("bare", "training")
    )
    images = settings.images // settings.batch_size * settings.batch_size
    return Row(
        *astuple(Case.of(way, settings)),
        str(len(rounds)),
        *(f"{images / quartiles(seconds).median:.0f}" for seconds in (training, bare)),
        *(f"{value:.3f}" for value in quartiles(ratios(bare, training))),
        *(f"{value:.3f}" for value in quartiles(ratios(bare_processor, training_processor))),
        torch.__version__,
        f"{platform.machine()}, {os.cpu_count()} cores",
    )


def readme_texts() -> dict[str, str]:
    """Make the table of the README beside results.csv."""
    return {MARKER: table(ResultRows(RESULTS, Row, Case))}


def table(rows: Iterable[Row]) -> str:
    """Make the table, with the speed of the training relative to that of the bare loop."""
    headings = [
        "images",
        "device",
        "batch",
        "images/s",
        "bare loop, images/s",
        "% of the bare loop",
        "by processor time",
    ]
    lines = [
        [
            row.way,
            f"{row.device}, {row.threads} thread{'s' * (row.threads != '1')}" if row.threads else row.device,
            row.batch_size,
            row.images_per_second,
            row.bare_images_per_second,
            percent(row.ratio, row.ratio_low, row.ratio_high),
            percent(row.processor_ratio, row.processor_ratio_low, row.processor_ratio_high) if row.threads else "–",
        ]
        for row in rows
    ]
    return markdown_table(headings, lines)


def percent(median: str, low: str, high: str) -> str:
    """Show a ratio and its quartiles."""
    middle, *ends = (f"{100 * float(value):.1f}" for value in (median, low, high))
    return f"{middle} ({ends[0]} to {ends[1]})"


if __name__ == "__main__":
    main()
