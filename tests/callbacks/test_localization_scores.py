"""Localization scores in every entry point of Lightning."""

from __future__ import annotations

import csv
import logging
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

import camtrain.batch
from camtrain.attributions import InputGradient
from camtrain.batch import collate, evenly_spaced
from camtrain.callbacks import LocalizationScores
from camtrain.cams import GradCAM, normalize, resize
from camtrain.methods import normalized_maps
from camtrain.metrics import PixelAveragePrecision, energy_in_region, localization_iou, regions

pytestmark = pytest.mark.usefixtures("double_by_default")

STAGES = {"fit": "val", "validate": "val", "test": "test", "predict": "predict"}
NAMES = (
    "energy_pointing_game/grad_cam",
    "energy_pointing_game/uniform",
    "localization_iou_25/grad_cam",
    "flat_maps/grad_cam",
)


def scores_by_hand(module, loader, stage, annotation="boxes", class_of="label", layer="4"):
    """The scores image by image, without the callback."""
    module.eval()
    energies, ious, areas, flats = [], [], [], []
    for batch in loader:
        for index in range(len(batch)):
            image = batch.images[index : index + 1]
            known = batch.boxes[index : index + 1] if annotation == "boxes" else batch.masks[index : index + 1]
            truth = regions(known, (16, 16))
            if not truth.any():
                continue
            class_idx = int(batch.labels[index]) if class_of == "label" and batch.labels is not None else None
            cam = resize(GradCAM(module.network, layer)(image, class_idx), (16, 16))
            energies.append(float(energy_in_region(cam, truth)))
            ious.append(float(localization_iou(normalize(cam), truth, 0.25)))
            areas.append(float(truth.float().mean()))
            flats.append(float(cam.max() == cam.min()))
    means = [sum(values) / len(values) for values in (energies, areas, ious, flats)]
    return {f"{stage}/{name}": mean for name, mean in zip(NAMES, means, strict=True)}


