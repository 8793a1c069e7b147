"""Trains three data sets with each optimizer, without a schedule, as somebody does who names none.

    python -m experiments.default_optimizer.study [--only digits]

Results are in results.csv; what is there is not made again, and a training that was stopped goes on. Then the table of
this folder's README is written.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from camtrain import ablate
from camtrain.report.points import WEIGHT
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import read_rows, write_rows

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
RUNS = Path("runs/default_optimizer")
SEEDS = (0, 1, 2)
COLUMNS = ("data", "optimizer", "seed", "accuracy", "loss")
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD, 0.1, momentum 0.9": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "momentum": 0.9}},
    "SGD, 0.01, momentum 0.9": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.01, "momentum": 0.9}},
    "AdamW, 0.001": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
    "AdamW, 0.0003": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 3e-4}},
    "AdamW, 0.0001": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-4}},
}
_QUIET = {
    "trainer.enable_progress_bar": False,
    "trainer.enable_model_summary": False,
    "cam_logger.num_images": 0,
    "faithfulness_scores.num_images": 0,
    "localization_scores.num_images": 0,
    "checkpoint.monitor": None,  # the last epoch is tested
    "model.regularizer": None,
    "model.lr_scheduler": None,
}
_RESNET8 = {
    "class_path": "camtrain.networks.CIFARResNet",
    "init_args": {"depth": 8, "num_classes": 3, "stem_stride": 2},
}
DATA: dict[str, tuple[str, str, dict[str, Any]]] = {
    "digits": (
        "DecoyDigits without decoy, ResNet-8, 8 epochs",
        "configs/decoydigits_resnet8_map_faithfulness.yaml",
        {"data.init_args.decoy_strength": 0.0, "trainer.max_epochs": 8},
    ),
    "pets": (
        "three breeds of pets, ResNet-8 from random weights, 12 epochs",
        "experiments/attention_pets/base.yaml",
        {"model.network": _RESNET8, "data.init_args.image_size": 64, "trainer.max_epochs": 12},
    ),
    "pretrained": (
        "three breeds of pets, pretrained EfficientNet-Lite0, 4 epochs",
        "experiments/attention_pets/base.yaml",
        {},
    ),
}


def main() -> None:
    """Train what has no row yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=DATA, default=list(DATA), help="the data sets to train on")
    rows = read_rows(RESULTS)
    done = {(row["data"], row["optimizer"], int(row["seed"])) for row in rows}
    for data, optimizer, seed in cases(parser.parse_args().only):
        if (data, optimizer, seed) not in done:
            rows.append(trained(data, optimizer, seed))
            write_rows(RESULTS, COLUMNS, rows)
    put_texts(readme_texts(), HERE / "README.md")


def cases(only: list[str]) -> Iterator[tuple[str, str, int]]:
    """What is to be trained, seed by seed."""
    return ((data, optimizer, seed) for seed in SEEDS for data in only for optimizer in OPTIMIZERS)


def trained(data: str, optimizer: str, seed: int) -> dict[str, str]:
    """Train once; a training whose loss is not finite has no accuracy."""
    _, path, changes = DATA[data]
    config = OmegaConf.load(path)
    for key, value in {**_QUIET, **changes, "model.optimizer": OPTIMIZERS[optimizer]}.items():
        OmegaConf.update(config, key, value, merge=False, force_add=True)
    content: Any = OmegaConf.to_container(config, resolve=False)
    name = "".join(letter if letter.isalnum() else "_" for letter in optimizer)
    study = ablate(
        content,
        {WEIGHT: [0.0]},
        seeds=[seed],
        folder=RUNS / data / name / f"seed_{seed}",
        evaluation=None,
        jobs=1,
        threads=1,
        wandb="disabled",
    )
    row = {"data": data, "optimizer": optimizer, "seed": str(seed)}
    if study.failed:
        print(f"{data}, {optimizer}, seed {seed}: {study.failed[0].message}", flush=True)
        return {**row, "accuracy": "", "loss": "not finite"}
    (found,) = study.rows
    accuracy, loss = float(found["test/accuracy"]), float(found["test/loss"])
    print(f"{data}, {optimizer}, seed {seed}: accuracy {accuracy:.3f}, loss {loss:.3g}", flush=True)
    return {**row, "accuracy": f"{accuracy:.6g}", "loss": f"{loss:.6g}"}


def readme_texts() -> dict[str, str]:
    """Make the table: accuracy on test images, and the largest loss."""
    rows = read_rows(RESULTS)
    headings = ["optimizer, learning rate", *(title for title, *_ in DATA.values())]
    lines = [
        [
            optimizer,
            *(_cell([row for row in rows if (row["data"], row["optimizer"]) == (data, optimizer)]) for data in DATA),
        ]
        for optimizer in OPTIMIZERS
    ]
    return {"results of experiments/default_optimizer": markdown_table(headings, lines)}


def _cell(rows: list[dict[str, str]]) -> str:
    if not rows:
        return "not measured"
    values = [100 * float(row["accuracy"]) for row in rows if row["accuracy"]]
    if len(values) < len(rows):
        return f"diverged in {len(rows) - len(values)} of {len(rows)}"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread} % (loss at most {max(float(row['loss']) for row in rows):.2g})"


if __name__ == "__main__":
    main()
