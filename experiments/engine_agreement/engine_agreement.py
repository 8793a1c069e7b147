"""Compare the gradient of λ L_R by FrozenGates in float32 with double backpropagation in float64; see README.md.

    python -m experiments.engine_agreement.engine_agreement [--quick] [--networks resnet18 ...] [--device cuda]

Rows that are already in results.csv are not computed again, unless --fresh is given.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models import VisionTransformer
from tqdm import tqdm

from camtrain.batch import collate
from camtrain.data import ImageFolderData
from camtrain.gradients import FrozenGates, InputGradientPenalty
from camtrain.gradients.engine import forward_pass, input_gradients, penalties
from camtrain.networks import build_network
from camtrain.regularizers import GradientNorm, InterpretableGradient
from experiments.readme_tables import markdown_table, put_texts
from experiments.result_rows import ResultRows

HERE, RUNS = Path(__file__).parent, Path("runs/engine_agreement")
RESULTS = HERE / "results.csv"
MARKER = "{} of experiments/engine_agreement"
CLASSES = ["apple", "bear", "bicycle", "bottle", "bridge", "castle", "clock", "cup", "orchid", "tiger"]
MEAN, STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
NETWORKS = ("cifar_resnet8", "resnet18", "mobilenet_v2", "vgg11_bn", "densenet121", "dropout_cnn", "vit")
HEAVY = ("resnet50_224",)
SIZES = {"resnet50_224": 224}
DISTANCES = ("cosine", "mae", "mse", "histogram_intersection")
NORM = "gradient_norm"
WEIGHTS = (1e-4, 1e-3, 7.5e-3, 0.1, 1.0, 10.0)
# A phase of a training starts when the loss of the training images first is at or below this.
PHASES = {"start": math.inf, "middle": 0.5, "end": 0.002}
FORMS = ("default", "one term", "two terms")
RELATIVE_STEPS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
LEARNING_RATES = {"vit": 0.03, "mobilenet_v2": 0.02, "vgg11_bn": 0.02, "dropout_cnn": 0.03, "resnet50_224": 0.02}
COSINE, NORM_WITHIN = 0.999, 0.02
VISIBLE = 1e-3  # ‖λ ∇L_R‖ / ‖∇L_C‖ below which no training can tell
Gradients = list[Tensor]


class SameMasksDropout(nn.Module):
    """Dropout that draws the same mask in float32 and float64, on every device."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop values, as `nn.Dropout` does."""
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(x.shape, device=x.device) >= self.p
        return x * kept / (1 - self.p)


@dataclass(frozen=True)
class Case:
    """One gradient that is compared. `relative_step` is the ρ that is set, empty if the engine chooses it."""

    network: str
    phase: str
    distance: str
    form: str
    weight: str
    relative_step: str


@dataclass(frozen=True)
class Row(Case):
    """The result.

    `step` is ρ as the engine reports it. `share` is ‖λ ∇L_R‖ / ‖∇L_C‖. `cosine` and `norm_ratio` are those of λ ∇L_R;
    `error_of_whole` is ‖found - expected‖ / ‖expected‖ of ∇(L_C + λ L_R). `float32_cosine` and `float32_norm_ratio`
    compare ∇L_R by double backpropagation in float32, before any sum: the error that the rounding of activations and
    gates causes alone. `float32_error_of_whole` is the error of ∇(L_C + λ L_R) with that gradient.
    """

    loss: str
    steps: str
    images: str
    cosine: str
    norm_ratio: str
    error_of_whole: str
    float32_error_of_whole: str
    share: str
    two_terms: str
    step: str
    floored: str
    float32_cosine: str
    float32_norm_ratio: str
    device: str


