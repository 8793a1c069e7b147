"""`camtrain.evaluate` and `camtrain.compare`, as a script or a notebook calls them."""

from __future__ import annotations

import builtins
import csv
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import camtrain
from camtrain.batch import Batch, collate, evenly_spaced
from camtrain.data import ImageFolderData
from camtrain.data.annotated_samples import AnnotatedSamples
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.data.in_memory_samples import InMemorySamples
from camtrain.data.transformed_samples import TransformedSamples
from camtrain.evaluation import (
    NETWORK,
    ConfidenceInterval,
    EvaluationPlan,
    EvaluationSettings,
    Evaluator,
    Score,
    evaluate,
    name_in,
    outline_in,
    read_gallery,
)
from camtrain.evaluation.known_content import known_content
from camtrain.files import DamagedFileError
from camtrain.fingerprint import fingerprint
from camtrain.messages import CamtrainWarning
from camtrain.methods import method_named
from camtrain.metrics.win import TIE
from camtrain.networks import AttentionBranch, CIFARResNet, LoadedNetwork
from camtrain.networks.checkpoint_file import CHECKSUM, checksum_of
from camtrain.networks.preprocessing import plain_preprocessing
from tests.squares import Bare, Mislabeled, Squares, smooth, tiny, wide

SETTINGS = EvaluationSettings(num_steps=4)
QUICK = {"settings": SETTINGS, "batch_size": 4, "num_resamples": 50, "progress": False}


def batch_of(indices, data=None) -> Batch:
    images = (data or Squares()).data_set("test")
    return collate([images[index] for index in indices])


