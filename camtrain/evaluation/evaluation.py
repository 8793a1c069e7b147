"""What `evaluate` returns: scores with intervals, curves, panels and files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from camtrain.evaluation.bootstrap import combined_interval, resampling_weights, score_interval
from camtrain.evaluation.curves import Curves, curves_figure, mean_curves, write_curves
from camtrain.evaluation.evaluated_images import EvaluatedImages
from camtrain.evaluation.evaluator import Evaluator
from camtrain.evaluation.gallery import write_gallery
from camtrain.evaluation.image_source import ImageSource
from camtrain.evaluation.image_table import image_table
from camtrain.evaluation.metric_specs import METRICS
from camtrain.evaluation.panels import PANEL_TILE, best_and_worst_panels, panels_title
from camtrain.evaluation.score import Score, ScoreTable
from camtrain.files import whole_file, write_whole
from camtrain.messages import nearest_names
from camtrain.methods import SHUFFLED, control_of, is_control, method_title
from camtrain.metrics.localization_accuracy import LocalizationAccuracy
from camtrain.metrics.win import TIE
from camtrain.pictures import contact_sheet, figure_of, write_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DEFAULT_PANEL_MAPS = 3
_OF_SEVERAL = {"mean_average_precision": "mean average precision", "f1": "F1"}


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation(ScoreTable):
    """The scores of one network's maps on a set of images.

    Attributes:
        evaluator: The evaluator, which knows the methods, metrics and settings.
        found: The rows, predictions and small maps of the images.
        images: The images.
        num_resamples: The number of bootstrap resamples behind the intervals.
        num_panel_maps: The number of best, and of worst, maps of each method in a metric's panel.
        num_gallery_images: The number of images that `write` puts in `gallery.npz`.
        class_names: The names of all classes; `None` where they are not known.
        identity: All that changes the numbers, as JSON can hold it.
        folder: Where it was written; `None` if it was kept in memory.
    """

    evaluator: Evaluator
    found: EvaluatedImages
    images: ImageSource
    num_resamples: int = 1000
    num_panel_maps: int = _DEFAULT_PANEL_MAPS
    num_gallery_images: int = 0
    class_names: Sequence[str] | None = None
    identity: Mapping[str, Any] | None = None
    folder: Path | None = None

    @classmethod
    def of(
        cls, title: str, evaluator: Evaluator, found: EvaluatedImages, num_resamples: int, **rest: Any
    ) -> Evaluation:
        """The scores of all methods by all metrics."""
        weights = resampling_weights(len(found.indices), num_resamples, evaluator.settings.seed)
        scores = []
        for method, name in evaluator.pairs:
            metric, rows = evaluator.metric(name), found.rows[method, name]
            counted = int(metric.image_scores(rows).isfinite().sum())
            interval = score_interval(metric, rows, weights)
            scores.append(Score(method, name, interval, counted, bool(metric.higher_is_better)))
        return cls(title, scores, evaluator=evaluator, found=found, num_resamples=num_resamples, **rest)

    @property
    def accuracy(self) -> float | None:
        """The fraction of the labeled images that the network classifies rightly; `None` without labels.

        If images may show several classes, the fraction of right answers over all images and classes.
        """
        return self.found.accuracy

    def summary(self) -> str:
        """The accuracy, and the fraction of flat maps of each method, in a line; empty if neither is known.

        A flat map is the same everywhere and shows nothing.
        """
        parts = [] if self.accuracy is None else [f"accuracy {100 * self.accuracy:.1f} %"]
        parts += [f"{_OF_SEVERAL[name]} {100 * value:.1f} %" for name, value in self.found.of_several.items()]
        shares = [f"{method_title(method)} {100 * share:.1f} %" for method, share in self.found.flat_maps.items()]
        return "; ".join([*parts, *([f"flat maps: {', '.join(shares)}"] if shares else [])])

    @property
    def has_maps(self) -> bool:
        """Whether some method made maps; true where no metric of maps was asked for."""
        of_maps = [rows for (method, _), rows in self.found.rows.items() if method in self.evaluator.methods]
        all_failed = set(self.evaluator.methods) <= set(self.found.reasons)
        return not of_maps or not all_failed or any(bool(rows.any()) for rows in of_maps)

    @property
    def box_thresholds(self) -> dict[str, dict[str, float]]:
        """The threshold of Top-1, Top-5 and GT-known Loc, by method or control, and metric.

        That is the `box_threshold` of the settings, or the one that is best for these images. To score test images
        with a threshold that was not chosen by them, evaluate validation images first, and give
        `EvaluationSettings(box_threshold=...)` the number found there for `gt_known_localization`.
        """
        found: dict[str, dict[str, float]] = {}
        for method, name in self.evaluator.pairs:
            metric = self.evaluator.metric(name)
            if isinstance(metric, LocalizationAccuracy):
                threshold = metric.best_threshold(self.found.rows[method, name].double().sum(dim=0))
                if math.isfinite(threshold):
                    found.setdefault(method, {})[name] = threshold
        return found

    @property
    def curves(self) -> Curves:
        """The mean probability while pixels are inserted or removed, by method and way."""
        return mean_curves(self.evaluator, self.found)

    def minus(self, other: Evaluation) -> ScoreTable:
        """By how much this network's scores are higher than another's, on the same images, with paired intervals.

        Only images that count for both networks are compared. `ScoreTable` says how signs are to be read.

        Args:
            other: The evaluation of the other network on the same images by the same methods and metrics; those that
                only one of them has are left out.

        Raises:
            ValueError: If the images, the classes that are explained, the settings, or the kinds of probabilities are
                not the same.
        """
        self.check_same_images(other)
        mine, theirs = self.found.rows, other.found.rows
        pairs = {pair: [(-1, theirs[pair]), (1, mine[pair])] for pair in self.evaluator.pairs if pair in theirs}
        return ScoreTable(f"{self.title} minus {other.title}, on the same images", self.combined(pairs), signed=True)

    def beyond(self, control: str = SHUFFLED) -> BeyondControl:
        """By how much the scores of the maps are higher than those of a control, with paired intervals.

            beyond = score(maps) − score(control maps)

        Both are scores of the same network on the same images. A network that is robust to hidden pixels, or unsure of
        everything, scores alike with any map; what is left here comes from the maps. Compare two networks by
        `second.beyond().minus(first.beyond())`.

        Only images that count for both are compared, and of an image with maps of several classes only the classes that
        do. `ScoreTable` says how signs are to be read: a drop ↓ is better the further it is below 0.

        Args:
            control: uniform, center, random, or shuffled, which is another image's map of the same method; one of those
                that were scored (`controls` of `evaluate`).

        Returns:
            A score for each method and each metric of faithfulness and localization but `win`.

        Raises:
            ValueError: If this control was not scored.
        """
        of_methods = self.controls_of(control)
        if not of_methods:
            named = list(dict.fromkeys(self.evaluator.all_maps)) or ["none"]
            raise ValueError(
                f"`control`: {control!r} was not scored, only {', '.join(named)}; "
                f"give `evaluate` the argument controls={control!r}"
            )
        pairs = {}
        for method, name in self.evaluator.pairs:
            other = of_methods.get(method)
            if other is not None and (other, name) in self.found.rows and METRICS[name].has_control:
                terms = [(-1, self.found.rows_beside(other, method, name))]
                pairs[method, name] = [*terms, (1, self.found.rows_beside(method, other, name))]
        title = f"{self.title}: maps minus {control} maps, on the same images"
        return BeyondControl(title, self.combined(pairs), signed=True, evaluation=self, control=control, terms=pairs)

    def controls_of(self, control: str) -> dict[str, str]:
        """The name of the control map of each method for which it was scored; see `camtrain.methods.control_of`.

        Raises:
            ValueError: If there is no such control, with the nearest names.
        """
        names = {method: control_of(control, method) for method in self.evaluator.methods if not is_control(method)}
        return {method: name for method, name in names.items() if name in self.evaluator.all_maps}

    def combined(self, pairs: Mapping[tuple[str, str], Sequence[tuple[int, Tensor]]]) -> list[Score]:
        """Sums of scores with signs, with paired intervals, over the images that count for all their terms.

        Args:
            pairs: By method and metric, the terms: 1 or -1, and the rows of all images.
        """
        weights = resampling_weights(len(self.found.indices), self.num_resamples, self.evaluator.settings.seed)
        scores = []
        for (method, name), terms in pairs.items():
            metric = self.evaluator.metric(name)
            counted = torch.stack([metric.image_scores(rows).isfinite() for _, rows in terms]).all(dim=0)
            kept = [(sign, rows * counted.unsqueeze(1)) for sign, rows in terms]
            interval = combined_interval(metric, kept, weights)
            scores.append(Score(method, name, interval, int(counted.sum()), bool(metric.higher_is_better)))
        return scores

    def check_same_images(self, other: Evaluation) -> None:
        """Check that another evaluation is of the same images with the same settings, and asks the same of each image.

        Raises:
            ValueError: If it is not.
        """
        mine, theirs = self.found, other.found
        if mine.indices != theirs.indices or not mine.has_labels_of(theirs):
            raise ValueError("`other`: expected an evaluation of the same images, got other ones")
        check_same_settings(self.evaluator, other.evaluator)
        check_same_kind(self.evaluator, other.evaluator, mine.shown is not None)
        drawn = mine.shown is not None and self.evaluator.settings.class_of == "label"
        if drawn and not torch.equal(mine.class_idx, theirs.class_idx):
            raise ValueError(
                "`other`: expected the same class of each image, got others: they are drawn by the values of the "
                'images, which are normalized in another way; pass class_of="every_label"'
            )

    def win_matrix(self) -> dict[str, dict[str, float]]:
        """The fraction of the images on which one method drops less than another, by both names.

        It is empty where `average_drop` was not scored.
        """
        drops = {
            method: self.evaluator.metric(name).image_scores(self.found.rows[method, name])
            for method, name in self.evaluator.pairs
            if name == "average_drop" and method in self.evaluator.methods
        }
        matrix: dict[str, dict[str, float]] = {}
        for one, drop in drops.items():
            for other, other_drop in drops.items():
                both = drop.isfinite() & other_drop.isfinite()
                if one != other and bool(both.any()):
                    matrix.setdefault(one, {})[other] = float((drop + TIE < other_drop)[both].double().mean())
        return matrix

    def cost(self) -> str:
        """The number of images that went through the network for each image, in words."""
        images, methods = max(1, len(self.found.indices)), len(self.evaluator.all_maps)
        parts = []
        for need, count in self.found.passes.items():
            of_methods = f" ({count / images / methods:.3g} per method)" if need != "image" and methods > 1 else ""
            parts.append(f"{need} {count / images:.3g}{of_methods}")
        return f"forward passes per image, beside those that make the maps: {', '.join(parts)}"

    def curves_figure(self) -> Figure:
        """The curves as a matplotlib figure.

        Raises:
            ValueError: If no metric with a curve was scored.
        """
        if not self.curves:
            raise ValueError("`metrics`: expected insertion_auc, deletion_auc or road, which have curves")
        return curves_figure(self.curves, self.evaluator.settings)

    def panel_figure(self, metric: str) -> Figure:
        """The images with the best and with the worst maps by a metric, a row for each method.

        Args:
            metric: The name of a metric of maps.

        Raises:
            ValueError: If the metric was not scored, no maps were kept, or there are too few images to rank.
        """
        of_maps = [name for name in self.evaluator.metrics if not METRICS[name].of_network]
        if metric not in of_maps:
            raise ValueError(f"`metric`: {metric!r} was not scored; {nearest_names(metric, of_maps)}")
        count = self.num_panel_maps or _DEFAULT_PANEL_MAPS
        panels = best_and_worst_panels(self.evaluator, self.found, self.images, metric, count)
        if not panels:
            raise ValueError("`metric`: there are no maps to show; two ranked images and kept maps are needed")
        return figure_of(contact_sheet(panels, panels_title(self.evaluator, metric, panels), PANEL_TILE))

    def written(self) -> list[Path]:
        """The files that `evaluate` wrote to its folder, in the order in which they are worth a look."""
        if self.folder is None:
            return []
        names = ["scores.csv", "scores.json", "images.csv", "curves.csv", "curves.png"]
        panels = [f"panels/{metric}.png" for metric in self.evaluator.metrics] if self.num_panel_maps else []
        gallery = ["gallery.npz"] if self.num_gallery_images else []
        return [path for name in (*names, *panels, *gallery) if (path := self.folder / name).is_file()]

    def write(self, folder: str | Path) -> list[Path]:
        """Write tables and pictures to a folder.

        That is `scores.csv` and `scores.json`, `images.csv` with the scores of each image, `curves.csv` and
        `curves.png` where there are curves, `panels/<metric>.png`, and `gallery.npz` if it was asked for.

        Args:
            folder: It is made if need be; files of the same names are replaced.

        Returns:
            The paths.
        """
        path = Path(folder)
        self.write_csv(path / "scores.csv")
        write_whole(path / "scores.json", json.dumps(self._as_json(), indent=2) + "\n")
        paths = self.images.paths(self.found.indices)
        write_whole(path / "images.csv", image_table(self.evaluator, self.found, paths, self.class_names))
        written = [path / "scores.csv", path / "scores.json", path / "images.csv"]
        written += write_curves(self.curves, self.evaluator.settings, path)
        for metric in self.evaluator.metrics if self.num_panel_maps else ():
            if not METRICS[metric].of_network:
                written += self._write_panels(metric, path / "panels" / f"{metric}.png")
        if self.num_gallery_images:
            gallery = (path / "gallery.npz", self.class_names)
            written += write_gallery(self.found, self.images, self.num_gallery_images, *gallery)
        return written

    def _write_panels(self, metric: str, path: Path) -> list[Path]:
        panels = best_and_worst_panels(self.evaluator, self.found, self.images, metric, self.num_panel_maps)
        if not panels:
            return []
        with whole_file(path) as unfinished:
            write_png(contact_sheet(panels, panels_title(self.evaluator, metric, panels), PANEL_TILE), unfinished)
        return [path]

    def _as_json(self) -> dict[str, Any]:
        """All scores, NaN as null, with what a reader should know of them."""
        scores: dict[str, dict[str, Any]] = {}
        for each in self.scores:
            numbers = [number if math.isfinite(number) else None for number in each.interval]
            entry = dict(zip(("score", "low_95", "high_95"), numbers, strict=True)) | {"images": each.num_images}
            scores.setdefault(each.method, {})[each.metric] = entry
        about = {"network": self.title, "data": self.images.title, "images": len(self.found.indices)}
        found: dict[str, Any] = {
            "accuracy": self.accuracy,
            **{name: None if math.isnan(value) else value for name, value in self.found.of_several.items()},
            "flat_maps": self.found.flat_maps,
            "passes": self.found.passes,
            "reasons": self.found.reasons,
            "left_out": self.found.left_out,
        }
        found |= {"box_thresholds": self.box_thresholds} if self.box_thresholds else {}
        return about | {"settings": self.identity} | found | {"win": self.win_matrix(), "scores": scores}


@dataclass(frozen=True, kw_only=True, repr=False)
class BeyondControl(ScoreTable):
    """By how much the scores of one network's maps are higher than those of a control; see `Evaluation.beyond`.

    Attributes:
        evaluation: The evaluation of the network.
        control: The control: uniform, center, random or shuffled.
        terms: By method and metric, what is added up: 1 or -1, and the rows of all images.
    """

    evaluation: Evaluation
    control: str
    terms: Mapping[tuple[str, str], Sequence[tuple[int, Tensor]]]

    def minus(self, other: BeyondControl) -> ScoreTable:
        """By how much this network's scores beyond control are higher than another's, with paired intervals.

        The four scores of a resample are of the same images. Only images that count for all four are compared.

        Args:
            other: The scores of the other network beyond the same control, on the same images.

        Raises:
            ValueError: If the control, or what `Evaluation.minus` names, is not the same.
        """
        if self.control != other.control:
            raise ValueError(f"`other`: expected scores beyond {self.control} maps, got beyond {other.control} maps")
        self.evaluation.check_same_images(other.evaluation)
        pairs = {
            pair: [*terms, *((-sign, rows) for sign, rows in other.terms[pair])]
            for pair, terms in self.terms.items()
            if pair in other.terms
        }
        names = f"{self.evaluation.title} minus {other.evaluation.title}"
        title = f"{names}, beyond {self.control} maps, on the same images"
        return ScoreTable(title, self.evaluation.combined(pairs), signed=True)


def check_same_kind(first: Evaluator, second: Evaluator, several_labels: bool) -> None:
    """Check that both networks say the same kind of probability.

    Args:
        first: The evaluator of one network.
        second: That of the other one.
        several_labels: Whether the labels of the images are those of several classes, which makes all classes
            independent.

    Raises:
        ValueError: If one network was trained with one label for each image, the other with several.
    """
    if not several_labels and first.probabilities.independent != second.probabilities.independent:
        raise ValueError(
            "`other`: expected a network trained like the first one, got one trained with one label for each image "
            "and one with several: their probabilities cannot be compared on images with one label"
        )


def check_same_settings(first: Evaluator, second: Evaluator) -> None:
    """Check that the scores of one evaluator can be subtracted from those of another.

    Raises:
        ValueError: If they have other settings. The number of classes is one only for the pointing game, which is
            averaged over them.
    """
    averages_classes = "pointing_game" in first.metrics and "pointing_game" in second.metrics
    for setting in fields(first.settings):
        expected, got = (getattr(each.settings, setting.name) for each in (first, second))
        if expected != got and (averages_classes or setting.name != "num_classes"):
            raise ValueError(
                f"`other`: expected the same settings, {setting.name} = {expected!r}, got {setting.name} = {got!r}"
            )
