"""Score the maps of a network on a set of images, in one call."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from camtrain.evaluation.comparison import Comparison
from camtrain.evaluation.evaluation import Evaluation, check_same_kind, check_same_settings
from camtrain.evaluation.evaluation_folder import COMPARED, EvaluationFolder
from camtrain.evaluation.evaluation_plan import EvaluationPlan, Split
from camtrain.evaluation.evaluation_rows import evaluated_images, network_hash
from camtrain.evaluation.evaluation_settings import EvaluationSettings
from camtrain.evaluation.evaluator import Evaluator, what_is_missing
from camtrain.evaluation.explained_target import ExplainedTarget, explained_by
from camtrain.evaluation.image_source import ImageSource, image_source
from camtrain.evaluation.metric_specs import METRICS, named_metrics
from camtrain.evaluation.score_map_files import MAPS, ScoreMapWriter
from camtrain.files import CannotWriteError, local_folder
from camtrain.fingerprint import fingerprint
from camtrain.messages import CamtrainWarning, nearest_names
from camtrain.methods import (
    SHUFFLED,
    Method,
    Methods,
    control_names,
    given_methods,
    is_registered,
    method_description,
    methods_named,
)
from camtrain.networks import AdaptedNetwork
from camtrain.networks.loaded_network import LoadedNetwork

_NAMED = 5  # the number of images that a warning names


def evaluate(
    network: LoadedNetwork | nn.Module,
    data: Any,
    methods: Methods = "grad_cam",
    metrics: str | Sequence[str] = "fast",
    *,
    target: Callable[[Any], Tensor] | None = None,
    split: Split = "test",
    num_images: int | None = None,
    settings: EvaluationSettings | None = None,
    target_layer: str | None = None,
    num_channels: int | None = None,
    max_batch: int = 64,
    batch_size: int = 16,
    num_resamples: int = 1000,
    num_panel_maps: int = 3,
    num_gallery_images: int = 0,
    controls: str | Sequence[str] | None = None,
    folder: str | Path | None = None,
    write_maps: bool = False,
    fresh: bool = False,
    progress: bool = True,
) -> Evaluation:
    """Score the maps of every method by every metric, with bootstrap intervals.

    The network is run in evaluation mode and left as found. The same call gives the same numbers.

    Args:
        network: What `load_network` returns, or any `nn.Module` from (N, C, H, W) to (N, K) logits.
        data: The images, normalized as the network expects: a Lightning data module; a `DataLoader`, whose data set is
            read by index; or an iterable of batches, each a `camtrain.batch.Batch`, a pair (images, labels), or images.
            Images that show several classes have labels (N, K), 1 for these and 0 for the others. If a data module says
            that it has another number of classes than the network, its labels are left out, with a warning.
        methods: Names of methods, separated by commas or as a list. `all` leaves out `attention_map`, unless the
            network has an attention head. In the place of a name there can be a method that was built for this network,
            also one of captum, pytorch-grad-cam or torchcam; a mapping gives them names of your choice (see
            `camtrain.methods.given_methods`).
        metrics: Names of metrics or of groups of them, separated by commas or as a list. The groups are faithfulness,
            localization, sanity, gradient, `all`, and `fast`, which is all but `road` and `parameter_randomization`.
            Where the predicted class is explained, groups leave out Top-1, Top-5 and GT-known Loc: these are of the
            label.
        target: What is explained in place of a class: a function from the output of the network to one number for each
            image, (N,), for any images. What the metrics measure is its sigmoid, or the number itself of a target of
            `camtrain.targets` that is a fraction. Every map explains why the number is high. Methods are given by their
            names.
        split: The images of a data module that are evaluated.
        num_images: The number of images, evenly spaced over the data set; the first ones of an iterable. The default is
            all.
        settings: The choices that change the numbers.
        target_layer: The layer of the maps; several, separated by commas, for methods that fuse them. The default is
            the last one with more than one pixel.
        num_channels: Measure only this number of strongest channels in Score-CAM, SS-CAM and Ablation-CAM, which
            otherwise take a pass for each. The default is all.
        max_batch: The largest number of images in one forward pass, which bounds the memory.
        batch_size: The number of images whose maps are made together, and stored together.
        num_resamples: The number of bootstrap resamples behind the 95 % intervals.
        num_panel_maps: The number of best, and of worst, maps of each method that a metric's panel shows; 0 makes none.
        num_gallery_images: The number of images that are also written with their maps as arrays, `gallery.npz`, to be
            shown elsewhere.
        controls: Control maps to score beside the methods, so that `Evaluation.beyond` can compare them: uniform,
            center, random, or shuffled, which is another image's map for each method; separated by commas or as a list.
            The default is shuffled and uniform where two networks are compared, and `none` otherwise.
        folder: The folder for all files. It also keeps finished parts, so that the same call goes on where an earlier
            one was stopped. A part whose images have changed is evaluated again: batches of an iterable and tensors in
            memory are compared as a whole; of image files, the sizes of the files, the labels and the boxes, and only
            four images themselves. After other changes to files, use `fresh`. `None` keeps everything in memory.
        write_maps: Also write the maps of each method to the folder, so that other code can score them: (H, W) float32
            at the size of the images, `maps/<method>/<path of the image>.npy`. Each goes from 0 to 1, also where the
            minimum of the method's map is not 0, so that `score_maps` finds another `energy_pointing_game` there.
        fresh: Forget what an earlier evaluation wrote to the folder.
        progress: Show a progress bar.

    Raises:
        ValueError: If a name or setting is wrong, the folder belongs to an evaluation with other settings or to a
            training, or labels or annotation of some images cannot be used.
        TypeError: If the network or the data are none of these.

    Warns:
        CamtrainWarning: If a method makes no map of some images, images lack annotation, images in the folder are
            others now, or labels are of other classes than the network's.

    Cost:
        See `Evaluator`; `Evaluation.cost` says what it was. A control costs the passes of one more method, without
        those that make its maps; `shuffled` does so for each method, and thus about doubles the cost of fast maps.

    Example:
        >>> import torch
        >>> from camtrain.networks import CIFARResNet
        >>> images, labels = torch.rand(8, 3, 32, 32), torch.arange(8)
        >>> scores = evaluate(CIFARResNet(depth=8), [(images, labels)], metrics="average_drop", progress=False)
        >>> scores.score("grad_cam", "average_drop").num_images
        8
    """
    if target is not None:
        if settings is not None and settings.class_of != "prediction":
            raise ValueError(
                f'`class_of`: expected "prediction" beside a `target`, which is no class, got "{settings.class_of}"'
            )
        network, target_layer = explained_by(target, network, target_layer)
    with given_methods(methods) as names:
        plan = EvaluationPlan(
            names,
            metrics,
            split,
            num_images,
            EvaluationSettings() if settings is None else settings,
            target_layer,
            num_channels,
            max_batch,
            batch_size,
            num_resamples,
            num_panel_maps,
            num_gallery_images,
            controls,
        )
        how: Any = {"fresh": fresh, "progress": progress, "named": named_metrics(metrics), "write_maps": write_maps}
        prepared = PreparedEvaluation.of(network, data, plan, folder, **how)
        prepared.claim()
        return prepared.run()


def compare(
    network: LoadedNetwork | nn.Module,
    other: LoadedNetwork | nn.Module,
    data: Any,
    methods: Methods = "grad_cam",
    metrics: str | Sequence[str] = "fast",
    *,
    other_data: Any = None,
    folder: str | Path | None = None,
    write_maps: bool = False,
    fresh: bool = False,
    progress: bool = True,
    **plan: Any,
) -> Comparison:
    """Evaluate two networks on the same images, with the paired differences of their scores.

    Scores are compared as they are, and beyond control: a network that is robust to hidden pixels has good scores with
    any map. The control is another image's map unless `controls` names others; the uniform map is scored for reference
    as well, since it says what a map without any content comes to. `controls="none"` goes without, which takes a third
    of the time for one method.

    Both are checked before either is evaluated or a folder is touched, so that a fault in the second network does not
    show up hours later.

    Args:
        network: The first network.
        other: The second network.
        data: The images, as `evaluate` takes them.
        methods: As for `evaluate`; in the place of built methods, functions that build one for each network, as in
            `{"occlusion_8": lambda network: Occlusion(network, window=8)}`.
        metrics: As for `evaluate`.
        other_data: The same images as the second network expects them, if that is different.
        folder: The folder for all files; the second network's are in `<folder>/compared`. `differences.csv` has the
            differences, `differences_beyond_<control>.csv` those beyond a control, `curves_compared.png` the curves of
            both. `None` keeps everything in memory.
        write_maps: Also write the maps of each network to its folder, as `evaluate` does.
        fresh: Forget what an earlier evaluation wrote to the folder.
        progress: Show progress bars.
        plan: Further arguments of `evaluate`.

    Raises:
        ValueError: As `evaluate`, if both data sets have indices and are not asked for the same ones, if one network
            was trained with one label for each image and the other with several, or, at the end, if the classes that
            `class_of="label"` has drawn are not the same for both.
        TypeError: As `evaluate`.
    """
    second_folder = None if folder is None else local_folder(folder, "folder") / COMPARED
    known = [each.name for each in fields(EvaluationPlan)]
    for name in plan:
        if name not in known:
            raise TypeError(f"`{name}`: compare has no such argument; {nearest_names(name, known)}")
    # The uniform map is a reference by itself; what is beyond it would be a table that nobody asked for.
    beyond_of = [SHUFFLED] if plan.get("controls") is None else None
    if plan.get("controls") is None:
        plan["controls"] = (SHUFFLED, "uniform")
    with given_methods(methods) as names:
        asked = EvaluationPlan(names, metrics, **plan)
        how: Any = {"fresh": fresh, "progress": progress, "named": named_metrics(metrics), "write_maps": write_maps}
        first = PreparedEvaluation.of(network, data, asked, folder, **how)
        second_data = first.images if other_data is None else other_data
        try:
            second = PreparedEvaluation.of(other, second_data, asked, second_folder, title="compare", **how)
        except (ValueError, TypeError) as error:
            raise type(error)(f"`other`: {error}") from error
        if first.with_labels != second.with_labels:  # both are to be scored alike
            how["ignores_labels"] = True
            first = PreparedEvaluation.of(network, data, asked, folder, **how)
            second = PreparedEvaluation.of(other, second_data, asked, second_folder, title="compare", **how)
        check_same_settings(first.evaluator, second.evaluator)
        if first.evaluator.probabilities.independent != second.evaluator.probabilities.independent:
            check_same_kind(first.evaluator, second.evaluator, _have_several_labels(first))
        _check_same_number(first, second)
        for prepared in (first, second):
            prepared.claim()
        found, others = first.run(), second.run()
        differences = others.minus(found)
        beyond = {
            control: others.beyond(control).minus(found.beyond(control))
            for control in (asked.controls or () if beyond_of is None else beyond_of)
            if found.controls_of(control)
        }
        comparison = Comparison(found, others, differences, beyond)
        if folder is not None:
            comparison.write(folder)
        return comparison


def _have_several_labels(prepared: PreparedEvaluation) -> bool:
    """Whether labels that are used say so, by the first images."""
    part = next(iter(prepared.images.parts()), None) if prepared.with_labels else None
    labels = None if part is None else part.read().labels
    return labels is not None and labels.dim() == 2


def _check_same_number(first: PreparedEvaluation, second: PreparedEvaluation) -> None:
    """Check that data sets with indices are asked for the same ones; labels are compared when they have been read."""
    mine, theirs = (each.identity for each in (first, second))
    indices = [each["images"] for each in (mine, theirs)]
    if all(isinstance(each, list) for each in indices) and indices[0] != indices[1]:
        raise ValueError(f"`other_data`: expected the same images as `data` ({mine['data']}), got {theirs['data']}")


@dataclass(frozen=True)
class PreparedEvaluation:
    """An evaluation whose arguments have been checked by a first pass of the network, and which has not run yet.

    Attributes:
        network: The network.
        images: The images.
        evaluator: The evaluator of the network's maps.
        plan: The arguments.
        identity: All that changes the numbers, as JSON can hold it.
        folder: The folder that it is written to; `None` keeps it in memory.
        progress: True shows a progress bar.
        title: The title of the progress bar.
        named: The metrics that were asked for by their own names.
        write_maps: Whether the maps are written to the folder.
    """

    network: LoadedNetwork
    images: ImageSource
    evaluator: Evaluator
    plan: EvaluationPlan
    identity: dict[str, Any]
    folder: EvaluationFolder | None
    progress: bool
    title: str
    named: Sequence[str] = ()
    write_maps: bool = False

    @classmethod
    def of(
        cls,
        network: LoadedNetwork | nn.Module,
        data: Any,
        plan: EvaluationPlan,
        folder: str | Path | None = None,
        *,
        fresh: bool = False,
        progress: bool = True,
        title: str = "evaluate",
        named: Sequence[str] = (),
        write_maps: bool = False,
        ignores_labels: bool = False,
    ) -> PreparedEvaluation:
        """Check the arguments of `evaluate`; nothing is written.

        `ignores_labels` leaves out labels that could be used, since those of another network's classes are left out.
        """
        if write_maps and folder is None:
            raise ValueError("`write_maps`: expected a `folder` to write the maps to, got none")
        where = None if folder is None else local_folder(folder, "folder")
        loaded = LoadedNetwork.of(network)
        several = loaded.several_labels
        images = image_source(data, plan.split, plan.num_images, plan.batch_size, plan.settings.parts)
        if loaded.num_classes is None:
            loaded = replace(loaded, num_classes=_num_classes(loaded, images))
        of_images, of_network = images.num_classes, loaded.num_classes
        if of_images == 1 and of_network == 2:  # a single class is the question of a single logit: it has two answers
            of_images = 2
        _check_classes(plan.settings, of_images, of_network)
        # A target is no class, and its labels are left out anyway.
        are_others = _are_others(of_images, of_network) and not isinstance(loaded.network, ExplainedTarget)
        if are_others and not ignores_labels:
            warnings.warn(
                f"the {of_images} classes of the images are not the {of_network} of the network, so that labels are "
                "left out: there is no accuracy, and the pointing game is that of all images",
                CamtrainWarning,
                stacklevel=3,
            )
        with_labels = not (are_others or ignores_labels)
        protocol = _with_classes(plan.settings, of_images if with_labels else None, of_network)
        options = {
            "max_batch": plan.max_batch,
            "num_channels": plan.num_channels,
            "seed": plan.settings.seed,
            "progress": progress and sys.stderr.isatty(),
        }
        made = methods_named(plan.methods, loaded.network, plan.target_layer, **options)
        names = control_names(plan.controls or (), list(made))
        controls = methods_named(names, loaded.network, plan.target_layer, **options) if names else {}
        evaluator = Evaluator(
            loaded.network, made, plan.metrics, protocol, plan.max_batch, controls, several_labels=several
        )
        identity = {
            "weights": network_hash(loaded.network),
            "methods": list(made),
            # Without controls the identity is that of an evaluation from before there were any.
            **({"controls": names} if names else {}),
            **({"several_labels": True} if several else {}),
            **({} if with_labels else {"labels": "left out"}),
            **_of_given(made, loaded.network),
            "metrics": list(plan.metrics),
            "target_layer": plan.target_layer,
            "channels": plan.num_channels,
            "protocol": protocol.as_json(),
            "split": plan.split,
            **images.identity(),
            "panels": plan.num_panel_maps > 0 or plan.num_gallery_images > 0,
            **({"write_maps": True} if write_maps else {}),
            "camtrain": version("camtrain"),
        }
        kept = None if where is None else EvaluationFolder(where, identity, fresh=fresh)
        return cls(loaded, images, evaluator, plan, identity, kept, progress, title, named, write_maps)

    @property
    def with_labels(self) -> bool:
        """Whether the labels are those of the network's classes, so that they are used."""
        return "labels" not in self.identity

    def claim(self) -> None:
        """Make the folder this evaluation's own."""
        if self.folder is not None:
            self.folder.claim()

    def run(self) -> Evaluation:
        """Evaluate what has not been evaluated before; write all files if there is a folder.

        Raises:
            CannotWriteError: If a file cannot be written. What the folder has by then is whole and is kept.
        """
        try:
            return self._run()
        except CannotWriteError as error:
            goes_on = "called again with the same settings, the evaluation goes on from its last whole batch"
            raise CannotWriteError(f"{error}; {goes_on}") from error

    def _run(self) -> Evaluation:
        keeps_maps = self.folder is None or bool(self.identity["panels"])
        rows = None if self.folder is None else self.folder.rows
        writer = None
        if self.folder is not None and self.write_maps:
            writer = ScoreMapWriter(self.folder.path / MAPS, list(self.evaluator.methods))
        found = evaluated_images(
            self.evaluator,
            self.images,
            self.network.device,
            rows,
            keeps_maps=keeps_maps,
            progress=self.progress,
            title=self.title,
            score_maps=writer,
            with_labels=self.with_labels,
        )
        evaluation = Evaluation.of(
            self.network.title,
            self.evaluator,
            found,
            self.plan.num_resamples,
            images=self.images,
            num_panel_maps=self.plan.num_panel_maps,
            num_gallery_images=self.plan.num_gallery_images,
            class_names=self.network.class_names,
            identity=self.identity,
            folder=None if self.folder is None else self.folder.path,
        )
        if self.folder is not None:
            evaluation.write(self.folder.path)
        _warn_of_what_is_missing(evaluation, self.named)
        return evaluation