def pairs(size: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The ten images with their labels, in batches."""
    whole = batch_of(range(10))
    return list(zip(whole.images.split(size), whole.labels.split(size), strict=True))


def values(scores) -> dict[tuple[str, str], float]:
    return {(each.method, each.metric): each.value for each in scores}


@pytest.fixture(scope="module")
def scored():
    """Two methods by all quick metrics on ten images, in memory."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CamtrainWarning)
        return evaluate(tiny(), Squares(), "grad_cam,layer_cam", "fast", **QUICK)


# ---------------------------------------------------------------------------------------------- numbers and images


def test_the_scores_are_those_of_the_evaluator_on_all_images(scored):
    network = tiny().eval()
    methods = {name: method_named(name, network, seed=0) for name in ("grad_cam", "layer_cam")}
    evaluator = Evaluator(network, methods, ["fast"], replace(SETTINGS, num_classes=3))
    found = evaluator(batch_of(range(10)))
    assert [(each.method, each.metric) for each in scored] == evaluator.pairs
    for each in scored:
        metric, rows = evaluator.metric(each.metric), found.rows[each.method, each.metric]
        assert each.value == pytest.approx(float(metric.value(rows.sum(dim=0))), rel=2e-3, abs=2e-4, nan_ok=True)
        assert each.num_images == int(metric.image_scores(rows).isfinite().sum())
        assert each.higher_is_better == bool(metric.higher_is_better)
        assert each.num_images == 0 or each.interval.low <= each.value <= each.interval.high
    assert scored.accuracy == pytest.approx(float((found.predictions == batch_of(range(10)).labels).double().mean()))
    assert scored.has_maps
    # Images 0, 3, 6 and 9 have no box.
    assert scored.score("grad_cam", "average_drop").num_images == 10
    assert scored.score("grad_cam", "max_box_accuracy_v2").num_images == 6


class _Endless(IterableDataset):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(batch_of(range(10)).images)


@pytest.mark.parametrize(
    "data",
    [
        DataLoader(Squares().data_set("test"), batch_size=3, shuffle=True, collate_fn=collate),
        [batch_of(range(6)), batch_of(range(6, 10))],
        pairs(),
        pairs(10),
        iter(pairs(3)),
        (pair for pair in pairs(2)),
        DataLoader(TensorDataset(batch_of(range(10)).images, batch_of(range(10)).labels), batch_size=5),
        [images for images, _ in pairs()],
        DataLoader(_Endless(), batch_size=5),
    ],
    ids=["loader", "batches", "pairs", "one pair", "iterator", "generator", "tensors", "images", "iterable data set"],
)
def test_the_same_images_have_the_same_scores_whatever_they_come_in(scored, data):
    found = evaluate(tiny(), data, metrics="average_drop,deletion_auc", **QUICK)
    assert found.found.indices == [*range(10)]
    for each in found:
        expected = scored.score(each.method, each.metric)
        assert tuple(each.interval) == pytest.approx(tuple(expected.interval), rel=2e-3, abs=2e-4)
    # Pictures are read again for a panel.
    assert found.panel_figure("average_drop").axes


def test_without_labels_there_is_no_accuracy():
    images = [images for images, _ in pairs()]
    assert evaluate(tiny(), images, metrics="average_drop", **QUICK).accuracy is None
    with pytest.raises(ValueError, match='`class_of`: expected "prediction" where labels are unknown, got "label"'):
        evaluate(tiny(), images, metrics="average_drop", **QUICK | {"settings": EvaluationSettings(class_of="label")})


def test_boxes_of_a_batch_are_compared_with(scored):
    found = evaluate(tiny(), [batch_of([1, 2, 4, 5, 7, 8])], metrics="pointing_game,localization_iou_25", **QUICK)
    for metric in ("pointing_game", "localization_iou_25"):
        assert found.score("grad_cam", metric).num_images == 6
        assert found.score("grad_cam", metric).value == pytest.approx(scored.score("grad_cam", metric).value)


def test_a_number_of_images_is_spread_over_a_data_set_and_ends_an_iterable():
    taken = []

    def endless():
        for number in count():
            taken.append(number)
            yield pairs(4)[number % 2]

    assert evaluate(tiny(), Squares(), metrics="average_drop", num_images=3, **QUICK).found.indices == [1, 5, 8]
    assert evaluate(tiny(), endless(), metrics="average_drop", num_images=6, **QUICK).found.indices == [*range(6)]
    assert taken == [0, 1]


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_split_of_a_data_module(split):
    found = evaluate(tiny(), Squares(), metrics="average_drop", split=split, **QUICK)
    images = collate([Squares().data_set(split)[index] for index in range(10)]).images
    torch.testing.assert_close(found.found.predictions, tiny().eval()(images).argmax(dim=1))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (torch.rand(4, 3, 16, 16), TypeError, r"`data`: expected a data module, a DataLoader, .* got Tensor"),
        (3, TypeError, "`data`: expected a data module, .* got int"),
        ([], ValueError, "`data`: there are no images"),
        (["a.png"], TypeError, "`data`: expected batches, each a camtrain.batch.Batch, .* got str"),
        ([torch.rand(3, 16, 16)], ValueError, r"`data`: expected batches of floating point images .*\(3, 16, 16\)"),
        (
            (torch.rand(4, 3, 16, 16), torch.zeros(4)),
            ValueError,
            r"`data`: expected batches of floating point images \(N, C, H, W\), such as \[\(images, labels\)\], got",
        ),
        ([torch.zeros(2, 3, 16, 16, dtype=torch.uint8)], ValueError, r"got one of torch\.uint8 \(2, 3, 16, 16\)"),
        (
            [(torch.rand(4, 3, 16, 16), torch.zeros(3, dtype=torch.long))],
            ValueError,
            "`data`: expected labels of 4 images, got those of 3",
        ),
        ([Batch(torch.rand(2, 3, 16, 16), boxes=[torch.zeros(0, 4)])], ValueError, "expected boxes of 2 images, got"),
    ],
)
def test_what_is_no_data_is_named(data, error, message):
    with pytest.raises(error, match=message):
        evaluate(tiny(), data, metrics="average_drop", **QUICK)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"methods": "gradcam"}, ValueError, "`methods`: none is called 'gradcam'"),
        ({"methods": []}, ValueError, "`methods`: expected at least one, got none"),
        (
            {"metrics": "averge_drop"},
            ValueError,
            "`metrics`: none is called 'averge_drop'; did you mean",
        ),
        ({"metrics": []}, ValueError, "`metrics`: expected at least one, got none"),
        ({"split": "train"}, ValueError, '`split`: expected "test" or "val", got \'train\''),
        ({"num_images": 0}, ValueError, "`num_images`: expected a positive integer, got 0"),
        ({"num_panel_maps": -1}, ValueError, "`num_panel_maps`: expected an integer of at least 0, got -1"),
        ({"target_layer": "layer9"}, ValueError, "no module is called 'layer9'"),
        ({"network": "resnet18"}, TypeError, "`network`: expected an nn.Module or what camtrain.load_network"),
        ({"network": nn.Linear(7, 2)}, ValueError, "`data`: Linear cannot be run on images of 16×16 pixels"),
        ({"network": nn.Identity()}, ValueError, r"`network`: expected \(1, K\) logits of one image from Identity"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_written(tmp_path, changes, error, message):
    arguments = {"network": tiny(), "data": Squares(), "folder": tmp_path / "out", **QUICK} | changes
    with pytest.raises(error, match=message):
        evaluate(**arguments)
    assert not (tmp_path / "out").exists()


def test_images_and_network_have_to_have_the_same_classes_where_labels_are_explained():
    network = LoadedNetwork(wide(), "wide", plain_preprocessing(), num_classes=5)
    for given in (network, wide()):
        with pytest.raises(ValueError, match='`class_of`: expected "prediction", since the network has 5 classes and'):
            evaluate(given, Squares(), **QUICK | {"settings": EvaluationSettings(class_of="label")})


@pytest.mark.parametrize("folder", [None, "out"])
def test_labels_of_other_classes_are_left_out(tmp_path, folder):
    """The first of five classes is another one than the first of three."""
    how = {"metrics": "map_leakage", "folder": folder and tmp_path / folder, **QUICK}
    with pytest.warns(CamtrainWarning, match="the 3 classes of the images are not the 5 of the network"):
        found = evaluate(wide(), Squares(), **how)
    assert found.accuracy is None
    assert found.found.labels.tolist() == [-1] * 10
    without = [batch_of(range(start, min(start + 4, 10))) for start in (0, 4, 8)]
    expected = evaluate(wide(), [replace(each, labels=None) for each in without], **how | {"folder": None})
    parts = replace(SETTINGS, parts="given")
    with pytest.warns(CamtrainWarning, match="left out"):
        given = evaluate(wide(), Squares(), **how | {"folder": None, "settings": parts})
    assert given.score("grad_cam", "map_leakage").value == pytest.approx(expected[0].value, rel=1e-5)
    assert evaluate(tiny(), Squares(), **how | {"folder": None}).accuracy is not None


def test_a_label_that_is_no_class_is_named():
    settings = QUICK | {"settings": replace(SETTINGS, class_of="label")}
    with pytest.raises(ValueError, match="images 2, 5, 8: `labels`: expected classes from 0 to 2, got 7"):
        evaluate(tiny(), Mislabeled(), metrics="average_drop", **settings)
    with pytest.raises(ValueError, match="images 2, 5, 8: `labels`: expected classes from 0 to 2, got 7"):
        evaluate(tiny(), Mislabeled(), metrics="pointing_game", **QUICK)
    assert len(evaluate(tiny(), Mislabeled(), metrics="average_drop", **QUICK)) == 1  # nobody needs the label


def test_a_split_without_images_is_named():
    with pytest.raises(ValueError, match="`split`: Bare has no val images"):
        evaluate(tiny(), Bare(), split="val", **QUICK)


# ------------------------------------------------------------------------------------------------ left as found


def test_the_network_is_left_as_found():
    network = tiny().train()
    network.layer2.eval()
    calls = []
    network.conv1.register_forward_hook(lambda *_: calls.append(1))
    modes = [module.training for module in network.modules()]
    hooks = [len(module._forward_hooks) for module in network.modules()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    evaluate(network, pairs(), "grad_cam,guided_backprop", "average_drop,sanity", **QUICK)
    assert calls
    labels = [(images, labels + 7) for images, labels in pairs()]
    with pytest.raises(ValueError, match="`labels`"):
        evaluate(network, labels, metrics="average_drop", **QUICK | {"settings": EvaluationSettings(class_of="label")})
    assert [module.training for module in network.modules()] == modes
    assert [len(module._forward_hooks) for module in network.modules()] == hooks
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_noise_follows_the_seed():
    def drop(seed):
        settings = QUICK | {"settings": replace(SETTINGS, seed=seed)}
        return evaluate(tiny(), pairs(), "smooth_grad", "average_drop", **settings).score("smooth_grad", "average_drop")

    assert drop(0) == drop(0)
    assert drop(0).value != drop(1).value


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = []

    def watch(original, modes):
        def opened(path, mode="r", *args, **options):
            if isinstance(mode, str) and set(mode) & set("wax+"):
                written.append(path)
            return original(path, mode, *args, **options)

        return opened

    monkeypatch.setattr(builtins, "open", watch(builtins.open, "wax+"))
    monkeypatch.setattr(Path, "open", watch(Path.open, "wax+"))
    for name in ("mkdir", "makedirs"):
        monkeypatch.setattr(os, name, lambda path, *_, **__: written.append(path))
    found = evaluate(tiny(), pairs(), metrics="average_drop,insertion_auc", **QUICK)
    found.table(), found._repr_html_(), found.win_matrix(), found.cost()
    assert (written, list(tmp_path.iterdir()), found.folder, found.written()) == ([], [], None, [])


def test_a_bar_is_shown_only_if_asked_for(capsys):
    evaluate(tiny(), pairs(), metrics="average_drop", **QUICK)
    assert capsys.readouterr() == ("", "")
    evaluate(tiny(), pairs(), metrics="average_drop", **QUICK | {"progress": True})
    assert "evaluate" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ warnings


def test_what_is_missing_is_warned_of_once():
    metrics = "average_drop,localization,pixel_average_precision"
    with pytest.warns(CamtrainWarning) as caught:
        found = evaluate(smooth(), Squares(), "grad_cam,guided_backprop", metrics, **QUICK)
    messages = [str(each.message) for each in caught]
    assert len(messages) == len(set(messages)) == 3
    assert messages[0].startswith("guided backprop made no map of 10 of 10 images, which are not counted: ")
    assert messages[1:] == [
        "4 of 10 images have no boxes and are not counted where they are needed",
        "10 of 10 images have no masks and are not counted where they are needed",
    ]
    assert all(each.filename == __file__ for each in caught)
    assert found.has_maps
    assert found.score("guided_backprop", "average_drop").num_images == 0
    with pytest.warns(CamtrainWarning, match="guided backprop made no map"):
        assert not evaluate(smooth(), pairs(), "guided_backprop", "average_drop", **QUICK).has_maps
    # Where no metric of maps is asked for, no map is needed.
    with pytest.warns(CamtrainWarning, match="guided backprop made no map"):
        assert evaluate(smooth(), pairs(), "guided_backprop", "gradient_noise", **QUICK).has_maps


@pytest.mark.parametrize(
    ("metrics", "settings", "warned"),
    [
        ("localization", {}, {"boxes"}),  # a group has scores of boxes and of masks; nobody asked for those of masks
        ("fast", {}, {"boxes"}),
        ("pixel_average_precision", {}, {"masks"}),
        ("energy_pointing_game", {"annotation": "masks"}, {"masks"}),
    ],
)
def test_masks_are_missed_only_where_they_are_scored(metrics, settings, warned):
    how = {**QUICK, "settings": EvaluationSettings(num_steps=4, **settings)}
    with pytest.warns(CamtrainWarning) as caught:
        evaluate(tiny(), Squares(), metrics=metrics, **how)
    assert {kind for kind in ("boxes", "masks") for each in caught if f"have no {kind} " in str(each.message)} == warned


class Dead(nn.Module):
    """Its Grad-CAM is zero everywhere for images with a bright first pixel."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1)

    def forward(self, images):
        alive = (images[:, :1, :1, :1] < 0.5).to(images)
        found = (self.features(images) * alive).mean(dim=(2, 3))
        return torch.cat([found, 0 * found[:, :1]], dim=1)


def test_flat_maps_are_counted(tmp_path):
    torch.manual_seed(0)
    images, labels = torch.rand(8, 3, 4, 4), torch.tensor([0, 1] * 4)
    images[:, 0, 0, 0] = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0])
    how = {"metrics": "average_drop", "target_layer": "features", **QUICK}
    network = Dead()
    found = evaluate(network, [(images, labels)], folder=tmp_path, **how)
    flat = found.found.flat["grad_cam"]
    assert flat[[0, 4]].tolist() == [1, 1]
    share = found.found.flat_maps["grad_cam"]
    assert share == pytest.approx(float((flat == 1).double().mean()))
    assert json.loads((tmp_path / "scores.json").read_text())["flat_maps"] == {"grad_cam": share}
    assert f"flat maps: Grad-CAM {100 * share:.1f} %" in found.summary()
    assert found.summary().startswith(f"accuracy {100 * found.accuracy:.1f} %; ")
    # An image without a map has no flat one.
    broken = images.clone()
    broken[1, 0, 1, 1] = torch.nan
    with pytest.warns(CamtrainWarning):
        assert evaluate(Dead(), [(broken, labels)], **how).found.flat["grad_cam"][1] == -1
    # Parts that an earlier version kept do not say it.
    for path in (tmp_path / "rows").glob("batch_*.pt"):
        part = torch.load(path, weights_only=True)
        kept = {key: value for key, value in part.items() if key not in ("flat", CHECKSUM)}
        torch.save({**kept, CHECKSUM: checksum_of(kept)}, path)
    again = evaluate(network, [(images, labels)], folder=tmp_path, **how)
    assert again.scores == found.scores
    assert (again.found.flat, again.summary()) == ({}, f"accuracy {100 * found.accuracy:.1f} %")


# -------------------------------------------------------------------------------------------- scores and pictures


def test_scores_are_found_by_their_names(scored):
    found = scored.score("grad_cam", "average_drop")
    assert (found.method, found.metric, found.higher_is_better) == ("grad_cam", "average_drop", False)
    assert scored.score("gradient_noise") == scored.score(NETWORK, "gradient_noise")
    assert scored[0] in scored
    assert len(list(scored)) == len(scored) == len(scored.scores)
    with pytest.raises(KeyError, match="no score grad_cam, averge_drop; did you mean 'grad_cam, average_drop'"):
        scored.score("grad_cam", "averge_drop")


def test_it_prints_as_tables(scored):
    table = scored.table()
    for words in ("faithfulness, %", "drop ↓", "average gain ↑", "Grad-CAM", "LayerCAM", "gradient noise ↓"):
        assert words in table
    assert scored.score("grad_cam", "average_drop").shown() in table
    assert "PxAP" not in table, "nobody has a mask"
    assert max(map(len, table.splitlines())) <= 80, "the width of a terminal that does not say how wide it is"
    assert max(map(len, scored.table(width=60).splitlines())) <= 60
    assert str(scored) == repr(scored) == f"CIFARResNet\n\n{table}"


def test_a_notebook_shows_tables(scored):
    class Cells(HTMLParser):
        def __init__(self):
            super().__init__()
            self.tags, self.words = [], []

        def handle_starttag(self, tag, attrs):
            self.tags.append(tag)

        def handle_data(self, data):
            self.words.append(data.strip())

    parser = Cells()
    parser.feed(replace(scored, title="a < b")._repr_html_())
    assert parser.words[0] == "a < b"
    assert "table" in parser.tags
    assert {"drop ↓", "Grad-CAM", scored.score("grad_cam", "average_drop").shown()} <= set(parser.words)


def test_it_becomes_the_rows_of_a_data_frame(scored, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=list))
    rows = scored.to_frame()
    for each, row in zip(scored, rows, strict=True):
        assert (each.method, each.metric, each.num_images) == (row["method"], row["metric"], row["images"])
        assert (row["low_95"], row["score"], row["high_95"]) == pytest.approx(
            (each.interval.low, each.value, each.interval.high), nan_ok=True
        )
        assert row["better"] == ("higher" if each.higher_is_better else "lower")


def test_it_becomes_a_data_frame(scored):
    pandas = pytest.importorskip("pandas")
    frame = scored.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == len(scored)
    assert list(frame.columns) == ["method", "metric", "score", "low_95", "high_95", "images", "better"]


def test_without_pandas_it_says_so(scored, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="`to_frame` needs pandas: `pip install pandas`"):
        scored.to_frame()


def test_curves_have_a_plot_for_each_way(scored):
    figure = scored.curves_figure()
    assert [axes.get_title() for axes in figure.axes] == ["insertion", "deletion"]
    for axes in figure.axes:
        assert [line.get_label() for line in axes.lines] == ["Grad-CAM", "LayerCAM"]
    fractions, shown = figure.axes[0].lines[0].get_data()
    assert list(fractions) == [0, 0.25, 0.5, 0.75, 1]
    area = (sum(shown) - shown[0] / 2 - shown[-1] / 2) / 4
    assert area == pytest.approx(scored.score("grad_cam", "insertion_auc").value, rel=1e-4)


def test_a_panel_has_the_best_and_the_worst_maps(scored):
    from camtrain.evaluation.panels import best_and_worst_panels

    drops = scored.evaluator.metric("average_drop").image_scores(scored.found.rows["grad_cam", "average_drop"])
    panels = best_and_worst_panels(scored.evaluator, scored.found, scored.images, "average_drop", 3)
    titles = [tile.title for tile in panels[0].tiles[1:]]
    ranked = [*drops.argsort(stable=True)[:3].tolist(), *drops.argsort(descending=True, stable=True)[:3].tolist()]
    assert len(panels) == 2
    assert titles == [f"drop: {100 * float(drops[place]):.1f} %\nimage {place}" for place in ranked]
    for tile, place in zip(panels[0].tiles[1:], ranked, strict=True):
        known = batch_of(range(10)).boxes[place]
        assert (tile.outline is None) == (len(known) == 0)
        assert tile.outline is None or torch.equal(tile.outline.boxes, known.as_subclass(torch.Tensor))
    assert scored.panel_figure("average_drop").axes[0].images


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Five files of two classes with the evaluation of their maps; the first has a box, the second a mask."""
    root = tmp_path_factory.mktemp("photographs")
    for number in range(5):
        name = ("=cat", "dog")[number % 2]
        for split in ("train", "test"):
            path = root / split / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = torch.randint(
                0, 255, (40, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(number)
            )
            Image.fromarray(pixels.numpy()).save(path)
    (root / "boxes.csv").write_text("path,x0,y0,x1,y1\ntest/=cat/0.png,4,8,20,40\n")
    mask = torch.zeros(40, 40, dtype=torch.uint8)
    mask[10:30, 20:30] = 255
    (root / "masks/test/dog").mkdir(parents=True)
    Image.fromarray(mask.numpy()).save(root / "masks/test/dog/1.png")
    data = ImageFolderData(
        str(root), image_size=20, boxes_csv=str(root / "boxes.csv"), masks_root=str(root / "masks"), val_fraction=0.4
    )
    torch.manual_seed(0)
    network = LoadedNetwork(
        CIFARResNet(depth=8, num_classes=2, width=4), "tiny", plain_preprocessing(), class_names=["=cat", "dog"]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CamtrainWarning)
        return root, evaluate(network, data, metrics="localization_iou_25,average_drop", **QUICK)


def test_images_of_files_are_named_by_them_in_panels(photographs):
    from camtrain.evaluation.panels import best_and_worst_panels, panels_title

    _, found = photographs
    (panel,) = best_and_worst_panels(found.evaluator, found.found, found.images, "localization_iou_25", 1)
    score = found.evaluator.metric("localization_iou_25").image_scores(
        found.found.rows["grad_cam", "localization_iou_25"]
    )
    # Sorted by class: 0, 2 and 4, then 1 and 3. Only the first and that with the mask are scored.
    by_name = {"0.png": float(score[0]), "1.png": float(score[3])}
    expected = {f"IoU at 25 %: {100 * value:.1f} %\n{name}" for name, value in by_name.items()}
    assert {tile.title for tile in panel.tiles[1:]} == expected
    outlines = {tile.title.partition("\n")[2]: tile.outline for tile in panel.tiles[1:]}
    assert outlines["0.png"].boxes.tolist() == [[2.0, 4.0, 10.0, 20.0]]
    assert outlines["0.png"].mask is None
    # The box around a mask is what maps are compared with, too.
    assert outlines["1.png"].boxes.tolist() == [[10.0, 5.0, 15.0, 15.0]]
    assert int(outlines["1.png"].mask.sum()) == 50
    assert panels_title(found.evaluator, "localization_iou_25", [panel]) == (
        "IoU at 25 %: best and worst maps, higher is better; red: the map is high, blue: low; "
        "green lines: boxes and masks of the objects"
    )


def test_the_table_of_images_has_paths_and_names_of_classes(photographs, tmp_path):
    root, found = photographs
    found.write(tmp_path / "out")
    with (tmp_path / "out/images.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]) for row in rows] == [root / "test" / each for each in (
        "=cat/0.png", "=cat/2.png", "=cat/4.png", "dog/1.png", "dog/3.png"
    )]  # fmt: skip
    assert [row["label_name"] for row in rows] == ["'=cat"] * 3 + ["dog"] * 2, "no formula for a spreadsheet"
    for row, predicted in zip(rows, found.found.predictions.tolist(), strict=True):
        assert (row["predicted"], row["predicted_name"]) == (str(predicted), ("'=cat", "dog")[predicted])
        assert (row["explained"], row["explained_name"]) == (row["predicted"], row["predicted_name"])


def test_a_gallery_has_names_boxes_and_masks(photographs, tmp_path):
    _, found = photographs
    replace(found, num_gallery_images=5).write(tmp_path)
    gallery = read_gallery(tmp_path / "gallery.npz")
    assert [name_in(gallery, place) for place in range(5)] == ["0.png", "2.png", "4.png", "1.png", "3.png"]
    assert outline_in(gallery, 0).boxes.tolist() == [[2.0, 4.0, 10.0, 20.0]]
    assert outline_in(gallery, 0).mask is None
    assert outline_in(gallery, 1) is None
    assert torch.equal(outline_in(gallery, 3).mask, found.images.shown([3])[0].outline.mask)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("names", np.zeros(5)),
        ("names", np.array(["a"])),
        ("boxes", np.zeros((5, 4), dtype=np.float32)),
        ("boxes", np.full((5, 1, 4), np.inf, dtype=np.float32)),
        ("boxes", np.full((5, 1001, 4), np.nan, dtype=np.float32)),
        ("masks", np.zeros((5, 3, 3), dtype=bool)),
        ("masks", np.zeros((5, 20, 20), dtype=np.uint8)),
    ],
)
def test_a_gallery_with_other_arrays_of_objects_is_damaged(photographs, tmp_path, name, array):
    replace(photographs[1], num_gallery_images=5).write(tmp_path)
    with np.load(tmp_path / "gallery.npz") as arrays:
        found = {**arrays, name: array}
    np.savez_compressed(tmp_path / "gallery.npz", **found)
    with pytest.raises(DamagedFileError, match=name):
        read_gallery(tmp_path / "gallery.npz")


