"""Measure what maps cost, beside captum and pytorch-grad-cam; see README.md.

    python -m experiments.cam_cost.cam_cost [--quick] [--figures grad_cam ...] [--checkpoint CKPT --photos FILE ...]

Rows that are already in results.csv are not measured again, unless --fresh is given.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import LayerGradCam, NoiseTunnel, Saliency
from PIL import Image
from pytorch_grad_cam import AblationCAM as LibraryAblationCAM
from pytorch_grad_cam import GradCAM as LibraryGradCAM
from pytorch_grad_cam import ScoreCAM as LibraryScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from scipy.stats import spearmanr
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torchvision.transforms.v2.functional import pil_to_tensor

from camtrain import load_network
from camtrain.attributions import IntegratedGradients, SmoothGrad
from camtrain.cams import AblationCAM, GradCAM, ScoreCAM, grad_cam, normalize, resize
from camtrain.cams.score_cam import channel_masks
from camtrain.data.image_data_module import IMAGENET_MEAN, IMAGENET_STD
from camtrain.gradients import captured_activations, class_score
from camtrain.networks import build_network
from experiments.measuring import quartiles, ratios, seconds_by_round
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import ResultRows

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
MARKER = "results of experiments/cam_cost"
OURS, CAPTUM, LIBRARY = "camtrain", "captum", "pytorch-grad-cam"
MAX_BATCH = 32  # images in one pass
TOP_K = (8, 32, 128)
NUM_CLASSES = 1000


class Contest(NamedTuple):
    """The callables that are timed in turn, in one process.

    Attributes:
        contenders: The callables that are timed, by name; each returns maps or nothing.
        baseline: The name of the contender that the times of the others are divided by.
        remarks: A function from the maps of one round, by contender, to remarks, by contender.
    """

    contenders: dict[str, Callable[[], Tensor | None]]
    baseline: str
    remarks: Callable[[dict[str, Tensor | None]], dict[str, str]]


class Figure(NamedTuple):
    """A figure of the table: the network, its images, and the largest number of rounds."""

    contest: Callable[[nn.Module, Tensor, argparse.Namespace], Contest]
    network: str
    images: int
    size: int
    rounds: int


def main() -> None:
    """Measure, write results.csv as the rows come, and the table of README.md."""
    settings = parsed()
    torch.set_num_threads(settings.threads)
    # captum warns about images that do not require a gradient, and the like.
    warnings.filterwarnings("ignore", module="captum")
    started = time.perf_counter()
    rows = ResultRows(settings.results, Row, Case, fresh=settings.fresh)
    for name in settings.figures:
        # The rows of a figure come from the same rounds: either all of them are there, or none.
        if Case.of(name, "", settings) in {replace(rows.case_of(row), contender="") for row in rows}:
            continue
        found = measured(name, settings)
        rows.add(*found)
        for row in found:
            print(*astuple(row), sep="  ", flush=True)
    if settings.results == RESULTS:
        put_texts(readme_texts(), HERE / "README.md")
    print(f"\n{table(rows)}\n\n{time.perf_counter() - started:.0f} s")


def parsed() -> argparse.Namespace:
    """Read the settings from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", nargs="+", default=list(FIGURES), choices=FIGURES)
    parser.add_argument(
        "--rounds", type=int, default=20, help="largest number of rounds that count; slow figures take fewer"
    )
    parser.add_argument("--threads", type=int, default=1, help="number of threads on the CPU")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, crops, labels and noise")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint of a ResNet-18, instead of random weights")
    parser.add_argument("--photos", nargs="+", type=Path, help="image files, instead of scikit-learn's two photographs")
    parser.add_argument("--results", type=Path, help="default: results.csv beside this file; with --quick, elsewhere")
    parser.add_argument(
        "--quick", action="store_true", help="few small images and rounds, to see that everything works"
    )
    parser.add_argument("--fresh", action="store_true", help="delete the results first")
    settings = parser.parse_args()
    if settings.results is None:
        settings.results = Path(tempfile.gettempdir()) / "cam_cost_quick" / "results.csv" if settings.quick else RESULTS
    if settings.quick:
        settings.rounds = 1
    return settings


# Networks and images