def main() -> None:
    """Compare, write results.csv as the rows come, and the tables of README.md."""
    settings = parsed()
    torch.set_num_threads(settings.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    started = time.perf_counter()
    if settings.fresh:
        for path in RUNS.glob("*.pt"):
            path.unlink()
    rows = ResultRows(settings.results, Row, Case, fresh=settings.fresh)
    for name in settings.networks:
        network, phases = build(name, settings.seed).to(settings.device), list(settings.phases)
        images, labels = batch(name, settings)
        for phase in phases:
            wanted = [case for case in cases(name, phase, settings) if case not in rows]
            if not wanted:
                continue
            found = at_phase(network, name, phase, images, labels, settings)
            if found is None:
                continue
            found_rows = compared(
                network, wanted, images[: settings.images], labels[: settings.images], found, settings
            )
            for row in tqdm(found_rows, f"{name} {phase}", len(wanted), disable=None):
                rows.add(row)
                tqdm.write(f"{time.perf_counter() - started:5.0f} s  {'  '.join(astuple(row))}")
    if settings.results == RESULTS:
        put_texts(readme_texts(), HERE / "README.md")
    print(f"\n{agreement(rows)}\n\n{forced(rows)}\n\n{time.perf_counter() - started:.0f} s")


def parsed() -> argparse.Namespace:
    """Read the settings from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=(*NETWORKS, *HEAVY))
    parser.add_argument("--distances", nargs="+", default=list(DISTANCES), choices=DISTANCES)
    parser.add_argument("--weights", nargs="*", type=float, default=list(WEIGHTS), help="λ")
    parser.add_argument("--phases", nargs="+", default=list(PHASES), choices=PHASES)
    parser.add_argument(
        "--forced",
        nargs="*",
        default=["resnet18", "mobilenet_v2", "vit"],
        help="networks that are also run with set values of ρ",
    )
    parser.add_argument("--forced-distances", nargs="+", default=["cosine"], choices=DISTANCES)
    parser.add_argument(
        "--images", type=int, default=32, help="number of images in the batch whose gradients are compared"
    )
    parser.add_argument(
        "--train-images", type=int, default=64, help="number of images that the network learns by heart"
    )
    parser.add_argument("--steps", type=int, default=600, help="largest number of training steps")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, images and dropout")
    parser.add_argument("--data", type=Path, default=Path("data/cifar100"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="small networks, fewer images and weights")
    parser.add_argument("--fresh", action="store_true", help="delete the results first")
    settings = parser.parse_args()
    if settings.quick:
        settings.images, settings.train_images = 16, 32
        settings.networks = [name for name in settings.networks if name not in HEAVY]
        settings.weights = [weight for weight in settings.weights if weight in (1e-4, 7.5e-3, 0.1, 10.0)]
    return settings


# Networks and images


def build(name: str, seed: int) -> nn.Module:
    """Build a network for ten classes, in training mode."""
    torch.manual_seed(seed)
    match name:
        case "vit":
            network: nn.Module = VisionTransformer(32, 4, 6, 4, 128, 256, num_classes=len(CLASSES))
            # torchvision sets the head to zero, and with it the input gradient of an untrained network.
            nn.init.trunc_normal_(network.heads.head.weight, std=0.05)  # type: ignore[union-attr, arg-type]
        case "dropout_cnn":
            network = dropout_cnn()
        case "vgg11_bn":
            network = build_network("vgg11_bn", len(CLASSES))
            # For 32 px: the pool to 7×7 repeats one pixel 49 times, and two layers of 4096 would be most of the work.
            network.avgpool = nn.AdaptiveAvgPool2d(1)
            network.classifier = nn.Sequential(
                nn.Linear(512, 512), nn.ReLU(True), nn.Dropout(0.5), nn.Linear(512, len(CLASSES))
            )
        case "resnet50_224":
            network = build_network("resnet50", len(CLASSES))
        case "cifar_resnet8":
            network = build_network(name, len(CLASSES))
        case _:
            network = build_network(name, len(CLASSES), stem="small")
    return with_same_masks(network)


def dropout_cnn() -> nn.Sequential:
    """Build a network of convolutions, max pooling and much dropout, without normalization."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(True), nn.Dropout(0.2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2), nn.Dropout(0.3),
        nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(128 * 64, 128), nn.ReLU(True), nn.Dropout(0.3), nn.Linear(128, len(CLASSES)),
    )  # fmt: skip


