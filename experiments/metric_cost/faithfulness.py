"""Measure what insertion and deletion cost, beside torch-cam, Quantus and the bare forward passes; see README.md.

    python -m experiments.metric_cost.faithfulness [--figures insertion_deletion epoch]

All contenders take turns in one process, round by round, on the same network and images. torch-cam and Quantus are
called as their users call them. Rows that are in the results already are not measured again.
"""

from __future__ import annotations

import argparse
import platform
import warnings
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camtrain import Objective
from camtrain.batch import Batch
from camtrain.blurred import blurred
from camtrain.evaluation import EvaluationSettings, Evaluator
from camtrain.methods import method_named, normalized_maps
from camtrain.metrics import area_under_curve
from camtrain.networks import build_network
from camtrain.regularizers import InterpretableGradient
from experiments.measuring import quartiles, ratios, seconds_by_round
from experiments.result_rows import ResultRows

HERE = Path(__file__).parent
RESULTS = HERE / "faithfulness.csv"
FIGURES = ("insertion_deletion", "epoch")
FORWARD = "the forward passes alone"
MAX_BATCH = 32
NUM_STEPS = 24  # Quantus flips values, three a pixel, and wants a number of them that divides the number of pixels
TRAINING_IMAGES, EPOCH_BATCH = 45_000, 128  # CIFAR-100 without a tenth for validation
SCORED_IMAGES = 64


@dataclass(frozen=True)
class Case:
    """What was measured."""

    figure: str
    contender: str
    images: str
    size: str
    threads: str
    seed: str


@dataclass(frozen=True)
class Row(Case):
    """The result: the seconds of a round, and their ratio to the baseline of the same round."""

    rounds: str
    seconds_median: str
    seconds_low: str
    seconds_high: str
    ratio: str
    ratio_low: str
    ratio_high: str
    remark: str
    versions: str


def main() -> None:
    """Measure, and write the rows of each figure as they come."""
    settings = parsed()
    torch.set_num_threads(settings.threads)
    warnings.filterwarnings("ignore", module="quantus")
    rows = ResultRows(settings.results, Row, Case, fresh=settings.fresh)
    for name in settings.figures:
        # The rows of a figure are added together: if the first is there, all of them are.
        if first_case(name, settings) in rows:
            continue
        found = {"insertion_deletion": insertion_deletion, "epoch": epoch}[name](settings)
        rows.add(*found)
        for row in found:
            print(*astuple(row), sep="  ", flush=True)


