"""Faithfulness scores in Lightning's loops: the numbers by hand, a fixed set of images, a schedule."""

from __future__ import annotations

import csv

import pytest
import torch
from torch.utils.data import IterableDataset

from camtrain.batch import collate, evenly_spaced
from camtrain.blurred import blurred
from camtrain.callbacks import FaithfulnessScores
from camtrain.cams import GradCAM, normalize, resize
from camtrain.controls import center_map
from camtrain.evaluation import evaluate
from camtrain.evaluation.removal_path import path_images, removal_ranks

pytestmark = pytest.mark.usefixtures("double_by_default")

STAGES = {"fit": "val", "validate": "val", "test": "test", "predict": "predict"}


def probability(network, image, class_idx):
    with torch.no_grad():
        return float(network(image).softmax(dim=1)[0, class_idx])


def scores_by_hand(module, samples, indices, stage, steps=6):
    """The scores image by image, one pass at a time, without the callback and the evaluator."""
    network = module.network.eval()
    names = ("average_drop", "average_increase", "average_gain", "insertion_auc", "deletion_auc")
    values = {name: [] for name in names}
    for index in indices:
        image = samples[index]["image"].unsqueeze(0)
        class_idx = int(network(image).argmax())
        cam = normalize(resize(GradCAM(network, "4")(image), (16, 16)))
        score = probability(network, image, class_idx)
        masked = probability(network, image * cam, class_idx)
        ranks = removal_ranks(cam)
        ways = {"insertion_auc": (blurred(image), image), "deletion_auc": (image, torch.zeros_like(image))}
        for name, (start, end) in ways.items():
            curve = [probability(network, one, class_idx) for one in path_images(start, end, ranks, steps)]
            values[name].append((sum(curve) - curve[0] / 2 - curve[-1] / 2) / steps)
        values["average_drop"].append(max(0, score - masked) / score)
        values["average_increase"].append(score < masked)
        values["average_gain"].append(max(0, masked - score) / (1 - score))
    return {f"{stage}/{name}/grad_cam": sum(each) / len(each) for name, each in values.items()}


def without_leakage(callback):
    return {name: score for name, score in callback.scores.items() if "map_leakage" not in name}


@pytest.mark.parametrize("entry", STAGES)
def test_same_numbers_as_by_hand(entry, tiny_module, tiny_data, tiny_trainer, run_stage):
    module, data = tiny_module(), tiny_data()
    callback = FaithfulnessScores(num_images=5, num_steps=6, target_layer="4")
    run_stage(tiny_trainer(callback), module, data, entry)
    expected = scores_by_hand(module, data.samples, evenly_spaced(10, 5), STAGES[entry])
    assert without_leakage(callback) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert callback.scores[f"{STAGES[entry]}/average_drop/grad_cam"] > 0


def test_all_images_as_they_come_by(tiny_module, tiny_data, tiny_trainer):
    module, data = tiny_module(), tiny_data()
    callback = FaithfulnessScores(num_images=None, num_steps=6, target_layer="4")
    tiny_trainer(callback).test(module, data)
    expected = scores_by_hand(module, data.samples, range(10), "test")
    assert without_leakage(callback) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_leakage_is_that_of_evaluate(tiny_module, tiny_data, tiny_trainer):
    module, data = tiny_module(), tiny_data()
    callback = FaithfulnessScores(num_images=6, num_steps=2, target_layer="4")
    tiny_trainer(callback).test(module, data)
    batch = collate([data.samples[index] for index in evenly_spaced(10, 6)])
    scores = evaluate(module.network.eval(), [batch], methods="grad_cam", metrics="map_leakage", target_layer="4")
    assert callback.scores["test/map_leakage/grad_cam"] == pytest.approx(scores.score("grad_cam", "map_leakage").value)


def test_controls_may_be_scored_like_methods(tiny_module, tiny_data, tiny_trainer):
    module, data = tiny_module(), tiny_data()
    controls = ["uniform", "center", "random", "shuffled_grad_cam"]
    callback = FaithfulnessScores(controls, ["average_drop"], num_images=4, target_layer="4")
    tiny_trainer(callback).test(module, data)
    assert list(callback.scores) == [f"test/average_drop/{name}" for name in controls]
    assert callback.scores["test/average_drop/uniform"] == pytest.approx(0, abs=1e-6)
    network, drops = module.network.eval(), []
    for index in evenly_spaced(10, 4):
        image = data.samples[index]["image"].unsqueeze(0)
        class_idx = int(network(image).argmax())
        score, masked = (probability(network, each, class_idx) for each in (image, image * center_map((16, 16))))
        drops.append(max(0, score - masked) / score)
    assert callback.scores["test/average_drop/center"] == pytest.approx(sum(drops) / 4, rel=1e-4, abs=1e-6)
    with pytest.raises(ValueError, match="`methods`: none is called 'centre'; did you mean 'center'"):
        FaithfulnessScores(["centre"])


