"""Evaluation of images that show several classes, and of a network of a single logit."""

from __future__ import annotations

import copy
import csv
import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch import nn

from camtrain import evaluate
from camtrain.batch import Batch
from camtrain.cams import GradCAM
from camtrain.controls import donors
from camtrain.evaluation import EvaluationSettings, compare
from camtrain.evaluation.evaluator import IMAGE, NO_CLASS, Evaluator
from camtrain.evaluation.several_labels import rounds_of
from camtrain.gradients import guided_gradient
from camtrain.methods import method_named, normalized_maps
from camtrain.networks.loaded_network import LoadedNetwork

CLASSES = 4
SHOWN = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 1]]).float()
METRICS = ["average_drop", "deletion_auc", "energy_pointing_game", "pointing_game", "max_box_accuracy_v2"]


def network_of(num_logits=CLASSES):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_logits)
    ).eval()  # fmt: skip


def batch_of(labels=SHOWN):
    images = torch.randn(len(labels), 3, 16, 16, generator=torch.Generator().manual_seed(1))
    boxes = [torch.tensor([[2.0 + place, 2.0, 10.0 + place, 12.0]]) for place in range(len(labels))]
    return Batch(images, labels, boxes)


def evaluator_of(network, class_of, metrics=METRICS, **settings):
    methods = {"grad_cam": GradCAM(network, "0")}
    return Evaluator(
        network, methods, metrics, EvaluationSettings(class_of, num_steps=4, num_classes=CLASSES, **settings)
    )


def part(batch, image):
    return batch.subset([image])


def test_every_label_is_the_mean_over_the_maps_of_an_image():
    """Against evaluations of one image and one class at a time, with sigmoids in the place of the softmax."""
    network, batch = network_of(), batch_of()
    found = evaluator_of(network, "every_label")(batch)
    for image, of_image in enumerate(SHOWN):
        classes = of_image.nonzero().flatten().tolist()
        single = evaluator_of(network, "label")
        single.probabilities.independent = True
        one = [
            single(Batch(batch.images[[image]], torch.tensor([label]), [batch.boxes[image]])).rows for label in classes
        ]
        for pair, rows in found.rows.items():
            expected = torch.stack([each[pair][0] for each in one]).mean(dim=0) if one else torch.zeros(rows.shape[1])
            torch.testing.assert_close(rows[image], expected.double(), rtol=1e-5, atol=1e-6, msg=str((image, pair)))


@pytest.mark.parametrize("name", ["score_cam", "ss_cam", "rise", pytest.param("taylor_cam", marks=pytest.mark.slow)])
def test_methods_that_measure_probabilities_measure_sigmoids(name):
    """The map of a class does not change with what the network says of another one, which is shown as well."""
    network, batch = network_of(), batch_of()
    network[1] = nn.GELU()  # Taylor-CAM needs a curved network
    other = copy.deepcopy(network)
    with torch.no_grad():
        other[4].weight[1:].mul_(-3)
    labels = torch.zeros(len(batch), dtype=torch.long)
    maps = []
    for each in (network, other):
        method = method_named(name, each, "0", **{"seed": 0} if name in ("ss_cam", "rise") else {})
        softmax = method(batch.images, labels)
        Evaluator(each, {name: method}, ["average_drop"], EvaluationSettings("every_label"))(batch)
        maps.append(method(batch.images, labels))
        assert not torch.allclose(maps[-1], softmax, rtol=1e-2, atol=0)
    torch.testing.assert_close(*maps, rtol=1e-4, atol=0)


def test_what_is_known_of_an_image_is_that_of_its_most_probable_class():
    network, batch = network_of(), batch_of()
    found = evaluator_of(network, "every_label")(batch)
    with torch.no_grad():
        probabilities = network(batch.images).sigmoid()
    best = probabilities.masked_fill(SHOWN == 0, -1).argmax(dim=1)
    shows_one = SHOWN.any(dim=1)
    assert torch.equal(found.class_idx[shows_one], best[shows_one])
    expected = probabilities.gather(1, best[:, None])[:, 0]
    torch.testing.assert_close(found.scores[shows_one], expected[shows_one])
    maps = normalized_maps(GradCAM(network, "0"), batch.images, best)
    torch.testing.assert_close(found.cams["grad_cam"][shows_one], maps[shows_one])