def parsed() -> argparse.Namespace:
    """Read the settings from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", nargs="+", default=list(FIGURES), choices=FIGURES)
    parser.add_argument("--images", type=int, default=8, help="number of images for insertion and deletion")
    parser.add_argument("--size", type=int, default=224, help="their size in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="number of threads on the CPU")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and images")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to append to")
    parser.add_argument("--fresh", action="store_true", help="delete that file first")
    return parser.parse_args()


# Insertion and deletion


def insertion_deletion(settings: argparse.Namespace) -> list[Row]:
    """Time both curves of a batch with Grad-CAM, with the same number of steps for all contenders."""
    import quantus
    from torchcam.methods import GradCAM as LibraryGradCAM
    from torchcam.metrics import DeletionInsertionMetric

    network, images = network_and_images("resnet18", settings.images, settings.size, settings.seed)
    classes = network(images).argmax(dim=1).detach()
    grad_cam = method_named("grad_cam", network, "layer4")
    evaluator = Evaluator(network, {"grad_cam": grad_cam}, ["insertion_auc", "deletion_auc"],
                          EvaluationSettings(num_steps=NUM_STEPS), MAX_BATCH)  # fmt: skip
    # Passes of the image, the map, the two ends that are no images, and the steps between.
    needed = settings.images * (1 + 1 + 2 + 2 * (NUM_STEPS - 1))
    found: dict[str, tuple[float, ...]] = {}

    def camtrain() -> None:
        rows = evaluator(Batch(images)).rows
        found["camtrain"] = tuple(
            float(evaluator.metric(name).value(rows["grad_cam", name].sum(dim=0)))
            for name in ("insertion_auc", "deletion_auc")
        )

    @torch.no_grad()
    def bare() -> None:
        for start in range(0, needed, MAX_BATCH):
            network(images.repeat(MAX_BATCH // len(images) + 1, 1, 1, 1)[: min(MAX_BATCH, needed - start)])

    def torchcam() -> None:
        with LibraryGradCAM(network, "layer4") as extractor:
            metric = DeletionInsertionMetric(extractor, partial(torch.softmax, dim=-1), steps=NUM_STEPS,
                                             baseline=blurred, batch_size=MAX_BATCH)  # fmt: skip
            metric.update(images)
        found["torch-cam"] = (metric.summary()["insertion_auc"], metric.summary()["deletion_auc"])

    def pixel_flipping() -> None:
        metric = quantus.PixelFlipping(features_in_step=3 * settings.size**2 // NUM_STEPS, perturb_baseline=0.0,
                                       perturb_func=with_zeros, return_auc_per_sample=False,
                                       disable_warnings=True, display_progressbar=False)  # fmt: skip
        maps = normalized_maps(grad_cam, images, classes).unsqueeze(1).numpy()
        scores = metric(network, images.numpy(), classes.numpy(), a_batch=maps, device="cpu", softmax=True,
                        batch_size=MAX_BATCH)  # fmt: skip
        # Quantus' curves have no first point, and its own area needs an older NumPy.
        found["Quantus"] = (float("nan"), float(area_under_curve(torch.tensor(np.array(scores))).mean()))

    contenders = {FORWARD: bare, "camtrain": camtrain, "torch-cam": torchcam,
                  "Quantus, pixel flipping (deletion alone)": pixel_flipping}  # fmt: skip
    seconds = seconds_by_round(contenders, settings.rounds, warm_up=1)
    remarks = {name: "insertion {:.5f}, deletion {:.5f}".format(*each) for name, each in found.items()}
    return [
        result("insertion_deletion", name, seconds, FORWARD, (settings.images, settings.size), settings,
            next((text for key, text in remarks.items() if name.startswith(key)), f"{needed} passes"))
        for name in contenders
    ]  # fmt: skip


def with_zeros(arr: np.ndarray, indices: np.ndarray, **_: object) -> np.ndarray:
    """Replace the values at these places of each flat image by 0, as deletion does; Quantus calls this."""
    changed = arr.copy()
    np.put_along_axis(changed, indices, 0.0, axis=1)
    return changed


# An epoch


def epoch(settings: argparse.Namespace) -> list[Row]:
    """Time what `FaithfulnessScores` adds to an epoch of CIFAR-100 and ResNet-18: scores of 64 images, not leakage."""
    network, images = network_and_images("cifar_resnet18", EPOCH_BATCH, 32, settings.seed)
    labels = torch.randint(100, (EPOCH_BATCH,), generator=torch.Generator().manual_seed(settings.seed))
    metrics = ["average_drop", "average_increase", "average_gain", "insertion_auc", "deletion_auc"]
    evaluator = Evaluator(network, {"grad_cam": method_named("grad_cam", network)}, metrics,
                          EvaluationSettings())  # fmt: skip
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)

    def step(objective: Objective) -> None:
        network.train()
        optimizer.zero_grad()
        objective(network, images, labels).loss.backward()
        optimizer.step()

    def scores() -> None:
        network.eval()
        for start in range(0, SCORED_IMAGES, 16):
            evaluator(Batch(images[start : start + 16]))

    plain, regularized = (
        Objective(InterpretableGradient(), weight=0.0),
        Objective(InterpretableGradient(), weight=7.5e-3),
    )
    contenders: dict[str, Callable[[], object]] = {
        "a plain step": lambda: step(plain),
        "a regularized step": lambda: step(regularized),
        f"scores of {SCORED_IMAGES} images": scores,
    }
    seconds = seconds_by_round(contenders, settings.rounds, warm_up=1)
    steps = TRAINING_IMAGES // EPOCH_BATCH
    rows = []
    for training in ("a plain step", "a regularized step"):
        of_epoch = {"scores": seconds[f"scores of {SCORED_IMAGES} images"],
                    "epoch": [steps * one for one in seconds[training]]}  # fmt: skip
        remark = f"share of the time of {steps} steps, each {training.removeprefix('a ')}; validation not counted"
        rows.append(result(f"epoch, {training.removeprefix('a ')}s", "scores", of_epoch, "epoch", (SCORED_IMAGES, 32),
                        settings, remark))  # fmt: skip
    return rows


# Measuring


def network_and_images(name: str, count: int, size: int, seed: int) -> tuple[nn.Module, Tensor]:
    """Make smooth random images, and a random network with BatchNorm statistics of them in evaluation mode."""
    torch.manual_seed(seed)
    images = F.interpolate(torch.randn(count, 3, 8, 8), size=(size, size), mode="bilinear")
    if name == "cifar_resnet18":
        from camtrain.networks import with_small_image_stem

        network = with_small_image_stem(build_network("resnet18", 100))
    else:
        network = build_network(name, 1000)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
    with torch.no_grad():
        network.train()(images[:16])
    return network.eval(), images


def first_case(figure: str, settings: argparse.Namespace) -> Case:
    """Return the case of a figure's first row."""
    if figure == "epoch":
        return case("epoch, plain steps", "scores", (SCORED_IMAGES, 32), settings)
    return case(figure, FORWARD, (settings.images, settings.size), settings)


def case(figure: str, contender: str, what: tuple[int, int], settings: argparse.Namespace) -> Case:
    """Make the case of a contender, with the number of images and their size in pixels."""
    images, size = what
    return Case(figure, contender, str(images), str(size), str(settings.threads), str(settings.seed))


def result(
    figure: str, contender: str, seconds: dict[str, list[float]], baseline: str, what: tuple[int, int],
    settings: argparse.Namespace, remark: str,
) -> Row:  # fmt: skip
    """Summarize the rounds of one contender: its time, and its ratio to the baseline of the same round."""
    relative = ratios(seconds[contender], seconds[baseline])
    return Row(
        *astuple(case(figure, contender, what, settings)), str(settings.rounds),
        *(f"{value:.4f}" for value in quartiles(seconds[contender])),
        *(f"{value:.4f}" for value in quartiles(relative)),
        remark, f"torch {torch.__version__}, {versions()}, {platform.machine()}",
    )  # fmt: skip


def versions() -> str:
    """Name the versions of the other libraries."""
    return ", ".join(f"{name} {version(name)}" for name in ("torchcam", "quantus"))


if __name__ == "__main__":
    main()