@pytest.mark.parametrize("version", ["this", "earlier"])
def test_a_gallery_has_the_probabilities_of_the_predictions(tmp_path, version):
    """Also where the label is explained, and is another class. An earlier version did not keep it."""
    whole = batch_of(range(10))
    with torch.no_grad():
        probabilities = tiny().eval()(whole.images).softmax(dim=1)
    labels = (probabilities.argmax(dim=1) + torch.arange(10) % 2) % 3  # every second one is wrong
    how = {"metrics": "average_drop", "folder": tmp_path, "num_gallery_images": 10, **QUICK}
    how["settings"] = EvaluationSettings("label", num_steps=4)
    evaluate(tiny(), [(whole.images, labels)], **how)
    expected = probabilities.amax(dim=1)
    if version == "earlier":
        for path in (tmp_path / "rows").glob("*.pt"):
            part = torch.load(path, weights_only=True)
            part.pop("confidences")
            torch.save(part | {CHECKSUM: checksum_of({key: part[key] for key in part if key != CHECKSUM})}, path)
        evaluate(tiny(), [(whole.images, labels)], **how)
        expected = torch.where(torch.arange(10) % 2 == 0, expected, torch.nan)
    gallery = read_gallery(tmp_path / "gallery.npz")
    assert gallery["predictions"].tolist() == probabilities.argmax(dim=1).tolist()
    torch.testing.assert_close(torch.from_numpy(gallery["probabilities"]), expected, equal_nan=True)


