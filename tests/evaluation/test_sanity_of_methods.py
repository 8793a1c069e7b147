"""What the sanity scores are for: they tell methods that look at the class and the weights from those that do not."""

from __future__ import annotations

import pytest
import torch

from camtrain.batch import Batch
from camtrain.evaluation import EvaluationSettings, Evaluator
from camtrain.methods import method_named
from camtrain.networks import CIFARResNet


@pytest.fixture(scope="module")
def scores():
    """Of a network that has learned a little: which of three colors a square has."""
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, num_classes=3, width=8)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)

    def batch(count):
        labels, images = torch.randint(3, (count,)), 0.5 * torch.randn(count, 3, 16, 16)
        for image, label, (x, y) in zip(images, labels, torch.randint(0, 9, (count, 2)).tolist(), strict=True):
            image[label, y : y + 7, x : x + 7] += 2
        return images, labels

    for _ in range(40):
        images, labels = batch(32)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    names = ["grad_cam", "guided_backprop", "input_gradient", "eigen_cam"]
    methods = {name: method_named(name, network, "layer2") for name in names}
    evaluator = Evaluator(network, methods, ["sanity"], EvaluationSettings(num_stages=3))
    rows = evaluator(Batch(*batch(24))).rows
    return {cell: float(evaluator.metric(cell[1]).value(each.sum(dim=0))) for cell, each in rows.items()}


def test_guided_backpropagation_hardly_depends_on_the_class(scores):
    assert scores["guided_backprop", "class_sensitivity"] < 0.5 * scores["grad_cam", "class_sensitivity"]


def test_eigen_cam_does_not_depend_on_it_at_all(scores):
    assert scores["eigen_cam", "class_sensitivity"] == pytest.approx(0, abs=1e-6)


def test_maps_depend_on_the_weights(scores):
    assert scores["input_gradient", "parameter_randomization"] > 0.3
    assert scores["grad_cam", "parameter_randomization"] > 0.3
