"""Train the same network with both engines from the same seeds; see README.md.

    python -m experiments.engine_equivalence.engine_equivalence [--quick] [--seeds 0 1 2] [--device cuda]

Trainings that are already in results.csv are not run again, unless --fresh is given.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from tqdm import tqdm

from camtrain import Objective
from camtrain.batch import Batch, collate
from camtrain.cams import GradCAM, normalize, resize
from camtrain.data import DecoyDigits, ImageFolderData
from camtrain.data.image_data_module import ImageDataModule, Split
from camtrain.gradients import DoubleBackprop, Engine, FrozenGates
from camtrain.metrics import EnergyPointingGame
from camtrain.networks import build_network
from camtrain.regularizers import InterpretableGradient
from camtrain.report.points import Estimate
from camtrain.report.tables import shown
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import ResultRows

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
MARKER = "results of experiments/engine_equivalence"
CLASSES = ["apple", "bear", "bicycle", "bottle", "bridge", "castle", "clock", "cup", "orchid", "tiger"]
MEAN, STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
ENGINES: dict[str, type[Engine]] = {"double backprop": DoubleBackprop, "frozen gates": FrozenGates}


@dataclass(frozen=True)
class Case:
    """One training. `engine` is empty at λ = 0, where no engine is used."""

    data: str
    network: str
    weight: str
    engine: str
    seed: str


@dataclass(frozen=True)
class Row(Case):
    """The result.

    Scores are those of all images after the last step; accuracies and energies are fractions. `energy_in_box` is the
    fraction of Grad-CAM's energy in the boxes, empty for data without boxes. `two_terms` is the fraction of the steps
    that took two terms.
    """

    epochs: str
    images: str
    accuracy: str
    loss_classification: str
    loss_regularizer: str
    train_loss_classification: str
    train_loss_regularizer: str
    energy_in_box: str
    two_terms: str
    floored: str
    seconds_per_step: str
    device: str


COLUMNS = {
    "accuracy": ("test accuracy, %", 100, 1),
    "loss_classification": ("test L_C", 1, 3),
    "loss_regularizer": ("test L_R", 1, 4),
    "train_loss_classification": ("training L_C", 1, 3),
    "train_loss_regularizer": ("training L_R", 1, 4),
    "energy_in_box": ("Grad-CAM energy in box, %", 100, 1),
    "two_terms": ("steps with two terms, %", 100, 0),
}


def main() -> None:
    """Train, write results.csv as the rows come, and the table of README.md."""
    settings = parsed()
    torch.set_num_threads(settings.threads)
    started = time.perf_counter()
    rows = ResultRows(settings.results, Row, Case, fresh=settings.fresh)
    for name in settings.data:
        wanted = [case for case in cases(name, settings) if case not in rows]
        if not wanted:
            continue
        data = data_module(name, settings)
        train, test = everything(data, "train", settings), everything(data, "test", settings)
        for case in wanted:
            row = trained(case, data, train, test, settings)
            rows.add(row)
            print(*astuple(row), f"({time.perf_counter() - started:.0f} s)", sep="  ", flush=True)
    if settings.results == RESULTS:
        put_texts(readme_texts(), HERE / "README.md")
    print(f"\n{table(rows)}\n\n{time.perf_counter() - started:.0f} s")


def parsed() -> argparse.Namespace:
    """Read the settings from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["cifar100", "digits"], choices=("cifar100", "digits"))
    parser.add_argument("--root", default="data/cifar100", help="folder of CIFAR-100 as a folder tree")
    parser.add_argument("--network", default="cifar_resnet20")
    parser.add_argument("--weights", nargs="+", type=float, default=[0.0, 7.5e-3, 0.1], help="λ; 0 is plain training")
    parser.add_argument("--distance", default="cosine")
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds of weights, batches and augmentation"
    )
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--train-images", type=int, help="number of training images; default: all")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="cifar_resnet8, 1000 images of CIFAR-100, 6 epochs")
    parser.add_argument("--fresh", action="store_true", help="delete the results first")
    settings = parser.parse_args()
    if settings.quick:
        settings.network, settings.epochs, settings.train_images = "cifar_resnet8", 6, 1000
        settings.data = ["cifar100"]
    return settings


def cases(name: str, settings: argparse.Namespace) -> list[Case]:
    """List the trainings seed by seed, so that an unfinished experiment compares equal seeds."""
    return [
        Case(name, settings.network, f"{weight:g}", engine, str(seed))
        for seed in settings.seeds
        for weight in settings.weights
        for engine in (ENGINES if weight else [""])
    ]


def data_module(name: str, settings: argparse.Namespace) -> ImageDataModule:
    """Make ten classes of CIFAR-100, or the embedded digits with their boxes."""
    if name == "digits":
        return DecoyDigits(decoy_strength=0.0)
    return ImageFolderData(settings.root, 32, "none", classes=CLASSES, mean=MEAN, std=STD)


def everything(data: ImageDataModule, split: Split, settings: argparse.Namespace) -> Batch:
    """Collect a whole split as one batch, in an order drawn once."""
    data_set = data.data_set(split)
    order = torch.randperm(len(data_set), generator=torch.Generator().manual_seed(0)).tolist()
    if split == "train" and settings.train_images:
        order = order[: settings.train_images]
    return collate([data_set[index] for index in order])