def test_without_an_answered_image_there_is_no_gallery(tmp_path):
    network = tiny()
    torch.nn.init.constant_(network.fc.bias, torch.nan)
    with pytest.warns(CamtrainWarning, match="the network says nothing of 10 of 10 images"):
        found = evaluate(
            network, pairs(), metrics="average_drop", folder=tmp_path, num_gallery_images=4, **QUICK
        )  # fmt: skip
    assert found.score("grad_cam", "average_drop").num_images == 0
    assert sorted(path.name for path in found.written()) == ["images.csv", "scores.csv", "scores.json"]
    assert not (tmp_path / "gallery.npz").exists()


def test_pictures_that_cannot_be_made_say_why(scored):
    with pytest.raises(ValueError, match="`metric`: 'averge_drop' was not scored; did you mean 'average_drop'"):
        scored.panel_figure("averge_drop")
    with pytest.raises(ValueError, match="`metric`: 'gradient_noise' was not scored"):
        scored.panel_figure("gradient_noise")
    with pytest.raises(ValueError, match="`metric`: there are no maps to show"):
        scored.panel_figure("pixel_average_precision")
    few = evaluate(tiny(), pairs(), metrics="average_drop", **QUICK)
    with pytest.raises(ValueError, match="`metrics`: expected insertion_auc, deletion_auc or road, which have curves"):
        few.curves_figure()


def test_one_method_wins_on_a_fraction_of_the_images(scored):
    names = ("grad_cam", "layer_cam")
    metric = scored.evaluator.metric("average_drop")
    drops = [metric.image_scores(scored.found.rows[name, "average_drop"]) for name in names]
    matrix = scored.win_matrix()
    for one, other in ((0, 1), (1, 0)):
        both = zip(drops[one].tolist(), drops[other].tolist(), strict=True)
        fraction = sum(mine + TIE < theirs for mine, theirs in both) / 10
        assert matrix[names[one]][names[other]] == pytest.approx(fraction)
    assert evaluate(tiny(), pairs(), metrics="average_gain", **QUICK).win_matrix() == {}


def test_what_it_cost_is_said():
    found = evaluate(tiny(), pairs(), "grad_cam,layer_cam", "average_drop", **QUICK)
    assert found.cost() == (
        "forward passes per image, beside those that make the maps: image 1, masked_scores 2 (1 per method)"
    )


# -------------------------------------------------------------------------------------------------------- folders


