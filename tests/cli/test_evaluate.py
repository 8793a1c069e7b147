"""`camtrain evaluate` from end to end, as a user sees it."""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from camtrain import Classifier
from camtrain.batch import collate, evenly_spaced
from camtrain.cli import evaluate as command
from camtrain.cli import main
from camtrain.evaluation import EvaluationSettings, Evaluator
from camtrain.methods import method_named, normalized_maps
from camtrain.networks import CIFARResNet
from tests import squares

CONFIG = "data:\n  class_path: my_data.Squares\n  init_args: {}\n"
QUICK = ["--num_steps", "4", "--batch_size", "4", "--num_resamples", "50"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder, with a data module and networks of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    Path("my_data.py").write_text(Path(squares.__file__).read_text())
    Path("squares.yaml").write_text(CONFIG)
    yield tmp_path
    sys.modules.pop("my_data", None)


@pytest.fixture
def evaluate(capsys):
    """Runs `camtrain evaluate <words>`; the exit status, what it printed and what it said on stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        status = 0
        try:
            main(["evaluate", *words])
        except SystemExit as stop:
            status = stop.code
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


OURS = ["--network", "my_data.tiny", "--config", "squares.yaml", "--mean", "0.5", "0.5", "0.5",
        "--std", "0.25", "0.25", "0.25", *QUICK]  # fmt: skip


def scores(path="evaluated/scores.csv"):
    with Path(path).open(encoding="utf-8") as file:
        return {(row["method"], row["metric"]): row for row in csv.DictReader(file)}


def checkpoint(name, seed, width=4, num_classes=3):
    """A run's folder, as `camtrain fit` leaves it."""
    torch.manual_seed(seed)
    path = Path("runs") / name / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    classifier = Classifier(CIFARResNet(depth=8, num_classes=num_classes, width=width), num_classes)
    settings = {"num_classes": num_classes}
    torch.save({"state_dict": classifier.state_dict(), "hyper_parameters": settings,
                "pytorch-lightning_version": "2.6.0"}, path)  # fmt: skip
    Path(path.parents[1] / "config.yaml").write_text(CONFIG)
    return str(path)


def own_scores(metrics, indices, methods=("grad_cam", "layer_cam"), split="test", **settings):
    """What the evaluator says of the same images in one batch."""
    from my_data import Squares, tiny

    network, data = tiny().eval(), Squares()
    batch = collate([data.data_set(split)[index] for index in indices])
    made = {name: method_named(name, network, seed=0) for name in methods}
    evaluator = Evaluator(network, made, metrics, EvaluationSettings(num_steps=4, num_classes=3, **settings))
    rows = evaluator(batch).rows
    return {pair: float(evaluator.metric(pair[1]).value(rows[pair].sum(dim=0))) for pair in evaluator.pairs}


def test_the_scores_are_those_of_the_evaluator_on_all_images(evaluate):
    status, out, err = evaluate(*OURS, "--methods", "grad_cam,layer_cam", "--metrics", "all")
    assert status == 0
    expected = own_scores(["all"], range(10))
    found = scores()
    assert set(found) == set(expected)
    for pair, value in expected.items():
        if math.isnan(value):
            assert found[pair]["score"] == ""
            continue
        score, low, high = (float(found[pair][name]) for name in ("score", "low_95", "high_95"))
        assert score == pytest.approx(value, rel=2e-3, abs=2e-4)
        assert low <= score <= high
    # Images 0, 3, 6 and 9 have no box; nobody has a mask.
    assert found["grad_cam", "average_drop"]["images"] == "10"
    assert found["grad_cam", "max_box_accuracy_v2"]["images"] == "6"
    assert found["grad_cam", "pixel_average_precision"]["images"] == "0"
    assert "warning: 4 of 10 images have no boxes and are not counted" in err
    assert "have no masks" not in err, "nobody asked for scores of masks by name"
    assert (found["grad_cam", "average_drop"]["better"], found["grad_cam", "average_gain"]["better"]) == (
        "lower", "higher",
    )  # fmt: skip
    for words in ("drop ↓", "average gain ↑", "Grad-CAM", "LayerCAM", "gradient noise ↓", "forward passes per image"):
        assert words in out


def test_all_that_is_promised_is_written(evaluate):
    status, out, _ = evaluate(*OURS, "--methods", "grad_cam,layer_cam", "--metrics", "fast,road", "--num_images", "6")
    assert status == 0
    folder = Path("evaluated")
    about = json.loads((folder / "scores.json").read_text())
    assert about["images"] == 6
    assert about["settings"]["protocol"]["num_steps"] == 4
    assert set(about["win"]) == {"grad_cam", "layer_cam"}
    assert about["scores"]["grad_cam"]["average_drop"]["images"] == 6
    with (folder / "images.csv").open(encoding="utf-8") as file:
        images = list(csv.DictReader(file))
    assert [int(row["index"]) for row in images[:6]] == evenly_spaced(10, 6)
    drops = [float(row["average_drop"]) for row in images if row["method"] == "grad_cam"]
    assert sum(drops) / 6 == pytest.approx(float(scores()["grad_cam", "average_drop"]["score"]), rel=1e-4)
    with (folder / "curves.csv").open(encoding="utf-8") as file:
        curves = list(csv.DictReader(file))
    ways = {row["way"] for row in curves}
    assert ways == {"insertion", "deletion", "road_most_relevant_first", "road_least_relevant_first"}
    insertion = [
        float(row["probability"]) for row in curves if (row["method"], row["way"]) == ("grad_cam", "insertion")
    ]
    area = (sum(insertion) - insertion[0] / 2 - insertion[-1] / 2) / 4
    assert area == pytest.approx(float(scores()["grad_cam", "insertion_auc"]["score"]), rel=1e-4)
    for name in ("curves.png", "panels/average_drop.png", "panels/localization_iou_25.png"):
        with Image.open(folder / name) as picture:
            assert picture.size[0] > 300
        assert name in out
    assert not (folder / "panels" / "pixel_average_precision.png").exists()


def test_it_goes_on_where_it_was_stopped(evaluate, monkeypatch):
    words = [*OURS, "--metrics", "average_drop,localization_iou_25", "--num_panel_maps", "0"]
    assert evaluate(*words, "--out", "whole")[0] == 0
    evaluated, original = [], Evaluator.__call__

    def stopped(self, batch):
        if len(evaluated) == 2:
            raise KeyboardInterrupt
        evaluated.append(len(batch))
        return original(self, batch)

    monkeypatch.setattr(Evaluator, "__call__", stopped)
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *words])
    assert stop.value.code == 130
    assert len(list(Path("evaluated/rows").glob("*.pt"))) == 2
    evaluated.clear()
    assert evaluate(*words)[0] == 0
    assert evaluated == [3]  # of 4 + 3 + 3 images the last three
    assert Path("evaluated/scores.csv").read_text() == Path("whole/scores.csv").read_text()
    assert Path("evaluated/scores.json").read_text() == Path("whole/scores.json").read_text()
    evaluated.clear()
    assert evaluate(*words)[0] == 0
    assert evaluated == []


