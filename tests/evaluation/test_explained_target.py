"""Evaluations of a number in the place of a class."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import camtrain
from camtrain.cams import GradCAM
from camtrain.gradients import Contrast, class_score
from camtrain.networks import AdaptedNetwork, CIFARResNet
from camtrain.targets import OutputPart, SegmentationScore, Similarity, SoftmaxScore

HOW = {"metrics": ["average_drop", "insertion_auc"], "progress": False}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=4, width=4).eval()


@pytest.fixture
def images():
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_the_probability_of_a_class_is_scored_as_the_class_is(network, images):
    """With labels that are this class, in the order of their probabilities."""
    labels = torch.full((4,), 2)
    settings = camtrain.EvaluationSettings(class_of="label")
    found = camtrain.evaluate(network, [images], "occlusion", target=SoftmaxScore(2), **HOW)
    # The map of a log-odds is not that of a logit; so compare what is measured of the same map.
    uniform = [camtrain.evaluate(network, [(images, labels)], "center", settings=settings, **HOW)]
    uniform.append(camtrain.evaluate(network, [images], "center", target=SoftmaxScore(2), **HOW))
    for metric in HOW["metrics"]:
        both = [each.score("center", metric).value for each in uniform]
        assert both[0] == pytest.approx(both[1], abs=1e-5)
    assert found.score("occlusion", "insertion_auc").num_images == 4
    assert torch.equal(found.found.class_idx, torch.ones(4, dtype=torch.long))


def test_a_number_is_explained_for_being_high_even_where_it_is_low(network, images):
    """Also with labels of classes, which have nothing to do with it."""
    low = camtrain.evaluate(
        network, [(images, torch.arange(4))], "grad_cam", target=lambda logits: logits[:, 1] - 100.0,
        target_layer="layer2", **HOW,
    )  # fmt: skip
    assert set(low.found.class_idx.tolist()) == {1}
    assert float(low.found.scores.max()) < 0.5
    assert "accuracy" not in str(low)


class Parts(nn.Module):
    """Several outputs, one of which has a class for each pixel."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU()), nn.Conv2d(5, 8, 1)

    def forward(self, images):
        return {"out": self.head(self.body(images))}


def test_a_segmentation_is_evaluated(images):
    network = Parts()
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 2:5] = True
    target = OutputPart("out", SegmentationScore(1, mask))
    scores = camtrain.evaluate(network, [images], "grad_cam,input_gradient", target=target, target_layer="body", **HOW)
    score = scores.score("grad_cam", "insertion_auc")
    assert score.num_images == 4
    with torch.no_grad():
        numbers = network(images)["out"][:, 1][:, mask].mean(1)
    torch.testing.assert_close(scores.found.scores, numbers.sigmoid())
    assert scores.score("input_gradient", "average_drop").interval is not None


def test_what_does_not_go_together(network, images):
    settings = camtrain.EvaluationSettings(class_of="label")
    with pytest.raises(ValueError, match='`class_of`: expected "prediction" beside a `target`'):
        camtrain.evaluate(network, [images], target=SoftmaxScore(1), settings=settings, **HOW)
    with pytest.raises(TypeError, match="`target`: expected a target or a function"):
        camtrain.evaluate(network, [images], target=3, **HOW)
    with pytest.raises(ValueError, match=r"`target`: expected one number for each image, \(4,\), got \(4, 4\)"):
        camtrain.evaluate(network, [images], target=lambda logits: logits, **HOW)
    with pytest.raises(ValueError, match="expected 'given_grad_cam' to explain this network"):
        camtrain.evaluate(network, [images], [GradCAM(network)], target=SoftmaxScore(1), **HOW)


@pytest.mark.parametrize(
    "target", [SoftmaxScore(), OutputPart("out"), OutputPart("out", SegmentationScore()), OutputPart(0, Contrast(2))]
)
def test_a_class_is_not_left_to_the_prediction(network, images, target):
    with pytest.raises(ValueError, match="`target`: expected one with a class"):
        camtrain.evaluate(network, [images], target=target, **HOW)


def test_a_probability_among_several_outputs(images):
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Parts()

        def forward(self, images):
            return {"logits": self.inner(images)["out"].mean(dim=(2, 3)), "other": images}

    network = Several()
    found = camtrain.evaluate(
        network, [images], "input_gradient", target=OutputPart("logits", SoftmaxScore(3)), **HOW
    ).found  # fmt: skip
    with torch.no_grad():
        torch.testing.assert_close(found.scores, network(images)["logits"].softmax(1)[:, 3])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (OutputPart("out", SegmentationScore(3)), OutputPart("out", SegmentationScore(5))),
        (lambda output: output["out"][:, 3].mean((1, 2)), lambda output: output["out"][:, 5].mean((1, 2))),
    ],
)
def test_a_folder_knows_the_target(images, tmp_path, one, other):
    how = HOW | {"metrics": ["average_drop"], "num_panel_maps": 0, "target_layer": "body"}
    first = camtrain.evaluate(Parts(), [images], "grad_cam", target=one, folder=tmp_path, **how)
    again = camtrain.evaluate(Parts(), [images], "grad_cam", target=one, folder=tmp_path, **how)
    assert torch.equal(again.found.scores, first.found.scores)
    with pytest.raises(ValueError, match="holds an evaluation with target"):
        camtrain.evaluate(Parts(), [images], "grad_cam", target=other, folder=tmp_path, **how)