def _of_given(methods: dict[str, Method], network: nn.Module) -> dict[str, Any]:
    """What tells an evaluation of given methods, a target or an adapted network from others; nothing without these."""
    given = {name: method_description(method) for name, method in methods.items() if is_registered(name)}
    target = {"target": network.description} if isinstance(network, ExplainedTarget) else {}
    # Its functions are none of its weights; those of a target are the target.
    adapted = {
        name: fingerprint({"scores": module.scores, "inputs": module.inputs})
        for name, module in network.named_modules()
        if isinstance(module, AdaptedNetwork)
        and not isinstance(module, ExplainedTarget)
        and not (module.scores is module.inputs is None)
    }
    return ({"given": given} if given else {}) | target | ({"adapted": adapted} if adapted else {})


def _num_classes(network: LoadedNetwork, images: ImageSource) -> int:
    """The number of classes of a network that was not run before, found with the first image."""
    first = next(images.parts(), None)
    if first is None:
        raise ValueError("`data`: there are no images")
    image = first.read().images[:1].to(network.device)
    try:
        return len(network.probabilities(image))
    except ValueError as error:  # which names the size of photographs, and there are none
        message = str(error).replace("`size`", "`data`")
        if " cannot be run" in message:
            message = message.replace("`network`", "`data`", 1)
        raise ValueError(message) from error