@pytest.mark.parametrize("entry", STAGES)
def test_same_numbers_as_by_hand(entry, tiny_module, tiny_data, tiny_trainer, run_stage, tmp_path):
    module, data, callback = tiny_module(), tiny_data(), LocalizationScores(target_layer="4")
    trainer = tiny_trainer(callback)
    run_stage(trainer, module, data, entry)
    expected = scores_by_hand(module, data.val_dataloader(), STAGES[entry])
    assert callback.scores == pytest.approx(expected, rel=1e-5)
    assert 0 < expected[f"{STAGES[entry]}/energy_pointing_game/grad_cam"] < 1
    if entry != "predict":
        assert {name: float(trainer.callback_metrics[name]) for name in expected} == pytest.approx(expected, rel=1e-5)
    with (tmp_path / "run" / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    logged = {name: [float(row[name]) for row in rows if row[name]] for name in expected}
    assert {name: values[-1] for name, values in logged.items()} == pytest.approx(expected, rel=1e-5)
    assert {len(values) for values in logged.values()} == {2 if entry == "fit" else 1}


@pytest.mark.parametrize(
    "settings",
    [
        {"annotation": "masks"},
        {"class_of": "prediction"},
        {"target_layer": "0"},
    ],
)
def test_settings(settings, tiny_module, tiny_data, tiny_trainer):
    module, data = tiny_module(), tiny_data(some_without=True)
    callback = LocalizationScores(**({"target_layer": "4"} | settings))
    tiny_trainer(callback).test(module, data)
    by_hand = {"layer": settings.get("target_layer", "4")}
    by_hand |= {key: value for key, value in settings.items() if key in ("annotation", "class_of")}
    expected = scores_by_hand(module, data.test_dataloader(), "test", **by_hand)
    assert callback.scores == pytest.approx(expected, rel=1e-5)


def test_images_with_masks_alone_have_tight_boxes(tiny_module, tiny_data, tiny_trainer):
    """As in `camtrain evaluate`; the masks of these images are their boxes."""
    module, data = tiny_module(), tiny_data(annotation=("mask",), some_without=True)
    callback = LocalizationScores(target_layer="4")
    tiny_trainer(callback).test(module, data)
    expected = scores_by_hand(module, data.test_dataloader(), "test", annotation="masks")
    assert callback.scores == pytest.approx(expected, rel=1e-5)


def test_a_number_of_images_is_spread_over_the_data_set(tiny_module, tiny_data, tiny_trainer):
    module, data = tiny_module(), tiny_data(some_without=True)
    callback = LocalizationScores(target_layer="4", num_images=4)
    tiny_trainer(callback).test(module, data)
    chosen = [collate([data.samples[index] for index in evenly_spaced(10, 4)])]  # 1, 3, 6, 8: two are annotated
    assert callback.scores == pytest.approx(scores_by_hand(module, chosen, "test"), rel=1e-5)


def test_methods_and_metrics(tiny_module, tiny_data, tiny_trainer):
    module, data = tiny_module(), tiny_data()
    methods, metrics = ["grad_cam", "input_gradient"], ["pointing_game", "localization_iou_0", "guided_agreement"]
    callback = LocalizationScores(methods, metrics, target_layer="4")
    tiny_trainer(callback).test(module, data)
    of_maps = {f"test/{name}/{method}" for name in metrics[:2] for method in methods}
    flat = {f"test/flat_maps/{method}" for method in methods}
    assert set(callback.scores) == of_maps | flat | {"test/guided_agreement"}
    (batch,) = [collate([data.samples[index] for index in range(10)])]
    truth = regions(batch.boxes, (16, 16))
    maps = normalized_maps(InputGradient(module.eval().network), batch.images, batch.labels)
    expected = float(localization_iou(maps, truth, 0.0).mean())
    assert callback.scores["test/localization_iou_0/input_gradient"] == pytest.approx(expected, rel=1e-5)


def test_localization_of_the_label_and_ignored_pixels(tiny_module, tiny_data, tiny_trainer):
    names = ["top_1_localization", "gt_known_localization", "pixel_average_precision"]
    module, data = tiny_module(), tiny_data()
    found = {}
    for ignores in (False, True):
        callback = LocalizationScores(metrics=names, target_layer="4", annotation="masks")
        callback.of_interest = lambda batch, ignores=ignores: ignoring_the_right(batch) if ignores else batch
        tiny_trainer(callback, logger=False).test(module, datamodule=data)
        found[ignores] = callback.scores
    plain, ignoring = found[False], found[True]
    assert set(plain) == {f"test/{name}/grad_cam" for name in names}
    assert plain["test/top_1_localization/grad_cam"] <= plain["test/gt_known_localization/grad_cam"]
    assert plain["test/pixel_average_precision/grad_cam"] != ignoring["test/pixel_average_precision/grad_cam"]
    batches = list(data.test_dataloader())
    module.eval()
    cams = [normalized_maps(GradCAM(module.network, "4"), batch.images, batch.labels) for batch in batches]
    metric = PixelAveragePrecision()
    for cam, batch in zip(cams, batches, strict=True):
        metric.update(cam, batch.masks, ignoring_the_right(batch).ignored)
    assert ignoring["test/pixel_average_precision/grad_cam"] == pytest.approx(float(metric.compute()), rel=1e-5)


def ignoring_the_right(batch):
    ignored = torch.zeros(len(batch), 16, 16, dtype=torch.bool)
    ignored[:, :, 8:] = True
    return replace(batch, ignored=ignored)


def test_unknown_labels_mean_the_prediction_and_it_says_so_once(tiny_module, tiny_data, tiny_trainer, without_labels):
    module, data = tiny_module(), tiny_data(predict_collate=without_labels)
    callback = LocalizationScores(target_layer="4")
    with pytest.warns(UserWarning, match="labels are unknown") as warned:
        tiny_trainer(callback).predict(module, data)
    assert sum("labels are unknown" in str(each.message) for each in warned) == 1
    expected = scores_by_hand(module, data.test_dataloader(), "predict", class_of="prediction")
    assert callback.scores == pytest.approx(expected, rel=1e-5)


def messages(caplog):
    return [record.getMessage() for record in caplog.records if "LocalizationScores" in record.getMessage()]


def test_idle_is_said_once_in_a_run(tiny_module, tiny_data, tiny_trainer, run_stage, caplog):
    module, data, callback = tiny_module(), tiny_data(annotation=()), LocalizationScores()
    trainer = tiny_trainer(callback)
    with caplog.at_level(logging.INFO):
        for entry in STAGES:
            run_stage(trainer, module, data, entry)
    assert messages(caplog) == ["LocalizationScores: no image has boxes, so there is nothing to score: it is idle."]
    assert callback.scores == {}
    assert not any("energy" in name for name in trainer.logged_metrics)


def test_images_without_boxes_are_counted_out_loud(tiny_module, tiny_data, tiny_trainer, caplog):
    callback = LocalizationScores()
    with caplog.at_level(logging.INFO):
        tiny_trainer(callback).fit(tiny_module(), tiny_data(some_without=True))
    assert messages(caplog) == ["LocalizationScores: 5 images of val have no boxes and are not counted."]


def test_sanity_check_logs_nothing(tiny_module, tiny_data, tiny_trainer, caplog):
    callback = LocalizationScores()
    with caplog.at_level(logging.INFO):
        tiny_trainer(callback, num_sanity_val_steps=2, max_epochs=0).fit(tiny_module(), tiny_data(some_without=True))
    assert callback.scores == {}
    assert messages(caplog) == []


def test_works_in_fast_dev_run(tiny_module, tiny_data, tiny_trainer):
    callback = LocalizationScores()
    tiny_trainer(callback, fast_dev_run=True).fit(tiny_module(), tiny_data())
    assert set(callback.scores) == {f"val/{name}" for name in NAMES}


def test_a_dead_network_has_flat_maps_that_score_zero(tiny_module, tiny_data, tiny_trainer):
    module, callback = tiny_module(), LocalizationScores(target_layer="4")
    nn.init.zeros_(module.network[8].weight)
    tiny_trainer(callback).validate(module, tiny_data())
    assert callback.scores["val/flat_maps/grad_cam"] == 1.0
    assert callback.scores["val/energy_pointing_game/grad_cam"] == 0.0
    assert callback.scores["val/localization_iou_25/grad_cam"] == 0.0
    assert callback.scores["val/energy_pointing_game/uniform"] == pytest.approx(36 / 256)


def test_fit_and_validate_may_alternate(tiny_module, tiny_data, tiny_trainer):
    """A test, which runs in inference mode, leaves nothing that a later fit cannot use."""
    module, data, callback = tiny_module(), tiny_data(), LocalizationScores()
    trainer = tiny_trainer(callback)
    trainer.validate(module, data)
    trainer.fit(module, data)
    trainer.test(module, data)
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, data)
    assert {name.split("/")[0] for name in callback.scores} == {"val", "test"}