def network_for(name: str, images: Tensor, settings: argparse.Namespace) -> nn.Module:
    """Load the checkpoint, or make random weights with BatchNorm statistics of these images; in evaluation mode.

    With these statistics alone a random network is chaotic: rounding errors grow from layer to layer, unlike in a
    trained one. Biases as large as the values that they are added to prevent that.
    """
    if name == "resnet18" and settings.checkpoint is not None:
        return load_network(settings.checkpoint, device="cpu").network
    torch.manual_seed(settings.seed)
    network = build_network(name, NUM_CLASSES)
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.fill_(0.5)
            layer.bias.normal_(0.5, 0.5)
            layer.momentum = 1.0
        network.train()(images)
    return network.eval()


def photographs(count: int, size: int, settings: argparse.Namespace) -> Tensor:
    """Make random crops of photographs, (count, 3, size, size), normalized like ImageNet's images."""
    if settings.photos:
        stored = [pil_to_tensor(Image.open(path).convert("RGB")) for path in settings.photos]
    else:
        stored = [torch.tensor(photo).permute(2, 0, 1) for photo in load_sample_images().images]
    generator = torch.Generator().manual_seed(settings.seed)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    crops = []
    for number in range(count):
        photo = stored[number % len(stored)].float() / 255
        side = int(0.8 * min(photo.shape[1:]))
        top, left = (int(torch.randint(length - side + 1, (), generator=generator)) for length in photo.shape[1:])
        crop = photo[None, :, top : top + side, left : left + side]
        crops.append(F.interpolate(crop, size=(size, size), mode="bilinear", antialias=True))
    return (torch.cat(crops) - mean) / std


@torch.no_grad()
def predicted(network: nn.Module, images: Tensor) -> Tensor:
    """Predict the classes of the images, (N,)."""
    return network(images).argmax(dim=1)


def forward(network: nn.Module, images: Tensor) -> None:
    """Run one pass without a graph."""
    with torch.no_grad():
        network(images)


# Other libraries


def library_call(method: Any, network: nn.Module, images: Tensor, classes: Tensor) -> Callable[[], Tensor]:
    """Call a class of pytorch-grad-cam; the call returns the map before it is resized and normalized.

    Each call adds the hooks and removes them, so that they slow nobody else down.
    """

    class Kept(method):  # type: ignore[misc]
        """Keeps the map before it is resized."""

        def get_cam_image(self, *args: Any, **kwargs: Any) -> Any:
            self.kept = super().get_cam_image(*args, **kwargs)
            return self.kept

    def call() -> Tensor:
        # There is no option that turns its progress bars off.
        with contextlib.redirect_stderr(io.StringIO()), Kept(network, [network.layer4]) as theirs:
            theirs(images, [ClassifierOutputTarget(int(each)) for each in classes])
        return torch.from_numpy(theirs.kept).clamp(min=0)

    return call


def agreement(found: Tensor | None, expected: Tensor | None) -> str:
    """Show the largest difference of two maps, as a fraction of the largest value."""
    assert found is not None and expected is not None  # noqa: PT018
    found, expected = found.detach().double().reshape(expected.shape), expected.detach().double()
    difference = float((found - expected).abs().max() / expected.abs().max())
    return f"{difference:.0e}" if difference else "0"


# Figures


def grad_cam_contest(network: nn.Module, images: Tensor, settings: argparse.Namespace) -> Contest:
    """Compare Grad-CAM of a batch."""
    classes = predicted(network, images)

    def captum() -> Tensor:
        theirs = LayerGradCam(network, network.layer4)
        return theirs.attribute(images, target=classes, relu_attributions=True).squeeze(1)

    differentiable = f"{OURS}, differentiable"
    contenders: dict[str, Callable[[], Tensor | None]] = {
        "one forward pass": lambda: forward(network, images),
        OURS: lambda: GradCAM(network, "layer4")(images, classes),
        differentiable: lambda: GradCAM(network, "layer4", differentiable=True)(images, classes),
        CAPTUM: captum,
        LIBRARY: library_call(LibraryGradCAM, network, images, classes),
    }

    def remarks(maps: dict[str, Tensor | None]) -> dict[str, str]:
        others = (differentiable, CAPTUM, LIBRARY)
        return {name: f"map differs from camtrain's by {agreement(maps[name], maps[OURS])}" for name in others}

    return Contest(contenders, "one forward pass", remarks)