def test_a_folder_knows_the_reference_of_a_similarity(network, images, tmp_path):
    how = HOW | {"metrics": ["average_drop"], "num_panel_maps": 0, "folder": tmp_path, "methods": "grad_cam"}
    camtrain.evaluate(network, [images], target=Similarity(torch.eye(4)[0]), **how)
    camtrain.evaluate(network, [images], target=Similarity(torch.eye(4)[0]), **how)
    with pytest.raises(ValueError, match="holds an evaluation with target"):
        camtrain.evaluate(network, [images], target=Similarity(torch.eye(4)[1]), **how)


# Networks with other inputs and outputs ---------------------------------------------------------


class Conditioned(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()), nn.Linear(5, 4)

    def forward(self, images, scale, shift=None):
        found = self.head(self.body(images).mean(dim=(2, 3)) * scale)
        return {"logits": found if shift is None else found + shift, "again": -found, "features": None}


def test_an_adapted_network_is_one_of_logits(images):
    inner = Conditioned()
    network = AdaptedNetwork(
        inner, lambda output: output["logits"], lambda found: (found, torch.full((len(found), 1), 2.0))
    )
    named = AdaptedNetwork(
        inner, lambda output: output["logits"], lambda found: {"images": found, "scale": 2.0, "shift": 0.0}
    )
    plain = nn.Sequential(inner.body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
    with torch.no_grad():
        plain[3].weight.copy_(2 * inner.head.weight)
        plain[3].bias.copy_(inner.head.bias)
    for method in ("grad_cam", "integrated_gradients", "score_cam"):
        expected = camtrain.image_maps(plain, images, method)
        torch.testing.assert_close(camtrain.image_maps(network, images, method), expected)
        torch.testing.assert_close(camtrain.image_maps(named, images, method), expected)
    scores = camtrain.evaluate(network, [images], "grad_cam", target_layer="network.body", **HOW)
    expected = camtrain.evaluate(plain, [images], "grad_cam", target_layer="0", **HOW)
    assert scores.score("grad_cam", "average_drop").value == pytest.approx(
        expected.score("grad_cam", "average_drop").value
    )
    network.train()
    assert inner.training
    with pytest.raises(ValueError, match=r"`scores`: expected \(4, K\) or \(4,\) scores, got \(4, 5, 14, 14\)"):
        AdaptedNetwork(inner.body, lambda output: output)(images)
    with pytest.raises(ValueError, match=r"`network`: expected \(4, K\).* got dict"):
        AdaptedNetwork(inner, None, lambda found: (found, 1.0))(images)
    with pytest.raises(TypeError, match="`inputs`: expected a function or None, got 3"):
        AdaptedNetwork(inner, None, 3)


def test_a_fraction_keeps_its_value_as_a_probability(network, images):
    adapted = AdaptedNetwork(network, SoftmaxScore(1))
    with torch.no_grad():
        torch.testing.assert_close(adapted(images).sigmoid()[:, 0], network(images).softmax(1)[:, 1])
        assert torch.equal(class_score(adapted(images), 1), adapted(images)[:, 0])


def test_a_folder_knows_what_adapts_a_network(images, tmp_path):
    inner = Conditioned()

    def scored(name, scale, folder, **more):
        adapted = AdaptedNetwork(inner, lambda output: output[name], lambda found: (found, scale))
        how = HOW | {"metrics": ["average_drop"], "num_panel_maps": 0, "target_layer": "network.body"} | more
        return camtrain.evaluate(adapted, [images], "grad_cam", folder=tmp_path / folder, **how)

    first = scored("logits", 2.0, "kept")
    assert torch.equal(scored("logits", 2.0, "kept").found.scores, first.found.scores)
    for name, scale in (("again", 2.0), ("logits", 3.0)):
        with pytest.raises(ValueError, match="holds an evaluation with adapted"):
            scored(name, scale, "kept")
    target = {"target": SoftmaxScore(1), "target_layer": "network.body"}
    scored("logits", 2.0, "explained", **target)
    with pytest.raises(ValueError, match="holds an evaluation with adapted"):
        scored("logits", 3.0, "explained", **target)


def test_other_evaluations_have_the_identity_that_they_had(network, images):
    expected = [
        "weights", "methods", "metrics", "target_layer", "channels", "protocol", "split", "data", "images", "content",
        "batch_size", "panels", "camtrain",
    ]  # fmt: skip
    for each in (network, AdaptedNetwork(network)):
        assert list(camtrain.evaluate(each, [images], "grad_cam", **HOW).identity) == expected