def _check_classes(settings: EvaluationSettings, of_images: int | None, of_network: int | None) -> None:
    """Check that a label is a class of the network, where labels are explained."""
    if settings.class_of != "prediction" and _are_others(of_images, of_network):
        raise ValueError(
            f'`class_of`: expected "prediction", since the network has {of_network} classes and the images {of_images}'
        )


def _with_classes(settings: EvaluationSettings, of_images: int | None, of_network: int | None) -> EvaluationSettings:
    """The settings with the number of classes of the labels; that of the network where the images do not say it."""
    if settings.num_classes is not None:
        return settings
    return replace(settings, num_classes=of_network if of_images is None else of_images)


def _are_others(of_images: int | None, of_network: int | None) -> bool:
    """Whether the classes of the labels are certainly not those of the network."""
    return None not in (of_images, of_network) and of_images != of_network


def _which(evaluation: Evaluation, left_out: Sequence[int]) -> str:
    """The number of images that are not counted, and the names of the first few."""
    total = len(evaluation.found.indices)
    if not left_out:  # parts that an earlier version kept do not say it
        return "some images"
    if len(left_out) == total:
        return f"{total} of {total} images"
    named = evaluation.images.names(left_out[:_NAMED])
    rest = f" and {len(left_out) - _NAMED} more, see scores.json" if len(left_out) > _NAMED else ""
    return f"{len(left_out)} of {total} images ({', '.join(named)}{rest})"


def _is_silent(evaluation: Evaluation, kind: str, missing: int, named: Sequence[str]) -> bool:
    """Whether nobody asked for what a kind of annotation is missing for: masks alone, by the name of a group."""
    if kind != "masks" or missing < len(evaluation.found.indices) or evaluation.evaluator.settings.annotation == kind:
        return False
    return not any(METRICS[name].truth == kind for name in named)


def _warn_of_what_is_missing(evaluation: Evaluation, named: Sequence[str]) -> None:
    """Say which methods and images are missing from the scores."""
    found = evaluation.found
    for method, why in found.reasons.items():
        sentence = what_is_missing(method, _which(evaluation, found.left_out.get(method, [])))
        warnings.warn(f"{sentence}: {why}", CamtrainWarning, stacklevel=5)
    for kind, known in found.annotated.items():
        missing = int((~known).sum())
        if missing and not _is_silent(evaluation, kind, missing, named):
            warnings.warn(
                f"{missing} of {len(found.indices)} images have no {kind} and are not counted where they are needed",
                CamtrainWarning,
                stacklevel=5,
            )
