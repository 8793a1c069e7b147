"""The pictures of the pages, made with the package itself from the embedded data.

    python -m docs.generator.pictures

A picture that is newer than the module it shows is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import camtrain
from camtrain import Objective
from camtrain.attributions import saliency_map
from camtrain.cams import normalize, resize
from camtrain.evaluation import METRICS, Evaluation, EvaluationSettings
from camtrain.gradients import captured_activations, guided_gradient
from camtrain.methods import is_control, method_named, method_title, normalized_maps
from camtrain.networks import CIFARResNet
from camtrain.pictures import overlay
from camtrain.regularizers import (
    AttentionBranchLoss,
    EnergyInside,
    InputGradientRegularizer,
    InterpretableGradient,
    MapDistillation,
    MapRegularizer,
    Regularizer,
    RightForBetterReasons,
    Sum,
    Term,
)
from docs.generator.example_network import attention_network, example_batch, example_data, example_network
from docs.generator.families import Family, families
from docs.generator.links import ROOT

PICTURES = ROOT / "docs" / "pictures"
_STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_SHOWN = ("grad_cam", "layer_cam", "input_gradient", "guided_backprop")
_CONTROLS = "uniform,center,random,shuffled"


def write_pictures(chosen: Sequence[Family] = ()) -> None:
    """Draw what is missing or older than its module.

    Args:
        chosen: The pages whose pictures are drawn; all of them if there are none.
    """
    for family in chosen or families():
        path = PICTURES / family.kind / f"{family.key}.png"
        if not _is_new(path, family):
            path.parent.mkdir(parents=True, exist_ok=True)
            with mpl.rc_context(_STYLE):
                _PICTURES[family.kind](family).savefig(path, dpi=110, metadata={"Software": None})


def _is_new(path: Path, family: Family) -> bool:
    source = ROOT / f"{family.module.replace('.', '/')}.py"
    return path.is_file() and path.stat().st_mtime > max(source.stat().st_mtime, Path(__file__).stat().st_mtime)


def method_picture(family: Family) -> Figure:
    """Four test images with the maps of a method, for the predicted class.

    Args:
        family: A method or a control.
    """
    batch = example_batch()
    images, pictures = batch.images[:5], example_data().denormalize(batch.images[:5])
    name = family.registered[0]
    network = attention_network() if name == "attention_map" else example_network()
    layer = {"taylor_cam": "layer2"}.get(name)
    made = method_named(name, network, layer, num_samples=400 if name == "rise" else 16, seed=0)
    maps = normalized_maps(made, images)
    rows = [("image", list(pictures)), (method_title(name), list(overlay(pictures, maps)))]
    return _tiles(rows)


def regularizer_picture(family: Family) -> Figure:
    """What the penalty sees, and its value.

    Args:
        family: A regularizer.
    """
    kind = family.main
    if issubclass(kind, MapRegularizer):
        return _of_maps(kind())
    if issubclass(kind, InputGradientRegularizer):
        return _of_gradients(kind())
    special: dict[type[Regularizer], Callable[[], Figure]] = {
        AttentionBranchLoss: _of_attention,
        MapDistillation: _of_distillation,
        RightForBetterReasons: _of_better_reasons,
        Sum: _of_sum,
    }
    return special[kind]() if kind in special else _of_passes(kind())


def metric_picture(family: Family) -> Figure:
    """The score of several maps and controls, with intervals.

    Args:
        family: A metric.
    """
    found = _evaluation()
    names = family.registered
    figure = Figure(figsize=(3.6 * len(names) + 1.6, 2.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        scores = [score for score in found.scores if score.metric == name]
        labels = [_map_title(score.method) for score in scores]
        values = [score.value for score in scores]
        errors = [
            [max(0.0, score.value - score.interval.low) for score in scores],
            [max(0.0, score.interval.high - score.value) for score in scores],
        ]
        colors = ["0.7" if is_control(score.method) else "tab:blue" for score in scores]
        axes.barh(range(len(scores)), values, xerr=errors, color=colors, error_kw={"lw": 1})
        axes.set_yticks(range(len(scores)), labels)
        axes.invert_yaxis()
        axes.set_title(f"{name} {'↑' if METRICS[name].higher_is_better else '↓'}")
    return figure


_PICTURES: dict[str, Callable[[Family], Figure]] = {
    "regularizers": regularizer_picture,
    "methods": method_picture,
    "metrics": metric_picture,
}


def _map_title(name: str) -> str:
    return method_title(name) if name != "network" else "the network"


_FOUND: list[Evaluation] = []


def _evaluation() -> Evaluation:
    """All metrics on some test images, once."""
    if not _FOUND:
        batch = _plain_batch(32)
        settings = EvaluationSettings(num_steps=12, class_of="label", num_classes=10)
        found = camtrain.evaluate(
            example_network(),
            [batch],
            _SHOWN,
            "all",
            settings=settings,
            controls=_CONTROLS,
            num_resamples=200,
            num_panel_maps=0,
            batch_size=64,
            progress=False,
        )
        _FOUND.append(found)
    return _FOUND[0]


def _of_maps(regularizer: MapRegularizer) -> Figure:
    """Maps on, around and beside an object, and the penalty of each."""
    grid = torch.linspace(0, 1, 48)
    region = torch.zeros(48, 48, dtype=torch.bool)
    region[10:30, 8:28] = True

    def spot(row: float, column: float, width: float) -> Tensor:
        return torch.exp(-((grid[:, None] - row) ** 2 + (grid - column) ** 2) / (2 * width**2))

    noise = torch.rand(48, 48, generator=torch.Generator().manual_seed(0))
    maps = {
        "on the object": spot(0.4, 0.38, 0.1),
        "partly beside it": spot(0.5, 0.55, 0.12),
        "beside it": spot(0.75, 0.78, 0.1),
        "spread": spot(0.4, 0.38, 0.5),
        "noise": noise,
    }
    cams = torch.stack(list(maps.values()))
    regions = region.expand(len(cams), 48, 48) if regularizer.needs_annotation else None
    values = _values(regularizer(cams, regions))
    outline = region if regularizer.needs_annotation else None
    titles = [f"{name}\nE = {value:.2f}" for name, value in zip(maps, values, strict=True)]
    return _row([normalize(cam.unsqueeze(0))[0] for cam in cams], titles, outline=outline)


def _of_gradients(regularizer: InputGradientRegularizer) -> Figure:
    """The gradients of images, and the penalty of each."""
    batch = example_batch()
    images = batch.images[:5].clone().requires_grad_()
    loss = nn.functional.cross_entropy(example_network()(images), batch.labels[:5], reduction="sum")
    guided = guided_gradient(loss, images)
    (gradients,) = torch.autograd.grad(loss, images)
    masks = batch.masks[:5] if regularizer.needs_annotation else None
    values = _values(regularizer(gradients, guided, boxes=None, masks=masks))
    rows = [
        ("image", list(example_data().denormalize(batch.images[:5]))),
        ("gradient δ", list(normalize(saliency_map(gradients)))),
    ]
    if regularizer.needs_guided_gradient:
        rows.append(("guided gradient", list(normalize(saliency_map(guided)))))
    if masks is not None:
        rows.append(("penalized: δ outside", list(normalize(saliency_map(gradients)) * ~masks)))
    return _tiles(rows, [f"E = {value:.2g}" for value in values])


def _of_passes(regularizer: Regularizer) -> Figure:
    """The images that a step runs through the network beside the batch itself."""
    torch.manual_seed(0)
    network, batch = example_network(), _plain_batch(8)
    seen: list[Tensor] = []
    handle = network.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach()))
    with _kept_mode(network):
        step = Objective(regularizer, weight=1.0)(
            network, batch.images, batch.labels, boxes=batch.boxes, masks=batch.masks
        )
    handle.remove()
    shown = [each[:5] for each in seen if len(each) == 8][1:5]
    rows = [("image", list(example_data().denormalize(batch.images[:5])))]
    rows += [(f"further pass {index}", list(_visible(each))) for index, each in enumerate(shown, start=1)]
    figure = _tiles(rows)
    figure.suptitle(f"L_R of this batch: {float(step.regularization):.3f}", fontsize=9)
    return figure


def _of_attention() -> Figure:
    batch = _plain_batch(5)
    network = attention_network()
    maps = camtrain.image_maps(network, batch.images, "attention_map")
    with torch.no_grad(), _kept_mode(network):
        step = Objective(AttentionBranchLoss(), weight=1.0).measure(network, batch.images, batch.labels)
    pictures = example_data().denormalize(batch.images)
    figure = _tiles([("image", list(pictures)), ("attention", list(overlay(pictures, maps)))])
    figure.suptitle(f"L_R of this batch: {float(step.regularization):.3f}", fontsize=9)
    return figure


def _of_distillation() -> Figure:
    torch.manual_seed(1)
    batch, network = _plain_batch(5), CIFARResNet(depth=8, num_classes=10, stem_stride=2)
    regularizer = MapDistillation(teacher=example_network())
    step = Objective(regularizer, weight=1.0).measure(network, batch.images, batch.labels)
    pictures = example_data().denormalize(batch.images)
    maps = {
        "teacher": example_network(),
        "untrained network": network,
    }
    rows = [("image", list(pictures))]
    rows += [
        (name, list(overlay(pictures, normalize(_activation_map(each, batch.images))))) for name, each in maps.items()
    ]
    figure = _tiles(rows)
    figure.suptitle(f"L_R of this batch: {float(step.regularization):.3f}", fontsize=9)
    return figure


def _activation_map(network: nn.Module, images: Tensor) -> Tensor:
    """The activation-based attention Σ_c A_c², which is what the penalty compares by default."""
    with torch.no_grad(), captured_activations([network.get_submodule("layer3")]) as captured:
        network.eval()(images)
    return resize(captured.of_layers[0].square().sum(dim=1), (int(images.shape[-2]), int(images.shape[-1])))


def _of_better_reasons() -> Figure:
    batch = _plain_batch(5)
    images = batch.images.clone().requires_grad_()
    scores = example_network()(images).log_softmax(dim=1).sum()
    (gradients,) = torch.autograd.grad(scores, images)
    network = example_network()
    step = Objective(RightForBetterReasons(), weight=1.0).measure(
        network, batch.images, batch.labels, masks=batch.masks
    )
    saliency = normalize(saliency_map(gradients))
    rows = [
        ("image", list(example_data().denormalize(batch.images))),
        ("penalized: outside", list((~batch.masks).float())),
        ("δ, one of two factors", list(saliency * ~batch.masks)),
    ]
    figure = _tiles(rows)
    figure.suptitle(f"L_R of this batch: {float(step.regularization):.3g}", fontsize=9)
    return figure


def _of_sum() -> Figure:
    batch = _plain_batch(8)
    network = example_network()
    terms = [Term(InterpretableGradient(), weight=0.1), Term(EnergyInside(), weight=0.5)]
    with _kept_mode(network):
        step = Objective(Sum(terms), weight=1.0)(network, batch.images, batch.labels, masks=batch.masks)
    names = list(step.terms)
    values = [float(step.terms[name].value) for name in names]
    weights = [term.weight or 0.0 for term in terms]
    figure = Figure(figsize=(5.5, 1.8), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, values, color="0.8", label="value L_t")
    axes.barh(names, [value * weight for value, weight in zip(values, weights, strict=True)], label="weighted, w_t L_t")
    axes.legend()
    axes.set_title("one step of a sum of two terms")
    return figure


@contextmanager
def _kept_mode(network: nn.Module) -> Iterator[None]:
    was_training = network.training
    try:
        yield
    finally:
        network.train(was_training)


def _plain_batch(count: int) -> camtrain.Batch:
    batch = example_batch()
    return camtrain.Batch(
        batch.images[:count], batch.labels[:count], boxes=batch.boxes[:count], masks=batch.masks[:count]
    )


def _values(penalty: Any) -> list[float]:
    values = penalty if isinstance(penalty, Tensor) else penalty.values
    return [float(value) for value in values]


def _visible(images: Tensor) -> Tensor:
    return example_data().denormalize(images).clamp(0, 1)


def _row(maps: Sequence[Tensor], titles: Sequence[str], outline: Tensor | None = None) -> Figure:
    figure = Figure(figsize=(1.5 * len(maps), 1.9), layout="constrained")
    for axes, cam, title in zip(figure.subplots(1, len(maps)), maps, titles, strict=True):
        axes.imshow(cam, cmap="turbo", vmin=0, vmax=1)
        if outline is not None:
            axes.contour(outline.float(), levels=[0.5], colors="white", linewidths=1.5)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return figure


def _tiles(rows: Sequence[tuple[str, Sequence[Tensor]]], titles: Sequence[str] = ()) -> Figure:
    columns = len(rows[0][1])
    figure = Figure(figsize=(1.4 * columns, 1.5 * len(rows) + 0.2), layout="constrained")
    for row, (name, pictures) in enumerate(rows):
        for column, picture in enumerate(pictures):
            axes = figure.add_subplot(len(rows), columns, row * columns + column + 1)
            shown = picture.permute(1, 2, 0) if picture.dim() == 3 else picture
            axes.imshow(shown.detach(), cmap="magma", vmin=0, vmax=1, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            if column == 0:
                axes.set_ylabel(name, fontsize=8)
            if row == 0 and titles:
                axes.set_title(titles[column], fontsize=9)
    return figure


if __name__ == "__main__":
    write_pictures()
