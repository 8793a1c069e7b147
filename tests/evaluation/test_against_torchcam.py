"""Drop, increase, deletion and insertion are torch-cam's on the same maps."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric

from camtrain.batch import Batch
from camtrain.blurred import blurred
from camtrain.evaluation import EvaluationSettings, Evaluator
from camtrain.methods import method_named, normalized_maps
from camtrain.networks import CIFARResNet

STEPS = 8


class OurMaps:
    """In the place of an extractor of torch-cam, which would take the gradient of the probability, and normalize a map
    before it is resized."""

    def __init__(self, network, images):
        self.model, self.images = network, images

    def __call__(self, class_idx, scores):
        return [normalized_maps(method_named("grad_cam", self.model, "layer2"), self.images, torch.tensor(class_idx))]

    def fuse_cams(self, cams):
        return cams[0]

    def _hooks_off(self):
        return nullcontext()


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, num_classes=4, width=4)
    network(torch.randn(16, 3, 16, 16))
    with torch.no_grad():
        network.fc.weight *= 8  # sure enough that scores move
    return network.eval()


@pytest.mark.usefixtures("double_by_default")
def test_scores_are_those_of_torch_cam(network):
    images = torch.randn(6, 3, 16, 16)
    grad_cam = method_named("grad_cam", network, "layer2")
    settings = EvaluationSettings(num_steps=STEPS)
    evaluator = Evaluator(network, {"grad_cam": grad_cam}, ["faithfulness"], settings)
    rows = evaluator(Batch(images)).rows
    ours = {name: float(evaluator.metric(name).value(each.sum(dim=0))) for (_, name), each in rows.items()}
    softmax = partial(torch.softmax, dim=-1)
    masked = ClassificationMetric(OurMaps(network, images), softmax)
    to_zeros = DeletionInsertionMetric(OurMaps(network, images), softmax, steps=STEPS)
    from_blur = DeletionInsertionMetric(OurMaps(network, images), softmax, steps=STEPS, baseline=blurred)
    for metric in (masked, to_zeros, from_blur):
        metric.update(images)
    # It adds 1e-7 to the probability that it divides by, some 0.5.
    assert ours["average_drop"] == pytest.approx(masked.summary()["avg_drop"], rel=1e-6)
    assert ours["average_increase"] == pytest.approx(masked.summary()["conf_increase"])
    assert ours["deletion_auc"] == pytest.approx(to_zeros.summary()["deletion_auc"], rel=1e-9)
    assert ours["insertion_auc"] == pytest.approx(from_blur.summary()["insertion_auc"], rel=1e-9)
    assert ours["average_drop"] > 0.01