def trained(case: Case, data: ImageDataModule, train: Batch, test: Batch, settings: argparse.Namespace) -> Row:
    """Train with SGD, a cosine schedule, flips and shifts, all of which are the same for both engines."""
    torch.manual_seed(int(case.seed))
    network = build_network(case.network, data.num_classes).to(settings.device)
    weight = float(case.weight)
    engine = ENGINES[case.engine]() if case.engine else None
    objective = Objective(InterpretableGradient(settings.distance), weight, engine)
    images, labels = train.images.to(settings.device), labels_of(train).to(settings.device)
    optimizer = torch.optim.SGD(network.parameters(), settings.learning_rate, momentum=0.9, weight_decay=5e-4)
    steps = len(images) // settings.batch_size
    schedule = CosineAnnealingLR(optimizer, settings.epochs * steps)
    # The engines cannot draw from this generator.
    generator = torch.Generator().manual_seed(int(case.seed))
    notes: dict[str, list[float]] = {"two_terms": [], "floored": []}
    started = time.perf_counter()
    for _ in tqdm(range(settings.epochs), " ".join(astuple(case)), disable=None):
        order = torch.randperm(len(images), generator=generator)[: steps * settings.batch_size]
        for indices in order.view(steps, settings.batch_size):
            step = objective(network, augmented(images[indices.to(images.device)], generator), labels[indices])
            for name, kept in notes.items():
                kept.append(step.notes.get(name, 0.0))
            optimizer.zero_grad()
            step.loss.backward()
            optimizer.step()
            schedule.step()
    seconds = (time.perf_counter() - started) / (settings.epochs * steps)
    network.eval()
    of_test, of_train = scores(network, objective, test, settings), scores(network, objective, train, settings)
    return Row(
        *astuple(case),
        str(settings.epochs),
        str(len(images)),
        *(f"{of_test[name]:.5f}" for name in ("accuracy", "classification", "regularization")),
        *(f"{of_train[name]:.5f}" for name in ("classification", "regularization")),
        f"{energy_in_box(network, test, settings):.5f}" if data.has_boxes else "",
        f"{statistics.mean(notes['two_terms']):.3f}" if case.engine == "frozen gates" else "",
        f"{statistics.mean(notes['floored']):.3f}" if case.engine == "frozen gates" else "",
        f"{seconds:.4f}",
        settings.device,
    )


def labels_of(batch: Batch) -> Tensor:
    """Return the labels, which training and test images have."""
    assert batch.labels is not None
    return batch.labels


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip each image or not, and shift all of them alike by up to an eighth."""
    flipped = torch.rand(len(images), generator=generator) < 0.5
    flipped = flipped[:, None, None, None].to(images.device)
    images = torch.where(flipped, images.flip(3), images)
    size = images.shape[-1]
    margin = size // 8
    top, left = torch.randint(2 * margin + 1, (2,), generator=generator).tolist()
    return F.pad(images, [margin] * 4)[:, :, top : top + size, left : left + size]


def scores(network: nn.Module, objective: Objective, split: Batch, settings: argparse.Namespace) -> dict[str, float]:
    """Compute accuracy, L_C and L_R of all images of a split, in evaluation mode."""
    sums = dict.fromkeys(("accuracy", "classification", "regularization"), 0.0)
    for images, labels in zip(split.images.split(256), labels_of(split).split(256), strict=True):
        step = objective.measure(network, images.to(settings.device), labels.to(settings.device))
        sums["accuracy"] += float((step.logits.argmax(1).cpu() == labels).sum())
        sums["classification"] += float(step.classification) * len(images)
        sums["regularization"] += float(step.regularization) * len(images)
    return {name: total / len(split) for name, total in sums.items()}


def energy_in_box(network: nn.Module, split: Batch, settings: argparse.Namespace) -> float:
    """Compute the energy in the boxes of Grad-CAM of the predicted class."""
    assert split.boxes is not None  # it is called only for data with boxes
    metric, cam = EnergyPointingGame(), GradCAM(network)
    for start in range(0, len(split), 256):
        images = split.images[start : start + 256].to(settings.device)
        maps = resize(normalize(cam(images)), (images.shape[2], images.shape[3]))
        metric.update(maps.cpu(), split.boxes[start : start + 256])
    return float(metric.compute())


def readme_texts() -> dict[str, str]:
    """Make the table of the README beside results.csv."""
    return {MARKER: table(ResultRows(RESULTS, Row, Case))}


def table(rows: Iterable[Row]) -> str:
    """List mean ± standard deviation over the seeds of each setting, and the engines' differences, seed by seed."""
    groups: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.data, row.network, row.epochs, row.weight), []).append(row)
    lines = []
    for key, group in groups.items():
        by_engine = {engine: [row for row in group if row.engine == engine] for engine in ("", *ENGINES)}
        for engine, of_engine in by_engine.items():
            if of_engine:
                cells = [spread([getattr(row, column) for row in of_engine], column) for column in COLUMNS]
                lines.append([*key, engine or "plain", str(len(of_engine)), *cells])
        pairs = [
            (slow, fast)
            for slow in by_engine["double backprop"]
            for fast in by_engine["frozen gates"]
            if slow.seed == fast.seed
        ]
        if pairs:
            cells = [difference(pairs, column) for column in COLUMNS]
            lines.append([*key, "frozen gates − double backprop", str(len(pairs)), *cells])
    headings = ["data", "network", "epochs", "λ", "engine", "seeds", *(title for title, _, _ in COLUMNS.values())]
    return markdown_table(headings, lines)


def difference(pairs: list[tuple[Row, Row]], column: str) -> str:
    """Summarize the differences between two engines, seed by seed."""
    values = [(getattr(slow, column), getattr(fast, column)) for slow, fast in pairs]
    return spread([str(float(fast) - float(slow)) for slow, fast in values if slow and fast], column)


def spread(texts: list[str], column: str) -> str:
    """Show mean ± standard deviation, or a dash if there is no value."""
    _, factor, digits = COLUMNS[column]
    return shown(Estimate.of([factor * float(text) for text in texts if text]), digits)


if __name__ == "__main__":
    main()