def read(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return {(row["method"], row["metric"]): row for row in csv.DictReader(file)}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_that_is_promised_is_written(tmp_path, scored):
    paths = replace(scored, num_gallery_images=3).write(tmp_path / "out")
    assert {path.relative_to(tmp_path / "out").as_posix() for path in paths} == set(files(tmp_path / "out"))
    names = {"scores.csv", "scores.json", "images.csv", "curves.csv", "curves.png", "gallery.npz"}
    assert names | {"panels/average_drop.png", "panels/localization_iou_25.png"} < set(files(tmp_path / "out"))
    table = read(tmp_path / "out/scores.csv")
    assert set(table) == set(values(scored))
    for each in scored:
        written = table[each.method, each.metric]["score"]
        assert written == ("" if each.num_images == 0 else f"{each.value:.6g}")
    about = json.loads((tmp_path / "out/scores.json").read_text())
    assert (about["network"], about["images"], about["accuracy"]) == ("CIFARResNet", 10, scored.accuracy)
    assert about["settings"]["protocol"]["num_steps"] == 4
    drop = about["scores"]["grad_cam"]["average_drop"]
    assert (drop["score"], drop["images"]) == (scored.score("grad_cam", "average_drop").value, 10)
    with (tmp_path / "out/images.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "grad_cam"]
    assert [int(row["index"]) for row in rows] == [*range(10)]
    assert [row["label"] for row in rows[:4]] == ["0", "1", "2", "0"]
    assert {(row["path"], row["label_name"], row["predicted_name"]) for row in rows} == {("", "", "")}
    assert sum(float(row["average_drop"]) for row in rows) / 10 == pytest.approx(drop["score"], rel=1e-4)
    with Image.open(tmp_path / "out/panels/average_drop.png") as picture:
        assert picture.size[0] > 300


def test_with_a_folder_the_scores_are_the_same_and_written(tmp_path):
    in_memory = evaluate(tiny(), Squares(), metrics="average_drop", **QUICK)
    found = evaluate(tiny(), Squares(), metrics="average_drop", folder=tmp_path / "out", **QUICK)
    assert found.scores == in_memory.scores
    assert [path.name for path in found.written()] == ["scores.csv", "scores.json", "images.csv", "average_drop.png"]
    assert read(tmp_path / "out/scores.csv")["grad_cam", "average_drop"]["score"] == f"{found[0].value:.6g}"


@pytest.fixture
def evaluated(monkeypatch):
    """The numbers of images of the batches that are evaluated."""
    calls, original = [], Evaluator.__call__

    def called(self, batch):
        calls.append(len(batch))
        return original(self, batch)

    monkeypatch.setattr(Evaluator, "__call__", called)
    return calls


@pytest.mark.parametrize(
    ("data", "sizes"), [(Squares(), [4, 3, 3]), (pairs(4), [4, 4, 2])], ids=["data module", "pairs"]
)
def test_it_goes_on_where_it_was_stopped(tmp_path, evaluated, data, sizes):
    how = {"metrics": "average_drop", "folder": tmp_path / "out", "num_panel_maps": 0, **QUICK}
    evaluate(tiny(), data, **how)
    assert evaluated == sizes
    before = files(tmp_path / "out")
    (tmp_path / "out/rows/batch_00001.pt").unlink()
    evaluated.clear()
    evaluate(tiny(), data, **how)
    assert evaluated == sizes[1:2]
    after = files(tmp_path / "out")
    assert {name: content for name, content in after.items() if not name.endswith(".pt")} == {
        name: content for name, content in before.items() if not name.endswith(".pt")
    }
    evaluated.clear()
    evaluate(tiny(), data, **how)
    assert evaluated == []
    evaluate(tiny(), data, fresh=True, **how)
    assert evaluated == sizes


def test_what_was_evaluated_before_an_interruption_is_kept(tmp_path, monkeypatch):
    how = {"metrics": "average_drop", "folder": tmp_path / "out", "num_panel_maps": 0, **QUICK}
    calls, original = [], Evaluator.__call__

    def stopped(self, batch):
        calls.append(len(batch))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(Evaluator, "__call__", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate(tiny(), Squares(), **how)
    found = evaluate(tiny(), Squares(), **how)
    assert calls == [4, 3, 3, 3]
    assert found.scores == evaluate(tiny(), Squares(), **how | {"folder": None}).scores


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_part_is_made_again(tmp_path, evaluated, damage):
    how = {"metrics": "average_drop", "folder": tmp_path / "out", "num_panel_maps": 0, **QUICK}
    before = evaluate(tiny(), Squares(), **how).scores
    path, other = tmp_path / "out/rows/batch_00001.pt", tmp_path / "out/rows/batch_00000.pt"
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "other": other.read_bytes()}[damage])
    evaluated.clear()
    with pytest.warns(CamtrainWarning, match=r"batch_00001\.pt is damaged: .*, and its images are evaluated again"):
        assert evaluate(tiny(), Squares(), **how).scores == before
    assert evaluated == [3]


def changed_batches() -> tuple[object, object]:
    """The second of three batches is another one."""
    first, second, third = pairs()
    return [first, (0.5 * second[0], second[1]), third], [first, second, third]


def changed_labels() -> tuple[object, object]:
    first, second, third = pairs()
    return [first, (second[0], (second[1] + 1) % 3), third], [first, second, third]


def changed_tensors() -> tuple[object, object]:
    """One of ten images is another one, which is none of the four that are always read."""
    whole = batch_of(range(10))
    assert 5 not in evenly_spaced(10, 4)
    images = whole.images.clone()
    images[5] = images[5].flip(-1)
    return DataLoader(TensorDataset(images, whole.labels)), DataLoader(TensorDataset(whole.images, whole.labels))


@pytest.mark.parametrize("changed", [changed_batches, changed_labels, changed_tensors])
def test_images_that_are_others_than_before_are_evaluated_again(tmp_path, evaluated, changed):
    how = {"metrics": "average_drop", "num_panel_maps": 0, **QUICK}
    before, now = changed()
    evaluate(tiny(), before, folder=tmp_path / "out", **how)
    expected = evaluate(tiny(), now, **how)
    evaluated.clear()
    with pytest.warns(
        CamtrainWarning, match="images (4 to 7|2, 5, 8), or their labels or annotation, are others than before"
    ):
        found = evaluate(tiny(), now, folder=tmp_path / "out", **how)
    assert evaluated in ([4], [3])
    assert (found.scores, found.accuracy) == (expected.scores, expected.accuracy)
    evaluated.clear()
    assert evaluate(tiny(), now, folder=tmp_path / "out", **how).scores == expected.scores
    assert evaluated == []


@pytest.mark.parametrize("change", ["image", "box", "label", "hidden"])
def test_image_files_and_annotation_that_are_others_than_before_are_noticed(tmp_path, evaluated, change):
    for index, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")

    def loader(*changes: str) -> DataLoader:
        files = [ImageFile(tmp_path / f"{index}.png", index % 3, ((2.0, 2.0, 9.0, 9.0),)) for index in range(10)]
        if "box" in changes:
            files[5] = replace(files[5], boxes=((3.0, 2.0, 9.0, 9.0),))
        if "label" in changes:
            files[5] = replace(files[5], label=0)
        samples = AnnotatedSamples(
            ImageFileSamples(files, has_boxes=True), set(range(10)) - ({5} if "hidden" in changes else set())
        )
        return DataLoader(TransformedSamples(samples, [], (0.5,) * 3, (0.5,) * 3), collate_fn=collate)

    how = {"metrics": "energy_pointing_game", "num_panel_maps": 0, "folder": tmp_path / "out", **QUICK}
    evaluate(tiny(), loader(), **how)
    if change == "image":
        Image.new("RGB", (16, 16), "red").save(tmp_path / "5.png")
    evaluated.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        evaluate(tiny(), loader(change), **how)
    assert "images 2, 5, 8, or their labels or annotation, are others than before" in str(caught[0].message)
    assert evaluated == [3]


def test_masks_and_further_classes_tell_that_an_image_is_another(tmp_path):
    mask = tmp_path / "mask.png"
    mask.write_bytes(b"1")

    def known(**more):
        return known_content(SimpleNamespace(files=[ImageFile(tmp_path / "image.png", 0, mask=mask, **more)]), 0)

    before = known()
    assert known() == before
    assert known(classes=(1,)) != before
    assert known(group=1) != before
    mask.write_bytes(b"12")
    assert known() != before


def test_images_in_memory_are_known_with_their_masks():
    images, masks = (
        torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
        torch.tensor([False, True]).view(2, 1, 1).expand(2, 4, 4),
    )

    def known(masks):
        return fingerprint(known_content(InMemorySamples(images, torch.tensor([0, 1]), masks=masks), 1))

    assert known(masks) == known(masks.clone())
    assert known(masks) != known(~masks)


def test_parts_of_an_earlier_version_that_do_not_say_what_the_images_were_are_kept(tmp_path, evaluated):
    how = {"metrics": "average_drop", "num_panel_maps": 0, "folder": tmp_path / "out", **QUICK}
    before = evaluate(tiny(), pairs(), **how).scores
    for path in (tmp_path / "out/rows").glob("*.pt"):
        part = torch.load(path, weights_only=True)
        part.pop("content")
        torch.save(part | {CHECKSUM: checksum_of({key: part[key] for key in part if key != CHECKSUM})}, path)
    evaluated.clear()
    assert evaluate(tiny(), pairs(), **how).scores == before
    assert evaluated == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"network": wide()}, "weights"),
        ({"methods": "layer_cam"}, "methods"),
        ({"metrics": "average_gain"}, "metrics"),
        ({"target_layer": "layer2"}, "target_layer"),
        ({"settings": EvaluationSettings(num_steps=5)}, "protocol"),
        ({"split": "val"}, "split"),
        ({"data": Squares(length=8)}, "data"),
        ({"data": Squares(mean=(0, 0, 0))}, "normalization"),
        ({"num_images": 4}, "images"),
        ({"data": Squares(image_size=20)}, "content"),
        ({"data": Squares(boxed=False)}, "content"),
        ({"batch_size": 5}, "batch_size"),
        ({"num_panel_maps": 0}, "panels"),
        ({"num_channels": 2}, "channels"),
        ({"controls": "uniform"}, "controls"),
    ],
)
@pytest.mark.filterwarnings("ignore:the 3 classes of the images")
def test_a_folder_belongs_to_one_evaluation(tmp_path, changes, what):
    how = {"network": tiny(), "data": Squares(), "metrics": "average_drop", "folder": tmp_path / "out", **QUICK}
    evaluate(**how)
    before = files(tmp_path / "out")
    with pytest.raises(ValueError, match=f"`folder`: .*out holds an evaluation with {what} "):
        evaluate(**how | changes)
    assert files(tmp_path / "out") == before
    evaluate(**how | changes, fresh=True)