@pytest.mark.parametrize("class_of", ["label", "every_label"])
def test_an_image_that_shows_no_class_has_a_prediction_and_no_map(class_of):
    evaluator = evaluator_of(network_of(), class_of)
    found = evaluator(batch_of())
    assert found.left_out.keys() == evaluator.reasons.keys() == {NO_CLASS}
    assert found.left_out[NO_CLASS].tolist() == [False, False, False, True, False, False]
    assert found.predictions[3] >= 0
    assert found.scores[3].isnan()
    assert all(not rows[3].any() for rows in found.rows.values())
    # An image that is not finite is something else.
    batch = batch_of()
    batch.images[1, 0, 0, 0] = torch.nan
    found = evaluator_of(network_of(), class_of)(batch)
    assert {name: which.tolist().index(True) for name, which in found.left_out.items()} == {IMAGE: 1, NO_CLASS: 3}
    assert [int(prediction) < 0 for prediction in found.predictions] == [False, True, False, False, False, False]


def test_the_label_is_drawn_by_the_image_and_the_seed():
    network, batch = network_of(), batch_of()
    drawn = torch.stack([evaluator_of(network, "label", seed=seed)(batch).class_idx for seed in range(40)])
    assert [sorted(set(drawn[:, image].tolist())) for image in (0, 1, 2, 5)] == [[0, 2], [1], [0, 1, 2], [0, 3]]
    alone = [int(evaluator_of(network, "label")(part(batch, image)).class_idx) for image in range(len(SHOWN))]
    assert alone == drawn[0].tolist()


def test_the_prediction_is_the_most_probable_class():
    network, batch = network_of(), batch_of()
    found = evaluator_of(network, "prediction")(batch)
    assert not found.left_out
    torch.testing.assert_close(found.scores, network(batch.images).sigmoid().amax(dim=1).detach())


def test_rounds_hold_each_image_once():
    rounds = rounds_of(SHOWN == 1, torch.rand(6, 4))
    assert [sorted(images.tolist()) for images, _ in rounds] == [[0, 1, 2, 3, 4, 5], [0, 2, 5], [2]]
    pairs = [pair for images, classes in rounds for pair in zip(images.tolist(), classes.tolist(), strict=True)]
    assert sorted(pairs) == sorted([*map(tuple, SHOWN.nonzero().tolist()), (3, 0)])


def test_leakage_and_shuffled_maps_are_those_of_other_images():
    network, batch = network_of(), batch_of()
    said = r"shuffled Grad-CAM made no map of some classes of 1 of 6 images \(image 2\), which are not counted"
    with pytest.warns(UserWarning, match="show none of the classes"), pytest.warns(UserWarning, match=said):
        found = evaluate(
            network, [batch], "grad_cam", ["map_leakage", "average_drop"], settings=EvaluationSettings("every_label"),
            target_layer="0", controls="shuffled", progress=False,
        )  # fmt: skip
    assert found.score("shuffled_grad_cam", "average_drop").num_images == 5
    # No other image shows a third class.
    assert found.found.left_out == {NO_CLASS: [3], "shuffled_grad_cam/some classes": [2]}
    assert set(found.found.reasons) == {NO_CLASS, "shuffled_grad_cam/some classes"}
    assert found.score("grad_cam", "map_leakage").num_images > 0
    # The only other image shows the class, so that there is no content without it.
    both = Batch(batch.images[:2], torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 0]]), batch.boxes[:2])
    evaluator = evaluator_of(network, "every_label", ["map_leakage"])
    others, foreign = evaluator._explained(both)[0].others
    assert others.tolist() == [1, 0]
    assert not foreign.any()


def test_a_network_of_one_label_is_not_compared_with_one_of_several():
    """The probabilities of one sum to 1 over the classes, and those of the other do not."""
    several, single = (replace(LoadedNetwork.of(network_of()), several_labels=each) for each in (True, False))
    how = {"methods": "grad_cam", "metrics": ["average_drop"], "target_layer": "0", "progress": False}
    how["controls"] = "none"
    batch = batch_of()
    with pytest.raises(ValueError, match="`other`: expected a network trained like the first one"):
        compare(single, several, [Batch(batch.images)], **how)
    # Labels of several classes say that both are meant so.
    compare(single, several, [batch_of(SHOWN[:2])], settings=EvaluationSettings("every_label"), **how)