def with_same_masks(network: nn.Module) -> nn.Module:
    """Replace `nn.Dropout`, whose masks differ between precisions on an accelerator."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Dropout):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, SameMasksDropout(module.p))
    return network


def batch(name: str, settings: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Take images of ten classes of CIFAR-100, or noise if the data are missing; the first ones are compared on."""
    size = SIZES.get(name, 32)
    generator = torch.Generator().manual_seed(settings.seed)
    if (settings.data / "train").is_dir():
        data = ImageFolderData(str(settings.data), size, "none", classes=CLASSES, mean=MEAN, std=STD)
        data_set = data.data_set("train")
        chosen = torch.randperm(len(data_set), generator=generator)[: settings.train_images].tolist()
        samples = collate([data_set[index] for index in chosen])
        images, labels = samples.images, samples.labels
        assert labels is not None
    else:
        print(f"no {settings.data}/train: smooth noise instead of images")
        noise = torch.randn(settings.train_images, 3, 8, 8, generator=generator)
        images = F.interpolate(noise, (size, size), mode="bilinear")
        labels = torch.randint(len(CLASSES), (settings.train_images,), generator=generator)
    return images.to(settings.device), labels.to(settings.device)


def at_phase(
    network: nn.Module, name: str, phase: str, images: Tensor, labels: Tensor, settings: argparse.Namespace
) -> tuple[float, int] | None:
    """Bring the network to a phase; return its loss and step, or `None` if --steps were not enough."""
    path = RUNS / f"{name}_{phase}_{settings.train_images}_seed{settings.seed}.pt"
    if not path.is_file():
        train_phases(build(name, settings.seed).to(settings.device), name, images, labels, settings)
    if not path.is_file():
        print(f"{name}: not at phase {phase} after {settings.steps} steps")
        return None
    checkpoint = torch.load(path, map_location=settings.device, weights_only=True)
    network.load_state_dict(checkpoint["network"])
    return checkpoint["loss"], checkpoint["steps"]


def train_phases(network: nn.Module, name: str, images: Tensor, labels: Tensor, settings: argparse.Namespace) -> None:
    """Learn the images by heart with plain SGD, and keep the network of each phase."""
    RUNS.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATES.get(name, 0.05), momentum=0.9)
    pending = dict(PHASES)
    torch.manual_seed(settings.seed)
    average = math.inf
    progress = tqdm(range(settings.steps + 1), f"{name} training", disable=None)
    for step in progress:
        order = torch.randperm(len(images))[: settings.images].to(images.device)
        loss = F.cross_entropy(network(images[order]), labels[order])
        average = loss.item() if step == 0 else 0.7 * average + 0.3 * loss.item()
        for phase in [phase for phase, limit in pending.items() if average <= limit]:
            state = {"network": network.state_dict(), "loss": average, "steps": step}
            torch.save(state, RUNS / f"{name}_{phase}_{settings.train_images}_seed{settings.seed}.pt")
            del pending[phase]
        if not pending:
            break
        progress.set_postfix(loss=average, refresh=False)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()


# Gradients


def cases(name: str, phase: str, settings: argparse.Namespace) -> list[Case]:
    """List the cases of a network in a phase."""
    distances = [NORM] if name == "vit" else settings.distances
    found = [Case(name, phase, distance, "default", f"{w:g}", "") for distance in distances for w in settings.weights]
    if name in settings.forced:
        found += [
            Case(name, phase, distance, form, "", f"{step:g}")
            for distance in ([NORM] if name == "vit" else settings.forced_distances)
            for form in ("one term", "two terms")
            for step in RELATIVE_STEPS
        ]
    return found