def test_a_folder_knows_the_statistics_of_batch_norm_and_the_version(tmp_path, monkeypatch):
    how = {"data": Squares(), "metrics": "average_drop", "folder": tmp_path, **QUICK}
    evaluate(tiny(), **how)
    other = tiny()
    next(each for each in other.modules() if isinstance(each, nn.BatchNorm2d)).running_mean += 1
    with pytest.raises(ValueError, match="holds an evaluation with weights "):
        evaluate(other, **how)
    monkeypatch.setattr(sys.modules["camtrain.evaluation.evaluate"], "version", lambda _name: "99")
    with pytest.raises(ValueError, match="holds an evaluation with camtrain "):
        evaluate(tiny(), **how)


@pytest.mark.parametrize("fresh", [False, True])
def test_the_scores_of_a_training_are_not_replaced(tmp_path, fresh):
    for name in ("metrics.csv", "config.yaml", "scores.json"):
        (tmp_path / name).write_text("of the training")
    before = files(tmp_path)
    with pytest.raises(ValueError, match=r"`folder`: .* is the folder of a training, .* such as .*evaluated"):
        evaluate(tiny(), Squares(), metrics="average_drop", folder=tmp_path, fresh=fresh, **QUICK)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("masks", "got"),
    [
        (torch.zeros(4, 8, 8, dtype=torch.bool), r"torch\.bool of shape \(4, 8, 8\)"),
        (torch.ones(4, 16, 16, dtype=torch.uint8), r"torch\.uint8 of shape \(4, 16, 16\)"),
    ],
)
def test_masks_of_another_size_or_type_are_refused(masks, got):
    batch = batch_of(range(4))
    for name in ("masks", "ignored"):
        wrong = replace(batch, **{"masks": None, "ignored": None} | {name: masks})
        with pytest.raises(ValueError, match=f"`data`: expected {name} as bool .* the images, .*, got {got}"):
            evaluate(tiny(), [wrong], metrics="energy_pointing_game", **QUICK)


@pytest.mark.filterwarnings("ignore:the 3 classes of the images")
def test_a_part_of_other_settings_is_not_read(tmp_path, evaluated):
    how = {"metrics": "average_drop", "num_panel_maps": 0, **QUICK}
    before = evaluate(tiny(), Squares(), folder=tmp_path / "own", **how).scores
    evaluate(wide(), Squares(), folder=tmp_path / "other", **how)
    part = "rows/batch_00001.pt"
    (tmp_path / "own" / part).write_bytes((tmp_path / "other" / part).read_bytes())
    evaluated.clear()
    with pytest.warns(CamtrainWarning, match="it holds something else"):
        assert evaluate(tiny(), Squares(), folder=tmp_path / "own", **how).scores == before
    assert len(evaluated) == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "a list", "edited", "gone"])
def test_without_its_settings_it_goes_on_with_the_parts_that_are_its_own(tmp_path, evaluated, damage):
    how = {"metrics": "average_drop", "folder": tmp_path, "num_panel_maps": 0, **QUICK}
    before = evaluate(tiny(), Squares(), **how).scores
    settings, foreign = tmp_path / "rows/settings.json", tmp_path / "rows/batch_00002.pt"
    content = settings.read_text()
    former = torch.load(foreign, weights_only=True)
    torch.save({key: value for key, value in former.items() if "settings" not in key}, foreign)  # of an earlier version
    damaged = {"cut": content[:40], "empty": "", "a list": "[]", "edited": content.replace("grad_cam", "grad_cma")}
    settings.unlink() if damage == "gone" else settings.write_text(damaged[damage])
    evaluated.clear()
    with pytest.warns(
        CamtrainWarning, match=r"settings\.json is damaged: .*1 parts may be of another evaluation"
    ) as caught:
        assert evaluate(tiny(), Squares(), **how).scores == before
    assert evaluated == [3]
    assert ("it is gone" in str(caught[0].message)) == (damage == "gone")
    aside = {path.name for path in tmp_path.glob("rows/*.damaged")}
    assert aside == {"batch_00002.pt.damaged"} | (
        {"settings.json.damaged"} - ({"settings.json.damaged"} if damage == "gone" else set())
    )
    assert settings.read_text() == content


def test_parts_of_another_evaluation_are_not_taken_for_its_own(tmp_path):
    how = {"folder": tmp_path, "num_panel_maps": 0, **QUICK}
    evaluate(tiny(), Squares(), metrics="average_drop", **how)
    (tmp_path / "rows/settings.json").unlink()
    before = files(tmp_path)
    with pytest.raises(
        ValueError, match=r"`folder`: .*rows holds parts of another evaluation, and .*json is damaged: it"
    ):
        evaluate(tiny(), Squares(), metrics="average_gain", **how)
    assert files(tmp_path) == before
    evaluate(tiny(), Squares(), metrics="average_gain", **how, fresh=True)


def test_a_flipped_bit_of_a_part_is_noticed(tmp_path, evaluated):
    """Torch loads it without a word."""
    how = {"metrics": "average_drop", "folder": tmp_path, "num_panel_maps": 0, **QUICK}
    before = evaluate(tiny(), Squares(), **how).scores
    path = tmp_path / "rows/batch_00001.pt"
    rows = torch.load(path, weights_only=True)["rows"]["grad_cam", "average_drop"].numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(rows) + 3] ^= 1
    path.write_bytes(content)
    evaluated.clear()
    with pytest.warns(
        CamtrainWarning, match=r"batch_00001\.pt is damaged: its checksum .* set aside as batch_00001.pt.dam"
    ):
        assert evaluate(tiny(), Squares(), **how).scores == before
    assert evaluated == [3]