@pytest.mark.parametrize("more", [["--class_of", "label", "--metrics", "average_drop"], ["--metrics", "pointing_game"]])
def test_a_label_that_is_no_class_is_named(evaluate, more):
    of_data("Mislabeled")
    status, _, err = evaluate(*OURS, *more, "--num_panel_maps", "0")
    assert status == 2
    assert "evaluate: error: images 2, 5, 8: `labels`: expected classes from 0 to 2, got 7" in err
    assert (
        evaluate(*OURS, "--metrics", "average_drop", "--num_panel_maps", "0", "--fresh")[0] == 0
    )  # nobody needs the label


def test_a_split_without_images_is_named(evaluate):
    of_data("Bare")
    status, _, err = evaluate("--network", "my_data.tiny", "--config", "squares.yaml", "--split", "val")
    assert status == 2
    assert "evaluate: error: --split: Bare has no val images" in err


def test_a_gallery_has_images_maps_and_the_names_of_classes(evaluate):
    path = checkpoint("plain", 0)
    words = [
        "--network",
        "my_data.tiny",
        "--checkpoint",
        path,
        *QUICK,
        "--metrics",
        "average_drop",
        "--num_panel_maps",
        "0",
    ]
    assert evaluate(*words, "--methods", "grad_cam", "--num_gallery_images", "3")[0] == 0
    with np.load("evaluated/gallery.npz") as gallery:
        found = dict(gallery)
    from my_data import Squares, tiny

    indices = evenly_spaced(10, 3)
    batch = collate([Squares().data_set("test")[index] for index in indices])
    network = Classifier.load_from_checkpoint(path, network=tiny(), weights_only=True).network.eval()
    cams = normalized_maps(method_named("grad_cam", network), batch.images)
    probabilities, predictions = network(batch.images).softmax(dim=1).max(dim=1)
    assert found["indices"].tolist() == indices
    assert found["labels"].tolist() == batch.labels.tolist()
    assert found["predictions"].tolist() == predictions.tolist()
    assert found["probabilities"] == pytest.approx(probabilities.tolist(), rel=1e-4)
    assert found["class_names"].tolist() == ["red", "green", "blue"]
    pictures = torch.from_numpy(found["pictures"]).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(pictures, 0.25 * batch.images + 0.5, atol=1 / 255, rtol=0)
    torch.testing.assert_close(torch.from_numpy(found["cam/grad_cam"]) / 255, cams, atol=1 / 255, rtol=0)
    assert cams.amax((1, 2)).max() == 1