def test_an_iterable_data_set_gives_its_first_images(tiny_module, tiny_data, tiny_trainer):
    class Stream(IterableDataset):
        def __iter__(self):
            return (samples[index] for index in range(10))

    module, data = tiny_module(), tiny_data()
    samples, data.samples = data.samples, Stream()
    callback = FaithfulnessScores(num_images=6, num_steps=6, target_layer="4")
    tiny_trainer(callback).test(module, data)
    expected = scores_by_hand(module, samples, range(6), "test")
    assert without_leakage(callback) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_it_is_due_first_then_every_n_epochs_and_last(tiny_module, tiny_data, tiny_trainer, tmp_path):
    callback = FaithfulnessScores(num_images=2, every_n_epochs=3, num_steps=2, metrics=["average_drop"])
    tiny_trainer(callback, max_epochs=6).fit(tiny_module(), tiny_data())
    with (tmp_path / "run" / "metrics.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["val/average_drop/grad_cam"]]
    assert [int(row["epoch"]) for row in rows] == [0, 3, 5]


def test_of_several_validations_in_an_epoch_the_first_is_due_and_at_the_end_the_last(
    tiny_module, tiny_data, tiny_trainer, tmp_path
):
    callback = FaithfulnessScores(num_images=2, every_n_epochs=2, num_steps=2, metrics=["average_drop"])
    trainer = tiny_trainer(callback, max_epochs=4, val_check_interval=0.5)  # of 3 batches: after each of them
    trainer.fit(tiny_module(), tiny_data())
    with (tmp_path / "run" / "metrics.csv").open(encoding="utf-8") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["val/average_drop/grad_cam"]]
    assert steps == [0, 6, 11]


def test_images_are_the_same_in_every_epoch_whatever_the_batches(tiny_module, tiny_data, tiny_trainer, monkeypatch):
    seen = []

    def recorded(self, batch):
        seen.append(batch.images)
        return batch

    monkeypatch.setattr(FaithfulnessScores, "of_interest", recorded)
    module, data = tiny_module(), tiny_data()
    callback = FaithfulnessScores(num_images=3, num_steps=2, metrics=["average_drop"])
    tiny_trainer(callback, max_epochs=3).fit(module, data)
    expected = collate([data.samples[index] for index in (1, 5, 8)]).images
    assert len(seen) == 3
    assert all(torch.equal(images, expected) for images in seen)


def test_training_is_not_changed(tiny_module, tiny_data, tiny_trainer):
    weights = []
    for callbacks in ([], [FaithfulnessScores(["grad_cam", "smooth_grad"], num_images=3, num_steps=2)]):
        torch.manual_seed(0)
        module = tiny_module()
        tiny_trainer(*callbacks, logger=False).fit(module, tiny_data())
        weights.append(module.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_method_that_has_no_map_here_is_named(tiny_module, tiny_data, tiny_trainer):
    callback = FaithfulnessScores(["guided_backprop", "grad_cam"], num_images=2, num_steps=2, metrics=["average_drop"])
    with pytest.warns(UserWarning, match="guided backprop made no map of 2 of 2 images, which are not counted"):
        tiny_trainer(callback).test(tiny_module(activation=torch.nn.SiLU), tiny_data())
    assert list(callback.scores) == ["test/average_drop/grad_cam"]


def test_gradients_that_are_not_finite_are_not_counted_out_loud(tiny_module, tiny_data, tiny_trainer):
    class RootMeanSquare(torch.nn.Module):
        def forward(self, values):
            return values.square().mean(dim=(2, 3)).sqrt()  # its gradient is NaN where all values are 0

    class Zeros(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return samples[index] | ({"image": torch.zeros(3, 16, 16)} if index == 2 else {})

    module, data = tiny_module(), tiny_data()
    samples, data.samples = data.samples, Zeros()
    convolution = torch.nn.Conv2d(3, 4, 3, bias=False)
    module.network = torch.nn.Sequential(convolution, RootMeanSquare(), torch.nn.Linear(4, 3))
    callback = FaithfulnessScores(["eigen_cam"], ["gradient_noise"])
    with pytest.warns(UserWarning, match="missing for 1 of 4 images, which are not counted"):
        tiny_trainer(callback).test(module, data)
    rest = FaithfulnessScores(["eigen_cam"], ["gradient_noise"])
    data.samples = torch.utils.data.Subset(Zeros(), [0, 1, 3])
    tiny_trainer(rest, logger=False).test(module, data)
    assert callback.scores == pytest.approx(rest.scores)


def test_none_are_scored_where_none_are_asked_for_and_few_in_fast_dev_run(tiny_module, tiny_data, tiny_trainer):
    none = FaithfulnessScores(num_images=0)
    tiny_trainer(none).test(tiny_module(), tiny_data())
    assert none.scores == {}
    few = FaithfulnessScores(num_images=5, num_steps=6, target_layer="4")
    module, data = tiny_module(), tiny_data()
    tiny_trainer(few, fast_dev_run=True).test(module, data)
    expected = scores_by_hand(module, data.samples, [2, 7], "test")
    assert without_leakage(few) == pytest.approx(expected, rel=1e-4, abs=1e-6)