def state(module):
    tensors = {name: value.clone() for name, value in module.state_dict().items()}
    modes = [each.training for each in module.modules()]
    needs = [parameter.requires_grad for parameter in module.parameters()]
    gradients = [parameter.grad.clone() for parameter in module.parameters()]
    hooks = [len(each._forward_hooks) + len(each._backward_hooks) for each in module.modules()]
    return tensors, modes, needs, gradients, hooks, torch.get_rng_state()


class Recorder(pl.Callback):
    """Records the state of the module before and after the hooks of another callback."""

    def __init__(self):
        self.states = []

    def on_test_batch_end(self, trainer, pl_module, *_):
        self.states.append(state(pl_module))

    def on_test_epoch_end(self, trainer, pl_module):
        self.states.append(state(pl_module))


def assert_same(one, two):
    for name in one[0]:
        assert torch.equal(one[0][name], two[0][name])
    assert one[1:3] == two[1:3]
    assert all(torch.equal(first, second) for first, second in zip(one[3], two[3], strict=True))
    assert one[4] == two[4]
    assert torch.equal(one[5], two[5])


def test_leaves_the_model_as_found(tiny_module, tiny_data, tiny_trainer):
    module, before, after = tiny_module(), Recorder(), Recorder()

    def left_over():  # Lightning itself clears gradients when a stage begins
        for parameter in module.parameters():
            parameter.grad = torch.rand_like(parameter)

    module.on_test_epoch_start = left_over
    tiny_trainer(before, LocalizationScores(), after).test(module, tiny_data())
    assert len(before.states) == 4
    for one, two in zip(before.states, after.states, strict=True):
        assert_same(one, two)