def ablation_cam_contest(network: nn.Module, images: Tensor, settings: argparse.Namespace) -> Contest:
    """Compare Ablation-CAM of one image."""
    classes = predicted(network, images)
    contenders: dict[str, Callable[[], Tensor | None]] = {
        OURS: lambda: AblationCAM(network, "layer4", max_batch=MAX_BATCH)(images, classes),
        LIBRARY: library_call(LibraryAblationCAM, network, images, classes),
        "one forward pass": lambda: forward(network, images),
    }

    def remarks(maps: dict[str, Tensor | None]) -> dict[str, str]:
        return {LIBRARY: f"map differs from camtrain's by {agreement(maps[LIBRARY], maps[OURS])}"}

    return Contest(contenders, OURS, remarks)


def score_cam_contest(network: nn.Module, images: Tensor, settings: argparse.Namespace) -> Contest:
    """Compare Score-CAM of one image, with all channels and with the strongest ones."""
    classes = predicted(network, images)
    masked, channels = masked_images(network, images)

    def masked_passes() -> None:
        for chunk in masked.split(MAX_BATCH):
            forward(network, chunk)

    contenders: dict[str, Callable[[], Tensor | None]] = {
        "the masked forward passes alone": masked_passes,
        OURS: lambda: ScoreCAM(network, "layer4", max_batch=MAX_BATCH)(images, classes),
        LIBRARY: library_call(LibraryScoreCAM, network, images, classes),
    }
    for top_k in TOP_K:
        contenders[f"{OURS}, top_k={top_k}"] = lambda top_k=top_k: ScoreCAM(
            network, "layer4", max_batch=MAX_BATCH, num_channels=top_k
        )(images, classes)

    def remarks(maps: dict[str, Tensor | None]) -> dict[str, str]:
        flat = channels - len(masked)
        found = {
            OURS: f"{flat} of {channels} channels are flat ({flat / channels:.1%}) and skipped",
            LIBRARY: "another variant: softmax over the channels, corners aligned, no channel skipped",
        }
        for top_k in TOP_K:
            name = f"{OURS}, top_k={top_k}"
            found[name] = map_error(maps[name], maps[OURS])
        return found

    return Contest(contenders, "the masked forward passes alone", remarks)


@torch.no_grad()
def masked_images(network: nn.Module, images: Tensor) -> tuple[Tensor, int]:
    """Mask the image by each channel that is not flat, (m, 3, H, W); also return the number of all channels."""
    with captured_activations(network.layer4, gradients=False) as captured:
        network(images)
    (activations,) = captured.activations
    needed = activations.amax(dim=(1, 2)) > activations.amin(dim=(1, 2))
    masks = channel_masks(activations[needed], (images.shape[2], images.shape[3]))
    return images * masks.unsqueeze(1), len(activations)


def map_error(found: Tensor | None, expected: Tensor | None) -> str:
    """Show how far a normalized map is off: its relative L2 error and the rank correlation of its pixels."""
    assert found is not None and expected is not None  # noqa: PT018
    normalized, full = normalize(found).flatten(), normalize(expected).flatten()
    error = float((normalized - full).norm() / full.norm())
    return f"relative L2 error of the map {error:.3f}, rank correlation {spearmanr(normalized, full).statistic:.3f}"


def integrated_gradients_contest(network: nn.Module, images: Tensor, settings: argparse.Namespace) -> Contest:
    """Compare Integrated Gradients at the same points of the path."""
    classes, steps = predicted(network, images), 4 if settings.quick else 32

    def captum(internal_batch_size: int | None) -> Tensor:
        theirs = CaptumIntegratedGradients(network)
        options = {"n_steps": steps, "method": "riemann_middle", "internal_batch_size": internal_batch_size}
        return theirs.attribute(images.clone(), target=classes, **options)

    split = f"{CAPTUM}, {MAX_BATCH} images in a pass"
    contenders: dict[str, Callable[[], Tensor | None]] = {
        CAPTUM: lambda: captum(None),
        split: lambda: captum(MAX_BATCH),
        OURS: lambda: IntegratedGradients(network, num_steps=steps, tolerance=None, max_batch=MAX_BATCH)(
            images, classes
        ),
    }
    return Contest(contenders, CAPTUM, lambda maps: equal_to_captum(maps, f"{steps} steps"))