def test_a_fresh_evaluation_leaves_nothing_of_the_old_one_and_all_else(tmp_path):
    out = tmp_path / "out"
    camtrain.compare(tiny(), tiny(), Squares(), metrics="average_drop,insertion_auc", folder=out, **QUICK)
    (out / "panels/notes.txt").write_text("mine")
    evaluate(tiny(), Squares(), metrics="average_gain", folder=out, num_panel_maps=0, fresh=True, **QUICK)
    evaluate(tiny(), Squares(), metrics="average_gain", folder=tmp_path / "alone", num_panel_maps=0, **QUICK)
    assert set(files(out)) == {*files(tmp_path / "alone"), "panels/notes.txt"}
    (tmp_path / "foreign/rows").mkdir(parents=True)
    (tmp_path / "foreign/rows/notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"`fresh`: .*rows holds files that are no evaluation's"):
        evaluate(tiny(), Squares(), metrics="average_gain", folder=tmp_path / "foreign", fresh=True, **QUICK)
    assert files(tmp_path / "foreign") == {"rows/notes.txt": b"mine"}


# ----------------------------------------------------------------------------------------------------- comparisons


def other_network() -> nn.Module:
    torch.manual_seed(9)
    return type(tiny())(depth=8, num_classes=3, width=4)


def test_a_comparison_is_two_evaluations_and_their_difference():
    how = {"methods": "grad_cam,layer_cam", "metrics": "average_drop,gradient_noise", **QUICK}
    one, other = (evaluate(each, pairs(), **how, controls="shuffled,uniform") for each in (tiny(), other_network()))
    found = camtrain.compare(tiny(), other_network(), pairs(), **how)
    assert (found.first.scores, found.second.scores) == (one.scores, other.scores)
    assert found.differences.scores == other.minus(one).scores
    for each in found.differences:
        expected = other.score(each.method, each.metric).value - one.score(each.method, each.metric).value
        assert each.value == pytest.approx(expected, abs=1e-9)
        assert each.interval.low <= each.value <= each.interval.high
    assert abs(found.differences.score("grad_cam", "average_drop").value) > 1e-6
    assert found.differences.score("grad_cam", "average_drop").shown(signed=True) in found.differences.table()
    assert "CIFARResNet minus CIFARResNet, on the same images" in str(found)
    assert str(found) == repr(found)
    assert found._repr_html_().count("<table>") == 8  # of the differences beyond control, one
    same = camtrain.compare(tiny(), tiny(), pairs(), **how)
    assert all(tuple(each.interval) == (0, 0, 0) for each in same.differences)


def test_a_comparison_says_what_is_better_and_worse():
    """The second network is right about every image, and the first about none."""
    images, labels = torch.rand(8, 3, 8, 8), torch.zeros(8, dtype=torch.long)
    wrong, right = tiny(), tiny()
    right.load_state_dict(wrong.state_dict())
    with torch.no_grad():
        wrong.fc.bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
        right.fc.bias.copy_(torch.tensor([50.0, 0.0, 0.0]))
    found = camtrain.compare(wrong, right, [(images, labels)], metrics="average_drop", **QUICK)
    accuracy, flat = found.networks().splitlines()[2:]
    assert re.split(r"  +", accuracy) == ["accuracy ↑", "0.0", "100.0", "+100.0 [+100.0, +100.0] better"]
    assert flat.startswith("flat maps ↓, Grad-CAM")
    assert "uniform map" in found.differences.table(), "a reference"
    assert list(found.beyond) == ["shuffled"]
    back = camtrain.compare(right, wrong, [(images, labels)], metrics="average_drop", **QUICK)
    assert "−100.0 [−100.0, −100.0] worse" in back.networks()
    assert back.networks() in str(back)


def test_a_metric_without_controls_has_a_dash_for_them():
    """`win` compares the methods of a network with each other; controls are none of them."""
    found = camtrain.compare(tiny(), other_network(), pairs(), "grad_cam,layer_cam", "average_drop,win", **QUICK)
    for table in (found.first.table(), found.differences.table()):
        (control,) = [line for line in table.splitlines() if line.startswith("shuffled Grad-CAM")]
        assert control.endswith("  –")
        assert "win ↑" in table


@pytest.mark.parametrize(
    ("method", "low", "high", "higher", "said"),
    [
        ("grad_cam", 0.1, 0.3, True, "+20.0 [+10.0, +30.0] better"),
        ("grad_cam", 0.1, 0.3, False, "+20.0 [+10.0, +30.0] worse"),
        ("grad_cam", -0.1, 0.3, False, "+20.0 [−10.0, +30.0]"),
        ("uniform", 0.1, 0.3, True, "+20.0 [+10.0, +30.0]"),  # of a control, nothing is better
    ],
)
def test_a_difference_is_better_or_worse_by_its_interval(method, low, high, higher, said):
    score = Score(method, "average_gain", ConfidenceInterval(0.2, low, high), 9, higher)
    assert score.shown(signed=True) == said


def test_the_curves_of_both_networks_lie_over_each_other(tmp_path):
    how = {"methods": "grad_cam,layer_cam", "metrics": "insertion_auc,deletion_auc", **QUICK}
    found = camtrain.compare(tiny(), other_network(), Squares(), folder=tmp_path, **how)
    insertion, deletion = found.curves_figure().axes
    assert [line.get_linestyle() for line in insertion.lines] == ["-"] * 3 + ["--"] * 3
    drawn = [line.get_ydata() for line in deletion.lines]
    names = ("grad_cam", "layer_cam", "uniform")
    expected = [each.curves[name, "deletion"].tolist() for each in (found.first, found.second) for name in names]
    assert [list(values) for values in drawn] == expected
    assert len({line.get_color() for line in insertion.lines}) == 3
    assert (tmp_path / "curves_compared.png").stat().st_size > 5000
    plain = camtrain.compare(tiny(), other_network(), pairs(), metrics="average_drop", **QUICK)
    with pytest.raises(ValueError, match="`metrics`: expected insertion_auc, deletion_auc or road"):
        plain.curves_figure()


def test_images_that_can_be_read_once_are_enough_for_two_networks():
    found = camtrain.compare(tiny(), other_network(), iter(pairs()), metrics="average_drop", **QUICK)
    assert found.first.found.indices == found.second.found.indices == [*range(10)]


def test_a_comparison_writes_both_and_their_differences(tmp_path):
    out = tmp_path / "out"
    found = camtrain.compare(tiny(), other_network(), Squares(), metrics="average_drop", folder=out, **QUICK)
    assert (found.first.folder, found.second.folder) == (out, out / "compared")
    first, second = read(out / "scores.csv"), read(out / "compared/scores.csv")
    for pair, row in read(out / "differences.csv").items():
        expected = float(second[pair]["score"]) - float(first[pair]["score"])
        assert float(row["score"]) == pytest.approx(expected, abs=1e-5)


def test_each_network_may_have_its_images_normalized_in_its_own_way(tmp_path):
    data = {"data": Squares(), "other_data": Squares(mean=(0.1, 0.2, 0.3))}
    found = camtrain.compare(tiny(), tiny(), metrics="average_drop", folder=tmp_path, **data, **QUICK)
    means = [each.identity["normalization"]["mean"] for each in (found.first, found.second)]
    assert means == [[0.5, 0.5, 0.5], pytest.approx([0.1, 0.2, 0.3])]
    assert found.first.found.indices == found.second.found.indices


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"other": nn.Linear(7, 2)}, "`other`: `data`: Linear cannot be run on images"),
        ({"other": "resnet18"}, "`other`: `network`: expected an nn.Module"),
        ({"other_data": []}, "`other`: `data`: there are no images"),
        ({"other_data": Squares(length=8)}, r"`other_data`: .* \(.*, 10 in all\), got .*, 8 in all"),
        ({"metrics": "averge_drop"}, "`metrics`: none is called 'averge_drop'"),
    ],
)
def test_what_is_wrong_with_the_second_network_is_named_before_anything_is_written(tmp_path, changes, message):
    arguments = {"network": tiny(), "other": tiny(), "data": Squares(), "folder": tmp_path / "out", **QUICK}
    with pytest.raises((ValueError, TypeError), match=message):
        camtrain.compare(**arguments | changes)
    assert not (tmp_path / "out").exists()