def test_two_checkpoints_are_compared_image_by_image(evaluate):
    paths = checkpoint("plain", 0), checkpoint("other", 1)
    words = ["--network", "my_data.tiny", *QUICK, "--metrics", "average_drop,localization_iou_25,gradient"]
    status, out, _ = evaluate("--checkpoint", paths[0], "--compare", paths[1], *words)
    assert status == 0
    first, second = scores(), scores("evaluated/compared/scores.csv")
    differences = scores("evaluated/differences.csv")
    assert set(differences) == set(first) == set(second)
    for pair, row in differences.items():
        expected = float(second[pair]["score"]) - float(first[pair]["score"])
        assert float(row["score"]) == pytest.approx(expected, abs=1e-4)
        assert float(row["low_95"]) <= float(row["score"]) <= float(row["high_95"])
    assert abs(float(differences["grad_cam", "average_drop"]["score"])) > 1e-6
    lines = out.replace("\n", " ")
    assert f"{paths[1]} minus {paths[0]}, on the same images" in lines
    # Another image's map is scored beside each, and what is beyond it is compared.
    beyond = scores("evaluated/differences_beyond_shuffled.csv")
    for (method, metric), row in beyond.items():
        expected = [float(each[name, metric]["score"]) for each in (second, first)
                    for name in (method, f"shuffled_{method}")]  # fmt: skip
        assert float(row["score"]) == pytest.approx(expected[0] - expected[1] - expected[2] + expected[3], abs=1e-4)
    assert ("grad_cam", "average_drop") in beyond
    assert f"{paths[1]} minus {paths[0]}, beyond shuffled maps, on the same images" in lines
    assert "evaluated/differences.csv, evaluated/differences_beyond_shuffled.csv" in out
    assert out.count("\naccuracy ") == 3, "of each network, and side by side"
    assert re.search(r"^accuracy ↑ +[\d.]+ +[\d.]+ +[+-][\d.]+ \[", out, re.MULTILINE)
    assert re.search(r"^uniform map ", out, re.MULTILINE)
    # The same network against itself differs in nothing.
    status, out, _ = evaluate("--checkpoint", paths[0], "--compare", paths[0], *words, "--out", "same")
    assert status == 0
    assert all(float(row["score"]) == float(row["low_95"]) == 0 for row in scores("same/differences.csv").values())