def smooth_grad_contest(network: nn.Module, images: Tensor, settings: argparse.Namespace) -> Contest:
    """Compare SmoothGrad of one image with the same noise; captum draws other noise for the next image of a batch."""
    classes, samples, level = predicted(network, images), 8 if settings.quick else 64, 0.15
    spread = level * float(images.max() - images.min())

    def captum(internal_batch_size: int | None) -> Tensor:
        torch.manual_seed(settings.seed)
        options = {"nt_samples": samples, "stdevs": spread, "nt_samples_batch_size": internal_batch_size}
        theirs = NoiseTunnel(Saliency(network))
        return theirs.attribute(images.clone(), target=classes, abs=False, **options)

    def ours() -> Tensor:
        torch.manual_seed(settings.seed)
        method = SmoothGrad(network, num_samples=samples, noise_level=level, max_batch=MAX_BATCH)
        return method(images, classes)

    split = f"{CAPTUM}, {MAX_BATCH} images in a pass"
    contenders: dict[str, Callable[[], Tensor | None]] = {
        CAPTUM: lambda: captum(None),
        split: lambda: captum(MAX_BATCH),
        OURS: ours,
    }
    return Contest(contenders, CAPTUM, lambda maps: equal_to_captum(maps, f"{samples} samples"))


def equal_to_captum(maps: dict[str, Tensor | None], what: str) -> dict[str, str]:
    """Make the remarks where both libraries make the same map."""
    return {CAPTUM: what, OURS: f"{what}; differs from captum's by {agreement(maps[OURS], maps[CAPTUM])}"}


def training_contest(network: nn.Module, images: Tensor, settings: argparse.Namespace) -> Contest:
    """Compare training steps with a penalty on a differentiable Grad-CAM."""
    network.train()
    generator = torch.Generator().manual_seed(settings.seed)
    labels = torch.randint(NUM_CLASSES, (len(images),), generator=generator)
    # The map should be small outside of a box.
    outside = torch.ones(images.shape[-2:])
    quarter = images.shape[-1] // 4
    outside[quarter:-quarter, quarter:-quarter] = 0

    def outside_the_box(cams: Tensor) -> Tensor:
        return (normalize(resize(cams, (images.shape[2], images.shape[3]))) * outside).mean()

    def plain() -> None:
        network.zero_grad()
        F.cross_entropy(network(images), labels).backward()

    def penalized(layer: nn.Module) -> None:
        network.zero_grad()
        with captured_activations(layer, differentiable=True) as captured:
            logits = network(images)
        activations = captured.activations
        score = class_score(logits, labels).sum()
        (gradients,) = torch.autograd.grad(score, activations, create_graph=True)
        loss = F.cross_entropy(logits, labels) + outside_the_box(grad_cam(activations, gradients))
        loss.backward()

    def in_a_pass_of_its_own(layer: str) -> None:
        network.zero_grad()
        cams = GradCAM(network, layer, differentiable=True)(images, labels)
        (F.cross_entropy(network(images), labels) + outside_the_box(cams)).backward()

    contenders: dict[str, Callable[[], Tensor | None]] = {
        "plain step": plain,
        "with a penalty at layer4": lambda: penalized(network.layer4),
        "with a penalty at layer3": lambda: penalized(network.layer3),
        "with a penalty at layer4, map from a pass of its own": lambda: in_a_pass_of_its_own("layer4"),
        "with a penalty at layer3, map from a pass of its own": lambda: in_a_pass_of_its_own("layer3"),
    }
    return Contest(contenders, "plain step", lambda _: {})


def small_training_contest(network: nn.Module, images: Tensor, settings: argparse.Namespace) -> Contest:
    """Compare the same with the stem for small images."""
    torch.manual_seed(settings.seed)
    return training_contest(build_network("resnet18", NUM_CLASSES, stem="small"), images, settings)


FIGURES = {
    "grad_cam": Figure(grad_cam_contest, "resnet50", 8, 224, 20),
    "ablation_cam": Figure(ablation_cam_contest, "resnet18", 1, 224, 5),
    "score_cam": Figure(score_cam_contest, "resnet18", 1, 224, 5),
    "integrated_gradients": Figure(integrated_gradients_contest, "resnet18", 2, 224, 10),
    "smooth_grad": Figure(smooth_grad_contest, "resnet18", 1, 224, 10),
    "training_step": Figure(training_contest, "resnet18", 8, 224, 20),
    "training_step_small_images": Figure(small_training_contest, "resnet18", 32, 32, 20),
}
TRAINED_FROM_SCRATCH = ("training_step", "training_step_small_images")