def test_only_the_same_images_by_the_same_settings_can_be_subtracted(scored):
    with pytest.raises(ValueError, match="`other`: expected an evaluation of the same images, got other ones"):
        scored.minus(evaluate(tiny(), Squares(), metrics="average_drop", num_images=4, **QUICK))
    settings = QUICK | {"settings": EvaluationSettings(num_steps=5)}
    with pytest.raises(ValueError, match=r"`other`: expected the same settings, num_steps = 4, got num_steps = 5"):
        scored.minus(evaluate(tiny(), Squares(), metrics="average_drop", **settings))


def test_networks_of_different_classes_are_compared_except_in_the_pointing_game(tmp_path):
    """The data do not say how many classes there are, so that each network has its own number."""
    how = {"data": pairs(), "methods": "grad_cam", "controls": "none", "folder": tmp_path / "out", **QUICK}
    with pytest.raises(ValueError, match="`other`: expected the same settings, num_classes = 3, got num_classes = 5"):
        camtrain.compare(tiny(), wide(), metrics="average_drop,pointing_game", **how)
    assert not (tmp_path / "out").exists()
    found = camtrain.compare(tiny(), wide(), metrics="average_drop", **how)
    assert found.differences.score("grad_cam", "average_drop").num_images == 10


def test_networks_one_of_which_has_the_classes_of_the_data_are_scored_alike():
    with pytest.warns(CamtrainWarning, match="the 3 classes of the images are not the 5 of the network"):
        found = camtrain.compare(tiny(), wide(), Squares(), metrics="map_leakage", **QUICK)
    assert found.first.accuracy is found.second.accuracy is None
    assert found.differences.score("grad_cam", "map_leakage").num_images > 0


def test_a_data_module_is_compared_beside_batches_of_the_same_images():
    batches = [batch_of(range(start, min(start + 4, 10))) for start in (0, 4, 8)]
    settings = QUICK | {"settings": replace(SETTINGS, parts="given")}
    found = camtrain.compare(tiny(), tiny(), Squares(), other_data=batches, metrics="average_drop", **settings)
    assert found.differences.score("grad_cam", "average_drop").value == pytest.approx(0, abs=1e-6)


def test_a_target_is_none_of_the_classes_of_the_data():
    found = evaluate(tiny(), Squares(), metrics="average_drop", target=lambda output: output[:, 0], **QUICK)
    assert found.accuracy is None
    assert "labels" not in found.identity


def test_images_in_the_order_of_their_classes_meet_images_of_other_classes():
    """A map of another image is then of another class, and there is content of another class to put a map over."""
    labels = torch.arange(3).repeat_interleave(4)
    images = torch.rand(12, 3, 16, 16)
    loader = DataLoader(TensorDataset(images, labels))
    how = {"methods": "grad_cam", "metrics": "map_leakage,average_drop", **QUICK}
    settings = [replace(SETTINGS, class_of="label", parts=parts) for parts in ("spread", "given")]
    spread, given = (evaluate(tiny(), loader, **how | {"settings": each}, controls="shuffled") for each in settings)
    assert spread.found.indices == [*range(12)]
    assert torch.equal(spread.found.labels, labels)
    torch.testing.assert_close(spread.found.scores, given.found.scores)
    for name in ("small_maps", "rows"):
        of_maps = [getattr(each.found, name) for each in (spread, given)]
        key = "grad_cam" if name == "small_maps" else ("grad_cam", "average_drop")
        torch.testing.assert_close(of_maps[0][key], of_maps[1][key])
    # Of neighbors none has content of another class, so that noise alone is left.
    noise = spread.evaluator.metric("map_leakage")
    leaks = [noise.image_scores(each.found.rows["grad_cam", "map_leakage"]) for each in (spread, given)]
    assert not torch.allclose(*leaks)
    alone = evaluate(tiny(), [(images[[0, 4, 8]], labels[[0, 4, 8]])], **how | {"settings": settings[0]})
    assert alone.found.rows["grad_cam", "map_leakage"].isfinite().all()


def test_images_may_have_different_sizes(tmp_path):
    """Pictures and maps are kept at one size."""
    batches = [(torch.rand(2, 3, 16, 16), torch.tensor([0, 1])), (torch.rand(2, 3, 16, 24), torch.tensor([0, 2]))]
    how = {"methods": "grad_cam", "metrics": "average_drop", **QUICK, "num_gallery_images": 4}
    found = evaluate(tiny(), batches, folder=tmp_path, **how)
    assert found.score("grad_cam", "average_drop").num_images == 4
    alone = evaluate(tiny(), batches[1:], **how).found.small_maps["grad_cam"]
    assert found.found.small_maps["grad_cam"].shape == (4, 16, 16)
    stretched = torch.nn.functional.interpolate(alone[None].float(), size=(16, 16), mode="bilinear")[0]
    assert float((found.found.small_maps["grad_cam"][2:] - stretched).abs().max()) <= 0.5
    with np.load(tmp_path / "gallery.npz") as gallery:
        assert gallery["pictures"].shape == (4, 16, 16, 3)


def test_a_folder_knows_the_layers_of_a_network_and_not_only_its_weights(tmp_path):
    how = {"data": Squares(), "methods": "grad_cam", "metrics": "average_drop", "folder": tmp_path, **QUICK}
    evaluate(tiny(), **how)
    smoothed = tiny()
    smoothed.layer1[0].relu = nn.Softplus(beta=10)
    with pytest.raises(ValueError, match="weights"):
        evaluate(smoothed, **how)


def test_what_one_of_two_networks_alone_can_have_is_not_compared():
    """The attention map of a network with an attention head, beside a network without one."""
    torch.manual_seed(0)
    attended = AttentionBranch("cifar_resnet8", 3, width=4, blocks=1)
    how = {"methods": "all", "metrics": "average_drop", "num_channels": 2, "num_images": 2, **QUICK}
    found = camtrain.compare(attended, tiny(), pairs(), **how)
    assert ("attention_map", "average_drop") in values(found.first)
    assert set(values(found.differences)) == set(values(found.second))
    assert found.differences.score("grad_cam", "average_drop").num_images == 2


# ----------------------------------------------------------------------------------------------------------- plans


def test_a_plan_survives_json():
    plan = EvaluationPlan(
        "grad_cam, layer_cam",
        ["average_drop", "road"],
        "val",
        100,
        EvaluationSettings(class_of="label", removed_shares=(0.1, 0.2), tolerance=2.5, seed=7),
        "layer2,layer3",
        num_channels=8,
        num_panel_maps=0,
    )
    assert EvaluationPlan.from_json(json.loads(json.dumps(plan.as_json()))) == plan
    # An earlier version evaluated neighbors together, and did not say it.
    earlier = EvaluationPlan(metrics="average_drop", settings=EvaluationSettings(parts="given"))
    assert "parts" not in earlier.settings.as_json()
    assert EvaluationSettings().as_json()["parts"] == "spread"
    assert EvaluationPlan.from_json({"metrics": ["average_drop"], "later": 1}) == earlier


def test_a_plan_names_what_it_scores():
    plan = EvaluationPlan("grad_cam,layer_cam", "average_drop,gradient_noise", num_images=8, max_batch=3)
    assert plan.score_names == ["average_drop", "gradient_noise", "average_drop/grad_cam", "average_drop/layer_cam"]
    assert str(plan) == "grad_cam, layer_cam by average_drop, gradient_noise on 8 test images, max_batch=3"


def test_the_arguments_of_a_plan_are_those_of_the_function():
    plan = EvaluationPlan(metrics="average_drop", settings=SETTINGS, batch_size=4, num_resamples=50, num_images=3)
    found = evaluate(tiny(), Squares(), **plan.arguments(), progress=False)
    assert found.found.indices == evenly_spaced(10, 3)
    assert found.evaluator.settings.num_steps == 4