def test_a_network_that_is_left_in_training_mode_is_scored_in_evaluation_mode(tiny_module, tiny_data, tiny_trainer):
    module, data, callback = tiny_module(), tiny_data(), LocalizationScores(target_layer="4")
    module.on_test_epoch_start = lambda: module.network.train() and None
    module.test_step = lambda *_: None
    tiny_trainer(callback).test(module, data)
    assert all(each.training for each in module.network)
    assert callback.scores == pytest.approx(scores_by_hand(module, data.test_dataloader(), "test"), rel=1e-5)


def test_leaves_the_model_as_found_after_an_error(tiny_module, tiny_data, tiny_trainer):
    module, data = tiny_module(classes=2), tiny_data()

    # This module undoes Lightning's evaluation mode.
    def untidy(*_):
        module.network.train()
        for parameter in module.parameters():
            parameter.grad = torch.rand_like(parameter)

    module.on_test_batch_start = untidy
    module.test_step = lambda *_: None
    before = Recorder()
    with pytest.raises(ValueError, match="expected classes from 0 to 1, got 2"):
        tiny_trainer(before, LocalizationScores()).test(module, data)
    assert all(each.training for each in module.network.modules())
    assert_same(before.states[0], state(module))


def test_training_is_not_changed(tiny_module, tiny_data, tiny_trainer, tmp_path):
    weights = []
    for callbacks in ([], [LocalizationScores()]):
        torch.manual_seed(0)
        module = tiny_module()
        tiny_trainer(*callbacks, logger=False).fit(module, tiny_data())
        weights.append(module.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_bad_settings(tiny_module, tiny_data, tiny_trainer):
    with pytest.raises(ValueError, match="`metrics`: none is called 'iou'"):
        LocalizationScores(metrics=["iou"])
    with pytest.raises(ValueError, match="`methods`: none is called 'gradcam'"):
        LocalizationScores(["gradcam"])
    with pytest.raises(ValueError, match="`methods`: expected at least one, got none"):
        LocalizationScores([])
    with pytest.raises(ValueError, match="`every_n_epochs`"):
        LocalizationScores(every_n_epochs=0)
    with pytest.raises(ValueError, match='`class_of`: expected "prediction", "label" or "every_label", got \'true\''):
        LocalizationScores(class_of="true")
    with pytest.raises(ValueError, match="`annotation`"):
        LocalizationScores(annotation="mask")
    with pytest.raises(ValueError, match="`num_images`"):
        LocalizationScores(num_images=-1)
    module = tiny_module()
    with pytest.raises(ValueError, match="nope"):
        tiny_trainer(LocalizationScores(target_layer="nope")).fit(module, tiny_data())
    del module.network
    with pytest.raises(TypeError, match="`network`"):
        tiny_trainer(LocalizationScores()).fit(module, tiny_data())


@pytest.mark.slow  # two more processes; test_distributed.py has two, too
def test_two_processes_score_as_one(tmp_path, monkeypatch, capsys):
    """Metrics add up over processes; the other callbacks write once, and no process waits for another."""
    script = Path(__file__).with_name("two_processes.py")
    monkeypatch.syspath_prepend(str(script.parent))
    runpy.run_path(str(script))["main"](1, tmp_path / "1")
    printed = [capsys.readouterr().out]
    command = [sys.executable, str(script), "2", str(tmp_path / "2")]
    project = {"PYTHONPATH": str(Path(camtrain.batch.__file__).parents[1])}
    done = subprocess.run(command, env=os.environ | project, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    printed.append(done.stdout)
    one, two = (torch.load(tmp_path / name / "scores.pt") for name in ("1", "2"))
    assert len(one[0]) > 15
    assert len(one[1]) > 20
    for of_one, of_two in zip(one, two, strict=True):
        # Scores are means of float32 values, and a small one is a difference of probabilities, rounded by 6e-8 each.
        assert of_two == pytest.approx(of_one, rel=1e-5, abs=1e-6)
    for name, text in zip(("1", "2"), printed, strict=True):
        assert (tmp_path / name / "run" / "panels" / "test.png").is_file()
        assert text.count("IoU at 25 %, grad_cam") == 1