# Measuring


def measured(name: str, settings: argparse.Namespace) -> list[Row]:
    """Measure a figure; it has a row for each contender."""
    figure = FIGURES[name]
    images, size = images_of(name, settings)
    batch = photographs(images, size, settings)
    contest = figure.contest(network_for(figure.network, batch, settings), batch, settings)
    # The first round warms up, and makes the maps.
    remarks = contest.remarks({each: call() for each, call in contest.contenders.items()})
    times = seconds_by_round(contest.contenders, min(settings.rounds, figure.rounds), title=name)
    return [result(name, each, times, contest, remarks.get(each, ""), settings) for each in times]


def images_of(name: str, settings: argparse.Namespace) -> tuple[int, int]:
    """Return the number of images, and their size in pixels."""
    figure = FIGURES[name]
    return (min(figure.images, 2), min(figure.size, 64)) if settings.quick else (figure.images, figure.size)


# Results


@dataclass(frozen=True)
class Case:
    """What was measured."""

    figure: str
    network: str
    weights: str
    images: str
    size: str
    threads: str
    contender: str

    @classmethod
    def of(cls, name: str, contender: str, settings: argparse.Namespace) -> Case:
        """Make the case that the settings describe."""
        images, size = images_of(name, settings)
        weights = "random"
        if settings.checkpoint is not None and FIGURES[name].network == "resnet18" and name not in TRAINED_FROM_SCRATCH:
            # <run>/<version>/checkpoints/<name>.ckpt
            weights = settings.checkpoint.absolute().parents[2].name
        return cls(name, FIGURES[name].network, weights, str(images), str(size), str(settings.threads), contender)


@dataclass(frozen=True)
class Row(Case):
    """The result.

    `seconds` is the median over the rounds. `ratio` is the median over the rounds of the time divided by that of the
    baseline in the same round, between its quartiles `ratio_low` and `ratio_high`.
    """

    rounds: str
    seconds: str
    seconds_low: str
    seconds_high: str
    baseline: str
    ratio: str
    ratio_low: str
    ratio_high: str
    remark: str
    torch: str
    captum: str
    grad_cam: str
    machine: str


def result(
    name: str,
    contender: str,
    times: dict[str, list[float]],
    contest: Contest,
    remark: str,
    settings: argparse.Namespace,
) -> Row:
    """Summarize the rounds of one contender."""
    relative = ratios(times[contender], times[contest.baseline])
    return Row(
        *astuple(Case.of(name, contender, settings)),
        str(len(relative)),
        *(f"{value:.5f}" for value in quartiles(times[contender])),
        contest.baseline,
        *(f"{value:.4f}" for value in quartiles(relative)),
        remark,
        torch.__version__,
        version("captum"),
        version("grad-cam"),
        f"{platform.machine()}, {os.cpu_count()} cores",
    )


def readme_texts() -> dict[str, str]:
    """Make the table of the README beside results.csv."""
    return {MARKER: table(ResultRows(RESULTS, Row, Case))}


def table(rows: Iterable[Row]) -> str:
    """Make a table with a block of rows for each figure."""
    lines = []
    of_figure = ""
    for each in rows:
        images = f"{each.images} image{'s' * (each.images != '1')} of {each.size} px"
        weights = "" if each.weights == "random" else f", weights of {each.weights}"
        figure = f"{each.figure}: {each.network}{weights}, {images}, {each.threads} thread{'s' * (each.threads != '1')}"
        ratio = f"{shortened(each.ratio)} ({shortened(each.ratio_low)} to {shortened(each.ratio_high)})"
        ratio = "baseline" if each.contender == each.baseline else ratio
        milliseconds = f"{1000 * float(each.seconds):.0f}"
        lines.append([figure if figure != of_figure else "", each.contender, milliseconds, ratio, each.remark])
        of_figure = figure
    return markdown_table(["figure", "", "ms", "time / baseline (quartiles)", "remark"], lines)


def shortened(ratio: str) -> str:
    """Round to three digits."""
    value = float(ratio)
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


if __name__ == "__main__":
    main()
