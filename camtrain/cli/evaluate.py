"""`camtrain evaluate`: the scores of a network's maps, as tables, files and pictures."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from camtrain.cli.evaluate_parser import evaluate_parser
from camtrain.cli.evaluation_data import EvaluationImages
from camtrain.cli.evaluation_folder import COMPARED, EvaluationFolder
from camtrain.cli.evaluation_gallery import write_gallery
from camtrain.cli.evaluation_pictures import mean_curves, write_curves, write_panels
from camtrain.cli.evaluation_report import (
    Cell,
    compared,
    cost_line,
    score_tables,
    scored,
    win_matrix,
    write_images,
    write_json,
    write_scores,
)
from camtrain.cli.evaluation_run import EvaluatedImages, EvaluationRun, weights_hash
from camtrain.cli.network_arguments import device_named, method_names, methods_of, override_of
from camtrain.cli.preprocessing import data_module, normalization_of
from camtrain.cli.ready_network import ReadyNetwork, config_of, ready_network
from camtrain.cli.say import say
from camtrain.evaluation import NETWORK, EvaluationSettings, Evaluator, metric_names, what_is_missing
from camtrain.files import path_from_here


def evaluate(words: Sequence[str]) -> int:
    """Run `camtrain evaluate <words>`.

    Args:
        words: what follows the subcommand.

    Returns:
        The exit status: 0, or 1 if no method could be used.

    Raises:
        SystemExit: with status 2 if an argument is wrong, with 0 after the help.
    """
    parser = evaluate_parser()
    settings = parser.parse_args(words)
    try:
        first = _evaluation(settings, settings.checkpoint, settings.out)
        # Both are made before either is run, or a folder is touched: what is wrong with the second is not found out
        # hours later, and costs nothing that was there.
        second = _second(settings, first) if settings.compare else None
        for evaluation in (first, second) if second else (first,):
            evaluation.folder.claim()
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    found = _evaluated(first, parser)
    first.report(found)
    if second:
        other = _evaluated(second, parser, "compare")
        second.report(other)
        _report_differences(first, found, second, other)
    return 0 if first.has_maps(found) else 1


def _evaluated(evaluation: _Evaluation, parser: ArgumentParser, title: str = "evaluate") -> EvaluatedImages:
    try:
        return evaluation.run.evaluated(evaluation.device, title)
    except ValueError as error:  # what only the images themselves show: labels, boxes
        parser.error(str(error))


@dataclass(frozen=True)
class _Evaluation:
    """One network over the images.

    Attributes:
        settings: of the command line.
        title: of the network.
        class_names: of its classes, if they are known.
        config: of the images.
        images: to evaluate.
        evaluator: of the network.
        run: what has been evaluated, on disk.
        folder: of all that is written.
        device: of the network.
    """

    settings: Namespace
    title: str
    class_names: Sequence[str] | None
    config: Path
    images: EvaluationImages
    evaluator: Evaluator
    run: EvaluationRun
    folder: EvaluationFolder
    device: torch.device

    def cells(self, found: EvaluatedImages) -> list[Cell]:
        """The scores of all methods."""
        return scored(self.evaluator, found, self.settings.resamples, self.settings.seed)

    def has_maps(self, found: EvaluatedImages) -> bool:
        """Whether some method could be used; where no score of maps is asked for, none is needed."""
        of_maps = [rows for (method, _), rows in found.rows.items() if method != NETWORK]
        all_failed = set(self.evaluator.methods) <= set(found.reasons)
        return not of_maps or not all_failed or any(bool(rows.any()) for rows in of_maps)

    def report(self, found: EvaluatedImages) -> None:
        """Write all files and print the scores."""
        cells = self.cells(found)
        folder = self.folder.path
        write_scores(cells, folder / "scores.csv")
        write_json(cells, self._about(found), folder / "scores.json")
        write_images(self.evaluator, found, folder / "images.csv")
        written = write_curves(mean_curves(self.evaluator, found), self.evaluator.settings, folder)
        if self.settings.panels:
            written += write_panels(self.evaluator, found, self.images, self.settings.panels, folder / "panels")
        if self.settings.gallery:
            path = folder / "gallery.npz"
            written.append(write_gallery(found, self.images, self.settings.gallery, path, self.class_names))
        print(f"\n{self.title}: {len(found.indices)} {self.settings.split} images of {self.config}\n")
        print(f"{score_tables(cells)}\n\n{cost_line(found, len(self.evaluator.methods))}\n")
        files = ["scores.csv", "scores.json", "images.csv", *(str(path.relative_to(folder)) for path in written)]
        print(f"in {folder}: {', '.join(files)}")
        self._remark(found)

    def _about(self, found: EvaluatedImages) -> dict[str, Any]:
        """What a reader of the scores should know."""
        about = {"network": self.title, "config": str(self.config), "images": len(found.indices)}
        found_out = {"passes": found.passes, "reasons": found.reasons, "win": win_matrix(self.evaluator, found)}
        return about | {"settings": self.folder.settings} | found_out

    def _remark(self, found: EvaluatedImages) -> None:
        """Say which methods and images are missing from the scores."""
        for method, why in found.reasons.items():
            say("evaluate", f"warning: {what_is_missing(method)}: {why}")
        for kind, known in found.annotated.items():
            missing = int((~known).sum())
            if missing:
                images = f"{missing} of {len(found.indices)} images"
                say("evaluate", f"warning: {images} have no {kind} and are not counted where they are needed")


def _evaluation(settings: Namespace, checkpoint: Path | None, path: Path, config: Path | None = None) -> _Evaluation:
    """All that the arguments say, checked by a first pass of the network."""
    names, metrics = method_names(settings.methods), metric_names(_words(settings.metrics))
    device = device_named(settings.device)
    torch.manual_seed(settings.seed)  # of random weights
    ready, config = _network_and_config(settings, checkpoint, config)
    ready, classes = ready.ready_on(device)
    data, remarks = data_module(config, ready.preprocessing, override_of(settings))
    images = EvaluationImages(data, settings.split, settings.limit, settings.batch_size)
    protocol = _protocol(settings, data, classes)
    methods = methods_of(names, ready.network, settings)
    evaluator = Evaluator(ready.network, methods, metrics, protocol, settings.max_batch)
    identity = {
        "weights": weights_hash(ready.network),
        "methods": list(methods),
        "metrics": metrics,
        "target_layer": settings.target_layer,
        "channels": settings.channels,
        "protocol": asdict(protocol),
        "config": config.read_text(encoding="utf-8"),
        "normalization": [*normalization_of(data), settings.size],
        "split": settings.split,
        "images": [index for batch in images.batches for index in batch],
        "batch_size": settings.batch_size,
        "panels": _shows_maps(settings),
        "camtrain": version("camtrain"),
    }
    folder = EvaluationFolder(path, identity, fresh=settings.fresh)
    run = EvaluationRun(folder.rows, evaluator, images, thumbnails=_shows_maps(settings))
    for remark in [*(other for other in ready.remarks if other not in ready.preprocessing.remarks), *remarks]:
        say("evaluate", f"warning: {remark}")
    return _Evaluation(settings, ready.title, ready.class_names, config, images, evaluator, run, folder, device)


def _second(settings: Namespace, first: _Evaluation) -> _Evaluation:
    """That of --compare, on the images of the first."""
    try:
        return _evaluation(settings, settings.compare, settings.out / COMPARED, first.config)
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(str(error).replace("`--checkpoint`", "`--compare`")) from error


def _shows_maps(settings: Namespace) -> bool:
    return bool(settings.panels or settings.gallery)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _network_and_config(settings: Namespace, checkpoint: Path | None, config: Path | None) -> tuple[ReadyNetwork, Path]:
    """The network with its own preprocessing, and where its images come from."""
    if checkpoint is not None and not checkpoint.is_file():
        raise FileNotFoundError(f"`--checkpoint`: no such file: {checkpoint}")
    images = settings.config or config or (checkpoint and config_of(checkpoint))
    if images is None:
        raise ValueError("`--config`: expected a configuration with a data module, which says what the images are")
    # Images are normalized as the network has it, which the configuration of the images may have for another one: a
    # checkpoint as its own run did, a named network as its weights were made.
    own = (config_of(checkpoint) or images) if checkpoint else None
    ready = ready_network(checkpoint, settings.network, settings.weights, own, override_of(settings))
    return ready, path_from_here(images)


def _protocol(settings: Namespace, data: Any, classes: int) -> EvaluationSettings:
    num_classes = getattr(data, "num_classes", None)
    if settings.class_of == "label" and num_classes not in (None, classes):
        raise ValueError(
            f'`--class-of`: expected "prediction", since the network has {classes} classes and the images {num_classes}'
        )
    return EvaluationSettings(
        class_of=settings.class_of,
        annotation=settings.annotation,
        num_steps=settings.steps,
        insertion_start=settings.insertion_start,
        deletion_end=settings.deletion_end,
        num_stages=settings.stages,
        num_classes=num_classes,
        tolerance=settings.tolerance,
        seed=settings.seed,
    )


def _report_differences(
    first: _Evaluation, found: EvaluatedImages, second: _Evaluation, other: EvaluatedImages
) -> None:
    cells = compared(first.evaluator, found, other, first.settings.resamples, first.settings.seed)
    path = first.folder.path / "differences.csv"
    write_scores(cells, path)
    print(f"\n{second.title} minus {first.title}, on the same images\n\n{score_tables(cells, signed=True)}\n\n{path}")