def test_drawn_classes_are_those_of_both_networks():
    network, batch = network_of(), batch_of(SHOWN[[0, 2, 5, 2]])
    darker = replace(batch, images=batch.images / 2)
    how = {"methods": "grad_cam", "metrics": ["average_drop"], "target_layer": "0", "progress": False}
    compare(network, network_of(), [batch], settings=EvaluationSettings("label"), **how)
    with pytest.raises(ValueError, match='pass class_of="every_label"'):
        compare(network, network_of(), [batch], other_data=[darker], settings=EvaluationSettings("label"), **how)
    compare(network, network_of(), [batch], other_data=[darker], settings=EvaluationSettings("every_label"), **how)


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_control_is_compared_over_the_classes_that_have_one(tmp_path, in_folder):
    """Against single maps: the shuffled maps of the first round are those of its other images."""
    network, metric = network_of(), "average_drop"
    batch = batch_of(torch.tensor([[1.0, 1, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]))
    how = {
        "settings": EvaluationSettings("every_label", num_classes=CLASSES), "target_layer": "0", "progress": False,
        "controls": "shuffled,uniform", "folder": tmp_path if in_folder else None, "num_panel_maps": 0,
    }  # fmt: skip
    for _ in range(1 + in_folder):  # the second call reads what the first one kept
        with pytest.warns(UserWarning, match=r"made no map of some classes of 1 of 3 images \(image 0\)"):
            found = evaluate(network, [batch], "grad_cam", [metric], **how)
    with torch.no_grad():
        probabilities = network(batch.images).sigmoid()
    first = probabilities.masked_fill(batch.labels == 0, -1).argmax(dim=1)
    maps = normalized_maps(GradCAM(network, "0"), batch.images, first)

    def drops(cams):
        with torch.no_grad():
            masked = network(batch.images * cams.unsqueeze(1)).sigmoid()
        before, after = (each.gather(1, first[:, None])[:, 0] for each in (probabilities, masked))
        return (before - after).clamp(min=0) / before

    expected = (drops(maps) - drops(maps[donors(first)])).mean()
    assert found.beyond("shuffled").score("grad_cam", metric).value == pytest.approx(float(expected), abs=1e-6)
    # With a control of every map, nothing is left out: the uniform map drops nothing.
    whole = found.score("grad_cam", metric).value
    assert found.beyond("uniform").score("grad_cam", metric).value == pytest.approx(whole, abs=1e-6)
    assert whole != pytest.approx(float(drops(maps).mean()), abs=1e-4)


def test_gradients_are_those_of_the_sigmoid_of_the_explained_class():
    network, batch = network_of(), batch_of()
    evaluator = evaluator_of(network, "prediction", ["guided_agreement"])
    found = evaluator(batch)
    images = batch.images.clone().requires_grad_()
    loss = -F.logsigmoid(network(images)).gather(1, found.class_idx[:, None]).sum()
    guided = guided_gradient(loss, images)
    (plain,) = torch.autograd.grad(loss, images)
    expected = F.cosine_similarity(plain.flatten(1), guided.flatten(1))
    scores = evaluator.metric("guided_agreement").image_scores(found.rows["network", "guided_agreement"])
    torch.testing.assert_close(scores.float(), expected, rtol=1e-4, atol=1e-5)


def test_accuracy_average_precision_and_f1_are_reported(tmp_path):
    network, batch = network_of(), batch_of()
    with pytest.warns(UserWarning, match="1 of 6 images .* show none of the classes, and have no map"):
        found = evaluate(
            network, [batch], "grad_cam", ["average_drop"], settings=EvaluationSettings("every_label"),
            target_layer="0", folder=tmp_path, num_gallery_images=4, progress=False,
        )  # fmt: skip
    with torch.no_grad():
        probabilities = network(batch.images).sigmoid()
    precision = sum(average_precision_score(SHOWN[:, k], probabilities[:, k]) for k in range(CLASSES)) / CLASSES
    right = ((probabilities >= 0.5) == (SHOWN == 1)).double().mean().item()
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["mean_average_precision"] == pytest.approx(precision)
    assert written["accuracy"] == pytest.approx(right)
    assert 0 <= written["f1"] <= 1
    assert f"mean average precision {100 * precision:.1f} %, F1" in found.summary().replace(";", ",")
    with (tmp_path / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["0;2", "1", "0;1;2", "", "3", "0;3"]
    assert rows[3]["predicted"] != ""
    assert rows[3]["explained"] == rows[3]["average_drop"] == ""
    # Kept parts say it, too.
    with pytest.warns(UserWarning, match="show none of the classes"):
        again = evaluate(
            network, [batch], "grad_cam", ["average_drop"], settings=EvaluationSettings("every_label"),
            target_layer="0", folder=tmp_path, num_gallery_images=4, progress=False,
        )  # fmt: skip
    assert again.found.of_several == found.found.of_several


def test_two_networks_are_compared_by_their_answers():
    first, second = network_of(), network_of()
    with torch.no_grad():
        second[4].bias.sub_(100)  # it says that no image shows anything
    compared = compare(first, second, [batch_of()], "grad_cam", ["average_drop"], target_layer="0", progress=False)
    assert compared.second.accuracy == pytest.approx(1 - SHOWN.mean().item())
    assert "accuracy" in compared.networks()


def test_without_labels_a_network_that_was_trained_so_has_sigmoids():
    network, images = network_of(), batch_of().images
    loaded = LoadedNetwork.of(network)
    several = LoadedNetwork(network, "several", loaded.preprocessing, several_labels=True)
    how = {"methods": "grad_cam", "metrics": ["average_drop"], "target_layer": "0", "progress": False}
    found, plain = evaluate(several, [images], **how), evaluate(network, [images], **how)
    torch.testing.assert_close(found.found.scores, network(images).sigmoid().amax(dim=1).detach())
    torch.testing.assert_close(plain.found.scores, network(images).softmax(dim=1).amax(dim=1).detach())
    assert found.identity["several_labels"] is True
    assert "several_labels" not in plain.identity


@pytest.mark.parametrize("column", [False, True])
def test_a_single_logit_has_scores_of_its_own(column):
    network, batch = network_of(1), batch_of()
    labels = torch.tensor([1, 0, 1, 0, 0, 1])
    batch.labels = labels.float().unsqueeze(1) if column else labels
    found = evaluate(
        network,
        [batch],
        "grad_cam",
        [*METRICS, "average_gain", "map_leakage", "guided_agreement"],
        target_layer="0",
        progress=False,
    )
    logits = network(batch.images).squeeze(1).detach()
    predicted = (logits > 0).long()
    probability = torch.where(predicted == 1, logits.sigmoid(), 1 - logits.sigmoid())
    assert found.found.predictions.tolist() == predicted.tolist()
    torch.testing.assert_close(found.found.scores, probability)
    assert found.accuracy == pytest.approx((predicted == labels).double().mean().item())
    # The probability of the masked image is not always 1.
    gains = found.evaluator.metric("average_gain").image_scores(found.found.rows["grad_cam", "average_gain"])
    maps = normalized_maps(GradCAM(network, "0"), batch.images, predicted)
    masked = network(batch.images * maps.unsqueeze(1)).squeeze(1).sigmoid().detach()
    masked = torch.where(predicted == 1, masked, 1 - masked)
    expected = ((masked - probability) / (1 - probability)).clamp(min=0)
    torch.testing.assert_close(gains.float(), expected, atol=1e-5, rtol=1e-4)
    assert gains.max() > 0
    of_labels = evaluate(
        network, [batch], "grad_cam", ["average_drop"], settings=EvaluationSettings("label"), target_layer="0",
        progress=False,
    )  # fmt: skip
    assert of_labels.found.class_idx.tolist() == labels.tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.full((6, 4), 0.5), "`labels`: expected 1 for a class that an image shows, 0 for another, got 0.5"),
        (SHOWN[:, :3], "`labels`: expected those of 4 classes, got 3"),
        (SHOWN.long(), r"`data`: expected integer labels \(N,\), or floating point labels \(N, K\)"),
        (torch.rand(6), r"`data`: expected integer labels \(N,\)"),
    ],
)
def test_labels_that_cannot_be_used_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate(network_of(), [batch_of(labels)], "grad_cam", ["average_drop"], target_layer="0", progress=False)


def test_with_one_label_every_label_is_the_label():
    network, batch = network_of(), batch_of(torch.tensor([0, 1, 2, 3, 0, 1]))
    one, every = (evaluator_of(network, class_of)(batch) for class_of in ("label", "every_label"))
    for pair, rows in one.rows.items():
        assert torch.equal(rows, every.rows[pair])
    assert not math.isnan(float(one.scores[0]))