def compared(
    network: nn.Module,
    wanted: Sequence[Case],
    images: Tensor,
    labels: Tensor,
    found: tuple[float, int],
    settings: argparse.Namespace,
) -> Iterator[Row]:
    """Compare the engine with double backpropagation, and yield a row for each case."""
    distances = list(dict.fromkeys(case.distance for case in wanted))
    of_loss, expected = double_backprop(copy.deepcopy(network).double(), images.double(), labels, distances, settings)
    loss_in_float32, in_float32 = double_backprop(network, images, labels, distances, settings)
    for case in wanted:
        reference, control = expected[case.distance], in_float32[case.distance]
        equal = norm(of_loss) / norm(reference)
        notes, weight, of_both, of_classification = frozen_gates(network, images, labels, case, equal, settings)
        of_regularizer = [both - first for both, first in zip(of_both, of_classification, strict=True)]
        scaled = [weight * each for each in reference]
        whole = [first + each for first, each in zip(of_loss, scaled, strict=True)]
        error = [both - each for both, each in zip(of_both, whole, strict=True)]
        rounding = [a + weight * b - c for a, b, c in zip(loss_in_float32, control, whole, strict=True)]
        yield Row(
            *astuple(case),
            loss=f"{found[0]:.3g}",
            steps=str(found[1]),
            images=str(len(images)),
            cosine=f"{cosine(of_regularizer, scaled):.6f}",
            norm_ratio=f"{norm(of_regularizer) / norm(scaled):.5f}",
            error_of_whole=f"{norm(error) / norm(whole):.2e}",
            float32_error_of_whole=f"{norm(rounding) / norm(whole):.2e}",
            share=f"{norm(scaled) / norm(of_loss):.2e}",
            two_terms=f"{notes['two_terms']:g}",
            step=f"{notes['step']:.3g}",
            floored=f"{notes['floored']:g}",
            float32_cosine=f"{cosine(control, reference):.6f}",
            float32_norm_ratio=f"{norm(control) / norm(reference):.5f}",
            device=settings.device,
        )


def double_backprop(
    network: nn.Module, images: Tensor, labels: Tensor, distances: Sequence[str], settings: argparse.Namespace
) -> tuple[Gradients, dict[str, Gradients]]:
    """Compute ∇L_C, and ∇L_R for each distance; the results are float64 whatever they were computed in."""
    parameters = list(network.parameters())
    torch.manual_seed(settings.seed)
    attention = sdpa_kernel(SDPBackend.MATH)  # the fused kernels have no second derivative
    with attention:
        forward = forward_pass(network, images, partial(loss_of, labels=labels), penalty(distances[0]))
        found = input_gradients(forward, penalty(distances[0]), create_graph=True)
        of_regularizer = {
            distance: gradients(penalties(penalty(distance), found).mean(), parameters) for distance in distances
        }
        return gradients(forward.classification, parameters), of_regularizer


def frozen_gates(
    network: nn.Module, images: Tensor, labels: Tensor, case: Case, equal: float, settings: argparse.Namespace
) -> tuple[dict[str, float], float, Gradients, Gradients]:
    """Return FrozenGates' notes, λ, ∇(L_C + λ L_R) and ∇L_C; at λ = `equal` both gradients are equally long."""
    if case.form == "default":
        weight, engine = float(case.weight), FrozenGates()
    elif case.form == "two terms":
        weight, engine = equal, FrozenGates(one_term_limit=1e-30, step=float(case.relative_step))
    else:
        # With one term ρ grows with λ: its value at λ = 1 tells which λ gives the ρ that is set.
        engine = FrozenGates(one_term_limit=math.inf)
        probe = one_step(engine, network, images, labels, case, 1.0, settings)
        weight = float(case.relative_step) / probe[0]["step"]
    notes, both, classification = one_step(engine, network, images, labels, case, weight, settings, take=True)
    return notes, weight, both, classification


