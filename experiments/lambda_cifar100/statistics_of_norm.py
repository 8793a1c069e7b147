"""Measures L_R of the trained networks with BatchNorm's batch statistics, as in training, and with running statistics.

    python -m experiments.lambda_cifar100.statistics_of_norm

The images are the test images, shuffled; the checkpoints are those that were scored. The command needs all runs of
run.sh, and writes statistics_of_norm.csv and the README's table.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor, nn

from camtrain import Objective
from camtrain.data import CIFAR100, ImageFolderData
from camtrain.gradients import BatchNormStatistics
from camtrain.regularizers import InterpretableGradient
from camtrain.report.points import WEIGHT, Estimate
from camtrain.report.tables import shown
from camtrain.study import Study
from experiments.lambda_cifar100.table import HERE, MARKER, NETWORKS
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import read_rows, write_rows
from experiments.trained_runs import trained_network

RESULTS = HERE / "statistics_of_norm.csv"
BATCH = 64
COLUMNS: tuple[BatchNormStatistics, ...] = ("batch", "running")


def main() -> None:
    """Measure, write, print."""
    write_rows(RESULTS, ["network", "λ", "seed", *COLUMNS], [row for folder in NETWORKS for row in rows_of(folder)])
    put_texts(readme_texts(), HERE / "README.md")
    print(*readme_texts().values())


def readme_texts() -> dict[str, str]:
    """Make the README's table: mean ± standard deviation over the seeds."""
    grouped: dict[tuple[str, float], list[dict[str, str]]] = defaultdict(list)
    for row in read_rows(RESULTS):
        grouped[row["network"], float(row["λ"])].append(row)
    lines = []
    for (folder, weight), rows in grouped.items():
        estimates = [Estimate.of([float(row[column]) for row in rows]) for column in COLUMNS]
        lines.append([NETWORKS[folder], f"{weight:g}", *(shown(estimate, digits=3) for estimate in estimates)])
    headings = ["network", "λ", *(f"L_R, {each} statistics" for each in COLUMNS)]
    return {MARKER.format("statistics"): markdown_table(headings, lines)}


def rows_of(folder: str) -> list[tuple[str, float, int, float, float]]:
    """Measure every trial of one network's study."""
    study = Study.opened(Path(f"runs/lambda_cifar100_{folder}"))
    data = ImageFolderData(
        "data/cifar100",
        image_size=32,
        classes=study.trials[0].config["data"]["init_args"]["classes"],
        batch_size=BATCH,
        mean=CIFAR100.default_mean,
        std=CIFAR100.default_std,
    )
    data.setup("test")
    batches = list(data.test_dataloader())
    images = torch.cat([batch.images for batch in batches])
    labels = torch.cat([batch.labels for batch in batches])
    # The images are stored class by class, and a batch of one class has other statistics than the batches of training.
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    rows = []
    for trial in study.trials:
        network = trained_network(study.folder_of(trial)).train()
        batch, running = (round(measured(network, images[order], labels[order], each), 4) for each in COLUMNS)
        rows.append((folder, float(trial.point[WEIGHT]), trial.seed, batch, running))
    return rows


def measured(network: nn.Module, images: Tensor, labels: Tensor, statistics: BatchNormStatistics) -> float:
    """Compute L_R over full batches."""
    objective = Objective(InterpretableGradient("cosine", batch_norm_statistics=statistics), 1.0)
    parts = [
        float(objective.measure(network, images[at : at + BATCH], labels[at : at + BATCH]).regularization)
        for at in range(0, len(images) - BATCH + 1, BATCH)
    ]
    return sum(parts) / len(parts)


if __name__ == "__main__":
    main()