def test_each_checkpoint_gets_images_normalized_as_in_its_own_run(evaluate):
    paths = checkpoint("plain", 0), checkpoint("other", 0)
    Path("runs/other/config.yaml").write_text(CONFIG.replace("{}", "{mean: [0.1, 0.2, 0.3], std: [0.5, 0.5, 0.5]}"))
    words = ["--network", "my_data.tiny", *QUICK, "--metrics", "average_drop", "--num_panel_maps", "0"]
    assert evaluate("--checkpoint", paths[0], "--compare", paths[1], *words)[0] == 0
    settings = [
        json.loads(Path(folder, "rows/settings.json").read_text()) for folder in ("evaluated", "evaluated/compared")
    ]
    assert settings[0]["normalization"] == {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    assert settings[1]["normalization"] == {"mean": pytest.approx([0.1, 0.2, 0.3]), "std": [0.5, 0.5, 0.5]}
    assert settings[0]["images"] == settings[1]["images"]
    # The same weights by themselves, on images of the first run, say the same.
    words += ["--config", "runs/plain/config.yaml", "--controls", "shuffled,uniform", "--out", "alone"]
    assert evaluate("--checkpoint", paths[1], *words)[0] == 0
    assert Path("alone/scores.csv").read_text() == Path("evaluated/compared/scores.csv").read_text()


def test_a_named_network_has_its_own_normalization(evaluate):
    Path("squares.yaml").write_text(CONFIG.replace("{}", "{image_size: 40, length: 4}"))
    words = ["--network", "resnet18", "--config", "squares.yaml", *QUICK, "--metrics", "average_drop"]
    status, _, err = evaluate(*words)
    assert status == 0
    assert "resnet18 has random weights" in err
    settings = json.loads(Path("evaluated/rows/settings.json").read_text())
    assert settings["normalization"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def test_the_configuration_says_how_images_are_normalized_where_nothing_else_does(evaluate):
    """A network of one's own has no normalization of its own."""
    Path("squares.yaml").write_text(CONFIG.replace("{}", "{mean: [0.1, 0.2, 0.3], std: [0.5, 0.5, 0.5]}"))
    words = ["--network", "my_data.tiny", "--config", "squares.yaml", *QUICK, "--metrics", "average_drop"]
    status, _, err = evaluate(*words)
    assert (status, "assumed" in err) == (0, False)
    settings = json.loads(Path("evaluated/rows/settings.json").read_text())
    assert settings["normalization"] == {"mean": pytest.approx([0.1, 0.2, 0.3]), "std": [0.5, 0.5, 0.5]}


def test_a_named_network_is_compared_with_a_checkpoint(evaluate, tmp_path):
    torch.manual_seed(0)
    classifier = Classifier("cifar_resnet8", num_classes=3)
    described = {"state_dict": classifier.state_dict(), "hyper_parameters": dict(classifier.hparams)}
    Path("runs/described/checkpoints").mkdir(parents=True)
    torch.save(described, "runs/described/checkpoints/last.ckpt")
    Path("runs/described/config.yaml").write_text(CONFIG)
    words = [*QUICK, "--metrics", "average_drop", "--compare", "runs/described"]
    status, _, err = evaluate("--network", "my_data.tiny", "--config", "squares.yaml", *words)
    assert status == 0, err
    plain = checkpoint("plain", 0)
    status, _, err = evaluate("--checkpoint", plain, "--network", "my_data.tiny", *words, "--fresh")
    assert status == 0, err
    # An untrained network with a trained one of the same code.
    words = [*words[:-1], plain, "--config", "squares.yaml", "--fresh"]
    status, _, err = evaluate("--network", "my_data.tiny", *words)
    assert status == 0, err


def of_data(kind):
    Path("squares.yaml").write_text(CONFIG.replace("Squares", kind))


def test_a_data_module_may_have_a_normalization_of_its_own_if_it_is_the_network_s(evaluate):
    words = ["--metrics", "average_drop", "--num_panel_maps", "0"]
    assert evaluate(*OURS, *words, "--out", "squares")[0] == 0
    of_data("Fixed")
    status, _, err = evaluate(*OURS, *words)
    assert (status, "warning" in err) == (0, False)
    assert scores() == scores("squares/scores.csv")
    status, _, err = evaluate(*OURS, *words, "--mean", "0", "0", "0", "--fresh")
    assert status == 2
    assert "--mean: Fixed has no such setting and normalizes with [0.5, 0.5, 0.5], and the network expects" in err
    status, _, err = evaluate(*OURS, *words, "--size", "16", "--fresh")
    assert status == 2
    assert "--size: expected none, since Fixed has no `image_size`, got 16" in err
    # The normalization of named weights is known; that of a network of one's own is not.
    assert evaluate("--network", "resnet18", "--config", "squares.yaml", *QUICK, *words, "--fresh")[0] == 2
    status, _, err = evaluate("--network", "my_data.tiny", "--config", "squares.yaml", *QUICK, *words, "--fresh")
    assert (status, "warning" in err) == (0, False)
    recorded = json.loads(Path("evaluated/scores.json").read_text())["settings"]["normalization"]
    assert recorded == {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}, "what is done, not what was assumed"


def test_a_data_module_need_not_say_how_it_normalizes(evaluate):
    words = ["--metrics", "average_drop", "--num_panel_maps", "0", *QUICK]
    assert evaluate(*OURS, *words, "--out", "squares")[0] == 0
    of_data("Bare")
    status, _, err = evaluate("--network", "my_data.tiny", "--config", "squares.yaml", *words)
    assert status == 0
    assert "warning: Bare does not say how it normalizes images, which are taken as they are" in err
    assert json.loads(Path("evaluated/rows/settings.json").read_text())["normalization"] == {"mean": None, "std": None}
    assert "assumed" not in err
    assert scores() == scores("squares/scores.csv")
    status, _, err = evaluate(*OURS, *words, "--fresh")
    assert status == 2
    assert "--mean: expected none, since Bare has no such setting and normalizes in its own way, got [0.5, 0.5" in err
    status, _, err = evaluate(
        "--network", "resnet18", "--config", "squares.yaml", *words, "--num_images", "2", "--fresh"
    )
    assert (
        "warning: Bare does not say how it normalizes images, which are taken as they are; the network expects" in err
    )


def test_a_method_that_cannot_be_used_is_named(evaluate):
    words = ["--network", "my_data.smooth", "--config", "squares.yaml", *QUICK, "--metrics", "average_drop,gradient"]
    status, out, err = evaluate(*words, "--methods", "grad_cam,guided_backprop")
    assert status == 0
    assert "warning: guided backprop made no map" in err
    assert scores()["guided_backprop", "average_drop"]["images"] == "0"
    assert scores()["network", "gradient_noise"]["images"] == "10"
    assert "–" in out
    status, _, err = evaluate(*words, "--methods", "guided_backprop", "--out", "none")
    assert status == 1


def test_images_without_boxes_are_counted_once_whatever_the_methods_do(evaluate):
    words = ["--network", "my_data.smooth", "--config", "squares.yaml", *QUICK, "--methods", "guided_backprop"]
    _, _, err = evaluate(*words, "--metrics", "energy_pointing_game,max_box_accuracy_v1,pixel_average_precision")
    assert err.count("have no boxes") == 1
    assert "warning: 4 of 10 images have no boxes" in err
    assert "warning: 10 of 10 images have no masks" in err
    _, _, err = evaluate(*words, "--metrics", "energy_pointing_game", "--annotation", "masks", "--out", "masks")
    assert "boxes" not in err
    assert err.count("have no masks") == 1


def test_images_without_any_annotation(evaluate):
    Path("squares.yaml").write_text(CONFIG.replace("{}", "{boxed: false}"))
    status, out, err = evaluate(*OURS, "--metrics", "localization,average_drop")
    assert status == 0
    assert "warning: 10 of 10 images have no boxes and are not counted" in err
    assert scores()["grad_cam", "localization_iou_25"]["score"] == ""
    assert "IoU" not in out


def test_there_must_be_images(evaluate):
    status, _, err = evaluate("--network", "my_data.tiny")
    assert status == 2
    assert "--config: expected a configuration with a data module" in err


def test_a_file_that_is_not_there_is_named_by_its_option(evaluate):
    status, _, err = evaluate("--checkpoint", "absent.ckpt")
    assert status == 2
    assert "evaluate: error: --checkpoint: no such file: absent.ckpt" in err
    Path("empty.ckpt").touch()
    for name, what in (("absent.ckpt", "no such file: absent.ckpt"), ("empty.ckpt", "cannot read empty.ckpt")):
        status, _, err = evaluate(*OURS, "--compare", name)
        assert status == 2
        assert f"evaluate: error: --compare: {what}" in err
    assert not Path("evaluated").exists()


def test_lists_may_have_spaces(evaluate):
    words = [
        "--metrics",
        "average_drop, win",
        "--methods",
        "layer_cam, smooth_grad",
        "--target_layer",
        "layer2, layer3",
    ]
    status, _, err = evaluate(*OURS, *words, "--num_panel_maps", "0")
    assert (status, "warning" in err) == (0, False)
    assert set(scores()) == {(name, metric) for name in ("layer_cam", "smooth_grad") for metric in words[1].split(", ")}


@pytest.mark.parametrize(
    ("other", "what"), [(["--metrics", "average_gain"], "metrics"), (["--network", "my_data.wide"], "weights")]
)
def test_a_folder_belongs_to_one_evaluation(evaluate, other, what):
    words = [*OURS, "--metrics", "average_drop", "--num_panel_maps", "0"]
    assert evaluate(*words)[0] == 0
    before = Path("evaluated/scores.csv").read_text()
    status, _, err = evaluate(*words, *other)
    assert status == 2
    assert f"evaluate: error: --out: evaluated holds an evaluation with {what} " in err
    assert "choose another folder, or --fresh to forget it" in err
    assert Path("evaluated/scores.csv").read_text() == before
    assert evaluate(*words, *other, "--fresh")[0] == 0


def test_a_damaged_file_is_a_warning(evaluate):
    words = [*OURS, "--metrics", "average_drop", "--num_panel_maps", "0"]
    assert evaluate(*words)[0] == 0
    path = Path("evaluated/rows/batch_00001.pt")
    path.write_bytes(b"")
    status, _, err = evaluate(*words)
    assert (status, err.count("warning:")) == (0, 1)
    assert f"camtrain evaluate: warning: {path} " in err
    assert ", and its images are evaluated again" in err


def test_nothing_is_touched_before_both_networks_are_known_to_be_right(evaluate):
    path = checkpoint("plain", 0)
    words = ["--network", "my_data.tiny", *QUICK, "--metrics", "average_drop", "--checkpoint", path]
    assert evaluate(*words)[0] == 0
    before = {path: path.read_bytes() for path in Path("evaluated").rglob("*.*")}
    assert evaluate(*words, "--fresh", "--compare", "absent.ckpt")[0] == 2
    assert {path: path.read_bytes() for path in Path("evaluated").rglob("*.*")} == before
    assert evaluate(*words, "--fresh", "--compare", path)[0] == 0


def test_a_folder_of_a_run_is_as_good_as_its_checkpoint(evaluate):
    path = checkpoint("plain", 0)
    words = ["--network", "my_data.tiny", *QUICK, "--metrics", "average_drop"]
    assert evaluate(*words, "--checkpoint", path)[0] == 0
    assert evaluate(*words, "--checkpoint", "runs/plain", "--out", "again")[0] == 0
    assert scores("again/scores.csv") == scores()


def test_the_configuration_of_the_images_does_not_change_how_the_checkpoint_prepares_them(evaluate):
    path = checkpoint("plain", 0)
    Path("squares.yaml").write_text(CONFIG.replace("{}", "{length: 4, mean: [0.1, 0.2, 0.3]}"))
    words = ["--network", "my_data.tiny", *QUICK, "--metrics", "average_drop", "--checkpoint", path]
    assert evaluate(*words, "--config", "squares.yaml")[0] == 0
    settings = json.loads(Path("evaluated/rows/settings.json").read_text())
    assert settings["images"] == [0, 1, 2, 3]
    assert settings["normalization"]["mean"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metrics", "averge_drop"], "--metrics: none is called 'averge_drop'; did you mean 'average_drop'"),
        (["--metrics", "iou"], "--metrics: none is called 'iou'; did you mean 'localization_iou_0', 'localization_io"),
        (["--methods", "gradcam"], "--methods: none is called 'gradcam'"),
        (["--config", "."], "--config: expected a configuration, the folder of a run, or a checkpoint in one, got"),
        (
            ["--checkpoint", "x.yaml"],
            "--checkpoint: expected a checkpoint, got the configuration x.yaml; pass it as --",
        ),
        (["--out", "my_data.py"], "--out: expected a folder, got the file my_data.py"),
        (["--split="], "--split: expected a value, got an empty word"),
        (["--config", "absent.yaml"], "--config: no such configuration: absent.yaml"),
        (
            ["--network", "my_data.wide", "--class_of", "label"],
            '--class_of: expected "prediction", since the network has 5',
        ),
        (["--class_of", "both"], "--class_of: "),
        (["--num_images", "0"], "--num_images: expected a positive integer, got 0"),
        (["--num_images", "many"], "--num_images: "),
        (["--num_panel_maps=-1"], "--num_panel_maps: expected an integer of at least 0, got -1"),
        (["--target_layer", "layer9"], "no module is called 'layer9'"),
        (["--tolerance", "-2"], "--tolerance: expected a finite number of pixels of at least 0"),
        (["--metrics", "sanity", "--num_stages", "99"], "--num_stages: expected at most the 19 layers with parameters"),
        (["--checkpoint", "/absent.ckpt"], "--checkpoint: no such file: /absent.ckpt"),
        (["--device", "abacus"], "--device: cannot use 'abacus'"),
        (["--network", "resnet81"], "--network: no image classifier is called 'resnet81'"),
        (["--std", "1", "0", "1"], "--std: expected positive, finite numbers"),
        (["--std", "1", "0"], "--std"),
        (["--unknown"], "--unknown"),
    ],
)
def test_wrong_arguments_are_named_in_two_lines_before_anything_is_written(evaluate, words, message):
    status, out, err = evaluate(*OURS, *words)
    assert (status, out) == (2, "")
    *warnings, error, hint = err.splitlines()
    assert all(line.startswith("camtrain evaluate: warning: ") for line in warnings)
    assert error.startswith("camtrain evaluate: error: ")
    assert message in error
    assert "`" not in error.replace("`num_classes`", "")
    assert hint == "`camtrain evaluate --help` explains all options"
    assert not Path("evaluated").exists()


def test_the_weights_of_another_network_are_named_in_two_lines(evaluate):
    status, _, err = evaluate("--network", "my_data.wide", "--checkpoint", checkpoint("plain", 0))
    assert status == 2
    error, _ = err.splitlines()
    assert "--checkpoint: cannot make the network of runs/plain/checkpoints/last.ckpt: " in error
    assert len(error) < 500


@pytest.fixture
def called(monkeypatch):
    """The arguments of the functions that the command calls, none of which does anything."""
    calls = {}

    def stub(name):
        original = getattr(command, name)

        @wraps(original)  # the parser reads its signature
        def function(*arguments, **options):
            calls[name] = arguments, options
            if name in ("evaluate", "compare"):
                raise ValueError("`folder`: that is all")
            return name

        return function

    for name in ("load_network", "load_data", "evaluate", "compare"):
        monkeypatch.setattr(command, name, stub(name))
    return calls


def test_options_reach_the_functions(evaluate, called):
    status, _, err = evaluate(
        "--network", "resnet18", "--weights", "DEFAULT", "--config", "squares.yaml", "--size", "64", "--mean", "0",
        "0.5", "1", "--std", "1", "1", "2", "--methods", "cam,grad_cam", "--metrics", "fast", "--num_images", "7",
        "--controls", "center",
        "--split", "val", "--out", "there", "--fresh", "--target_layer", "layer3", "--class_of", "label",
        "--annotation", "masks", "--num_steps", "9", "--insertion_start", "zeros", "--deletion_end", "blur",
        "--tolerance", "3", "--num_stages", "2", "--box_threshold", "0.2", "--write_maps",
        "--batch_size", "5", "--num_resamples", "11", "--num_panel_maps", "0",
        "--num_gallery_images", "4", "--max_batch", "6", "--num_channels", "12", "--device", "cpu", "--seed", "13",
    )  # fmt: skip
    assert (status, err.splitlines()[0]) == (2, "camtrain evaluate: error: --out: that is all")
    assert called["load_network"] == ((), {
        "checkpoint": None, "name": "resnet18", "weights": "DEFAULT", "config": None, "size": 64,
        "mean": [0, 0.5, 1], "std": [1, 1, 2], "device": "cpu", "seed": 13,
    })  # fmt: skip
    assert called["load_data"] == ((Path("squares.yaml"), "load_network"), {})
    settings = EvaluationSettings(
        "label", "masks", 9, "zeros", "blur", num_stages=2, tolerance=3, seed=13, box_threshold=0.2
    )
    assert called["evaluate"] == (("load_network", "load_data"), {
        "methods": "cam,grad_cam", "metrics": "fast", "controls": "center",
        "split": "val", "num_images": 7, "folder": "there", "fresh": True,
        "target_layer": "layer3", "settings": settings, "batch_size": 5, "num_resamples": 11, "num_panel_maps": 0,
        "num_gallery_images": 4, "max_batch": 6, "num_channels": 12, "write_maps": True,
    })  # fmt: skip


def test_former_names_of_options_work(evaluate, called):
    evaluate(
        "--network", "resnet18", "--config", "squares.yaml", "--limit", "7", "--steps=9", "--stages", "2",
        "--resamples", "11", "--channels", "12", "--panels", "0", "--gallery", "4", "--max-batch", "6",
        "--batch-size=5", "--class-of", "label", "--target-layer", "layer3", "--insertion-start", "zeros",
        "--deletion-end", "blur",
    )  # fmt: skip
    how = called["evaluate"][1]
    names = ("num_images", "num_resamples", "num_channels", "num_panel_maps", "num_gallery_images", "max_batch")
    assert [how[name] for name in (*names, "batch_size", "target_layer")] == [7, 11, 12, 0, 4, 6, 5, "layer3"]
    assert how["settings"] == EvaluationSettings(
        "label", num_steps=9, insertion_start="zeros", deletion_end="blur", num_stages=2
    )


def test_a_second_checkpoint_is_compared(evaluate, called):
    paths = checkpoint("plain", 0), checkpoint("other", 1)
    status, _, err = evaluate("--checkpoint", paths[0], "--compare", paths[1], "--num_images", "3")
    assert (status, "error: --out: that is all" in err) == (2, True)
    arguments, how = called["compare"]
    assert arguments == ("load_network", "load_network", "load_data")
    assert (how["other_data"], how["num_images"], how["folder"]) == ("load_data", 3, "evaluated")
    assert called["load_network"][1]["checkpoint"] == paths[1]
    assert called["load_network"][1]["config"] == Path("runs/other/config.yaml").absolute()
    assert called["load_data"][0][0] == Path("runs/plain/config.yaml").absolute()


def test_the_help_describes_every_option_and_has_examples(evaluate):
    status, out, _ = evaluate("--help")
    assert status == 0
    parser = command.evaluate_parser()
    options = [action for action in parser._actions if action.option_strings and action.dest != "help"]
    assert len(options) > 25
    text = " ".join(out.split())
    for action in options:
        assert f"\n  {action.option_strings[0]}" in out
        assert action.help
        assert " ".join(action.help.split())[:60] in text
    for word in (
        "max_box_accuracy_v2",
        "smooth_grad_cam_plus_plus",
        "exit status",
        "camtrain evaluate --checkpoint CKPT",
    ):
        assert word in out
    assert max(map(len, out.splitlines())) <= 130


def test_maps_are_written_and_scored_again(evaluate):
    words = ("--metrics", "localization_iou_25,max_box_accuracy_v2", "--num_images", "6", "--num_resamples", "20")
    assert evaluate(*OURS, "--methods", "grad_cam", *words, "--write_maps", "--out", "ours")[0] == 0
    assert len(list(Path("ours/maps/grad_cam").rglob("*.npy"))) == 6
    read = ("--config", "squares.yaml", "--score_maps", "ours/maps/grad_cam", *words, "--out", "theirs")
    status, out, _ = evaluate(*read)
    assert status == 0
    assert "test images of squares.yaml" in out
    with Path("theirs/score_maps.csv").open() as file:
        theirs = {row["metric"]: float(row["score"]) for row in csv.DictReader(file)}
    scores = json.loads(Path("ours/scores.json").read_text())["scores"]["grad_cam"]
    for name in ("localization_iou_25", "max_box_accuracy_v2"):
        assert theirs[name] == pytest.approx(scores[name]["score"], abs=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--network", "resnet18"], "--network: expected none beside --score_maps"),
        (["--compare", "other.ckpt"], "--compare: expected none beside --score_maps"),
        (["--write_maps"], "--write_maps: expected none beside --score_maps"),
        (["--methods", "layer_cam"], "--methods: expected none beside --score_maps"),
        (["--controls", "uniform"], "--controls: expected none beside --score_maps"),
        (["--target_layer", "layer3"], "--target_layer: expected none beside --score_maps"),
        (["--fresh"], "--fresh: expected none beside --score_maps"),
        (["--max_batch", "8"], "--max_batch: expected none beside --score_maps"),
        (["--size", "64"], "--size: expected none beside --score_maps"),
        (["--device", "cpu"], "--device: expected none beside --score_maps"),
        (["--metrics", "average_drop"], "--metrics: expected metrics of maps and annotation alone"),
        (["--score_maps", "none"], "--score_maps: expected the folder"),
        (["--config", "none.yaml"], "none.yaml"),
    ],
)
def test_options_beside_maps_that_are_read(evaluate, words, message):
    Path("maps").mkdir()
    status, _, err = evaluate("--config", "squares.yaml", "--score_maps", "maps", *words)
    assert (status, message in err) == (2, True)


def test_maps_without_images(evaluate):
    Path("maps").mkdir()
    status, _, err = evaluate("--score_maps", "maps")
    assert (status, "--config: expected a configuration with a data module" in err) == (2, True)
    status, _, err = evaluate("--score_maps", "maps", "--config", "squares.yaml")
    assert (status, "there is no map of 000000" in err) == (2, True)


def test_all_that_is_printed_fits_the_terminal(evaluate, monkeypatch):
    """Tables, titles and lists of files, with two networks, their controls and a method of a long name."""
    monkeypatch.setenv("COLUMNS", "60")
    first, second = checkpoint("first_of_two_with_a_long_name", 0), checkpoint("second_of_two_with_a_long_name", 1)
    words = ["--methods", "grad_cam,smooth_grad_cam_plus_plus", "--metrics", "fast", "--num_images", "3"]
    network = ["--network", "my_data.tiny", *QUICK]
    status, out, err = evaluate("--checkpoint", first, "--compare", second, *words, *network)
    assert status == 0, err
    assert [line for line in out.splitlines() if len(line) > 60] == []
    for word in ("shuffled Smooth Grad-CAM++", "panels/deletion_auc.png", "forward passes", "leakage ↓"):
        assert word in out