def one_step(
    engine: FrozenGates,
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    case: Case,
    weight: float,
    settings: argparse.Namespace,
    *,
    take: bool = False,
) -> tuple[dict[str, float], Gradients, Gradients]:
    """Take one step of the engine; return its notes, and the gradients if they are wanted."""
    parameters = list(network.parameters())
    torch.manual_seed(settings.seed)
    output = engine(
        network, images, partial(loss_of, labels=labels), penalty(case.distance), weight, keep_classification_graph=take
    )
    if not take:
        return output.notes, [], []
    return output.notes, gradients(output.loss, parameters), gradients(output.classification, parameters)


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the cross-entropy in float64, as `Objective` does."""
    return F.cross_entropy(logits.double(), labels).to(logits.dtype)


def penalty(distance: str) -> InputGradientPenalty:
    """Make the penalty of a distance."""
    regularizer = GradientNorm() if distance == NORM else InterpretableGradient(distance)  # type: ignore[arg-type]
    return InputGradientPenalty(regularizer, regularizer.needs_guided_gradient)


def gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Gradients:
    """Compute gradients in float64, zero for parameters that the loss does not depend on; keep the graph."""
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
    return [gradient.double() for gradient in found]


def dot(first: Gradients, second: Gradients) -> float:
    """Compute ⟨first, second⟩ over all parameters."""
    return float(torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum())


def norm(gradient: Gradients) -> float:
    """Compute ‖gradient‖ over all parameters."""
    return math.sqrt(dot(gradient, gradient))


def cosine(first: Gradients, second: Gradients) -> float:
    """Compute the cosine without an eps, because these gradients may be smaller than any eps."""
    denominator = norm(first) * norm(second)
    return dot(first, second) / denominator if denominator > 0 else math.nan


# Results


def readme_texts() -> dict[str, str]:
    """Make the two tables of the README beside results.csv."""
    rows = ResultRows(RESULTS, Row, Case)
    return {MARKER.format("agreement"): agreement(rows), MARKER.format("thresholds"): forced(rows)}


def agreement(rows: Iterable[Row]) -> str:
    """For each network, phase and distance, list the worst over λ with the default settings.

    Cosine and norm ratio are those of the λ at which λ L_R is a visible part of the gradient. Below, the difference of
    two float32 gradients is their rounding, and the whole gradient is right to a few parts in a million.
    """
    headings = ["network", "phase", "L_C", "distance", "smallest cosine", "norm ratio", "float32 double backprop"]
    headings += ["largest error of ∇L", "two terms at λ", "misses the goal at λ"]
    headings += ["misses it where λ L_R is less than 0.1 %"]
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.form == "default":
            groups.setdefault((row.network, row.phase, row.distance), []).append(row)
    lines = []
    for (network, phase, distance), group in groups.items():
        visible = [row for row in group if float(row.share) >= VISIBLE]
        ratios = sorted(float(row.norm_ratio) for row in visible)
        two = ", ".join(row.weight for row in group if float(row.two_terms)) or "–"
        beyond = ", ".join(row.weight for row in visible if not good(row)) or "–"
        hidden = ", ".join(row.weight for row in group if not good(row) and row not in visible) or "–"
        first = group[0]
        control = f"{float(first.float32_cosine):.5f}, {float(first.float32_norm_ratio):.4f}"
        smallest = f"{min(float(row.cosine) for row in visible):.5f}" if visible else "–"
        between = f"{ratios[0]:.4f} to {ratios[-1]:.4f}" if visible else "–"
        error = max(float(row.error_of_whole) for row in group)
        cells = [smallest, between, control, f"{error:.1e}", two, beyond, hidden]
        lines.append([network, phase, first.loss, distance, *cells])
    return markdown_table(headings, lines)


def forced(rows: Iterable[Row]) -> str:
    """List the agreement as a function of ρ, where ρ and the form are set; a dash where λ L_R is not visible."""
    groups: dict[tuple[str, str, str, str], dict[str, Row]] = {}
    for row in rows:
        if row.form != "default":
            groups.setdefault((row.network, row.phase, row.distance, row.form), {})[row.relative_step] = row
    lines = []
    for key, group in groups.items():
        cells = [
            f"{1 - float(group[step].cosine):.1e}, {float(group[step].norm_ratio):.3f}"
            if step in group and float(group[step].share) >= VISIBLE
            else "–"
            for step in (f"{step:g}" for step in RELATIVE_STEPS)
        ]
        lines.append([*key, *cells])
    return markdown_table(
        ["network", "phase", "distance", "form", *(f"ρ = {step:g}" for step in RELATIVE_STEPS)], lines
    )


def good(row: Row) -> bool:
    """Tell whether a row reaches the goal."""
    return float(row.cosine) >= COSINE and abs(float(row.norm_ratio) - 1) <= NORM_WITHIN


if __name__ == "__main__":
    main()
