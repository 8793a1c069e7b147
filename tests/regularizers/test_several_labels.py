"""Regularizers where images show several classes, or where the network has a single logit."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, kl_divergence

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, FrozenGates, class_score
from camtrain.objective.batch_terms import drawn_classes
from camtrain.regularizers import (
    AttentionMining,
    EnergyInside,
    ExpectedGradientsPrior,
    GradientNorm,
    MapFaithfulness,
    MapL1,
    MapSparsity,
    RightForBetterReasons,
    RightForRightReasons,
    SaliencyGuided,
    SoftInsertionDeletion,
)
from camtrain.regularizers.saliency_guided import _divergence
from tests.regularizers.smooth_network import batch, smooth_network

LAYER = "4"
SHOWN = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0]])
SEVERAL = {"classification_loss": "binary_cross_entropy"}


def measured(regularizer, images, labels, masks, **settings):
    torch.manual_seed(0)
    return Objective(regularizer, 1.0, **SEVERAL, **settings).measure(smooth_network(), images, labels, masks=masks)


def whole_batch():
    images, _, masks = batch()
    masks[3] = masks[0].roll(2, dims=1)
    return images, masks


@pytest.mark.parametrize("make", [EnergyInside, MapL1], ids=["energy_inside", "map_l1"])
def test_every_label_is_the_mean_over_the_classes_that_an_image_shows(make):
    images, masks = whole_batch()

    def of_class(image, label):
        regularizer = make(target_layer=LAYER)
        one = slice(image, image + 1)
        return measured(regularizer, images[one], torch.tensor([label]), masks[one]).regularization.item()

    by_image = [[of_class(image, label) for label in SHOWN[image].nonzero().flatten().tolist()] for image in range(3)]
    assert len(set(by_image[2])) == 3
    step = measured(make(target_layer=LAYER, class_of="every_label"), images, SHOWN, masks)
    (term,) = step.terms.values()
    assert int(term.counted) == 3  # the last image shows no class
    means = [sum(each) / len(each) for each in by_image]
    assert step.regularization.item() == pytest.approx(sum(means) / 3, rel=1e-5)


def test_the_gradient_of_every_label_is_the_mean_of_those_of_its_classes():
    images, masks = whole_batch()
    images, masks = images[:1], masks[:1]

    def gradients(labels, class_of="label", weight=1.0):
        network = smooth_network()
        regularizer = EnergyInside(target_layer=LAYER, class_of=class_of)
        Objective(regularizer, weight, **SEVERAL)(network, images, labels, masks=masks).loss.backward()
        return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])

    found = gradients(SHOWN[:1], "every_label") - gradients(SHOWN[:1], weight=0.0)
    each = [gradients(torch.tensor([k])) - gradients(torch.tensor([k]), weight=0.0) for k in (0, 2)]
    assert found.norm() > 1e-3
    torch.testing.assert_close(found, (each[0] + each[1]) / 2, rtol=1e-4, atol=1e-6)


def test_with_one_label_every_label_is_the_label():
    images, labels, masks = batch()
    one, every = (
        measured(EnergyInside(target_layer=LAYER, class_of=class_of), images, labels, masks).regularization
        for class_of in ("label", "every_label")
    )
    assert torch.equal(one, every)


def test_flat_maps_of_a_class_are_said():
    """A network whose second logit falls with every activation has a flat map for it."""
    network, (images, _, masks) = smooth_network(), batch()
    with torch.no_grad():
        network[6].weight[1] *= -1
    labels = torch.tensor([[1.0, 1, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]])
    masks[3] = masks[0]
    regularizer = EnergyInside(target_layer=LAYER, class_of="every_label")
    (term,) = Objective(regularizer, 1.0, **SEVERAL).measure(network, images, labels, masks=masks).terms.values()
    assert int(term.flat) == 2
    assert int(term.counted) == 3


def test_a_class_is_drawn_evenly_among_those_that_an_image_shows():
    torch.manual_seed(0)
    drawn = torch.stack([drawn_classes(SHOWN >= 0.5) for _ in range(600)])
    assert [sorted(set(drawn[:, image].tolist())) for image in range(4)] == [[0, 2], [1], [0, 1, 2], [0]]
    assert torch.bincount(drawn[:, 0], minlength=3).tolist() == pytest.approx([300, 0, 300], abs=40)
    assert torch.bincount(drawn[:, 2], minlength=3).tolist() == pytest.approx([200, 200, 200], abs=40)


@pytest.mark.parametrize("engine", [DoubleBackprop, FrozenGates])
@pytest.mark.parametrize(
    "make",
    [
        lambda: EnergyInside(target_layer=LAYER),
        lambda: EnergyInside("input_gradient"),
        lambda: MapSparsity(target_layer=LAYER),
        lambda: SaliencyGuided(),
        lambda: AttentionMining(target_layer=LAYER),
        lambda: SoftInsertionDeletion(target_layer=LAYER),
        lambda: MapFaithfulness(target_layer=LAYER),
        lambda: ExpectedGradientsPrior(),
    ],
    ids=["energy", "gradient_energy", "sparsity", "guided", "mining", "insertion", "faithfulness", "prior"],
)
def test_an_image_that_shows_no_class_does_not_count(make, engine):
    images, masks = whole_batch()
    network, objective = smooth_network(), Objective(make(), 1.0, engine(), **SEVERAL)
    step = objective(network, images, SHOWN, masks=masks)
    (term,) = step.terms.values()
    assert int(term.counted) == 3
    step.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    none = objective.measure(network, images, torch.zeros_like(SHOWN), masks=masks)
    assert int(next(iter(none.terms.values())).counted) == 0
    assert none.regularization.item() == 0


@pytest.mark.parametrize(
    "make",
    [
        GradientNorm,
        RightForRightReasons,
        RightForBetterReasons,
        lambda: EnergyInside(target_layer=LAYER, class_of="random"),
    ],
)
def test_a_penalty_that_is_about_no_class_of_the_image_counts_all(make):
    images, masks = whole_batch()
    step = Objective(make(), 1.0, **SEVERAL).measure(smooth_network(), images, SHOWN, masks=masks)
    assert int(next(iter(step.terms.values())).counted) == 4


def test_right_for_right_reasons_adds_up_both_outcomes_of_each_class():
    images, masks = whole_batch()
    leaf = images.clone().requires_grad_()
    p = smooth_network()(leaf).sigmoid()
    (gradients,) = torch.autograd.grad((p.log() + (1 - p).log()).sum(), leaf)
    expected = gradients.masked_fill(masks.unsqueeze(1), 0).square().flatten(1).sum(dim=1).mean()
    found = measured(RightForRightReasons(), images, SHOWN, masks).regularization
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=0)


def test_the_divergence_of_independent_classes_is_that_of_coins():
    first, second = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = kl_divergence(Bernoulli(logits=first), Bernoulli(logits=second)).sum(dim=1)
    torch.testing.assert_close(_divergence(first, second, independent=True), expected)


class OneLogit(nn.Module):
    """The smooth network with a single logit, or with the two that it stands for."""

    def __init__(self, both):
        super().__init__()
        self.body = smooth_network()[:6]
        torch.manual_seed(3)
        weight = torch.randn(1, 80).double()
        self.head = nn.Linear(80, 2 if both else 1).double()
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([-weight / 2, weight / 2]) if both else weight)
            self.head.bias.zero_()

    def forward(self, images):
        return self.head(self.body(images))


@pytest.mark.parametrize("column", [False, True], ids=["indices", "column"])
@pytest.mark.parametrize(
    "make",
    [
        GradientNorm,
        RightForRightReasons,
        RightForBetterReasons,
        SaliencyGuided,
        lambda: EnergyInside(target_layer="body.4"),
        lambda: EnergyInside(target_layer="body.4", class_of="random"),
        lambda: AttentionMining(target_layer="body.4"),
        lambda: SoftInsertionDeletion(target_layer="body.4", deletion="complement"),
        lambda: MapFaithfulness(target_layer="body.4"),
        lambda: MapFaithfulness(target_layer="body.4", sufficiency_target="prediction"),
    ],
    ids=["norm", "reasons", "better", "guided", "energy", "random", "mining", "insertion", "faithful", "prediction"],
)
def test_a_single_logit_trains_as_the_two_that_it_stands_for(make, column):
    images, masks = whole_batch()
    labels = torch.tensor([1, 0, 1, 0])
    found = {}
    for both in (False, True):
        network = OneLogit(both)
        given = labels.double().unsqueeze(1) if column and not both else labels
        objective = Objective(make(), 1.0, classification_loss="cross_entropy" if both else "binary_cross_entropy")
        torch.manual_seed(5)
        step = objective(network, images, given, masks=masks)
        step.loss.backward()
        gradients = [parameter.grad.flatten() for parameter in network.body.parameters()]
        found[both] = step.classification, step.regularization, torch.cat(gradients)
    if make is RightForBetterReasons:  # whose sum over the parameters is another for another head
        torch.testing.assert_close(found[False][0], found[True][0])
        assert found[False][1] > 0
        return
    for one, two in zip(found[False], found[True], strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_the_map_of_no_is_that_of_the_evidence_against_yes():
    network, (images, masks) = OneLogit(both=False), whole_batch()
    regularizer = EnergyInside(target_layer="body.4")
    no = Objective(regularizer, 1.0, **SEVERAL).measure(network, images, torch.zeros(4).long(), masks=masks)
    with torch.no_grad():
        network.head.weight.neg_()
    yes = Objective(regularizer, 1.0, **SEVERAL).measure(network, images, torch.ones(4).long(), masks=masks)
    torch.testing.assert_close(no.regularization, yes.regularization)
    assert class_score(network(images), 0).shape == (4,)


def test_the_input_gradient_has_one_class():
    with pytest.raises(ValueError, match="`class_of`: expected label for the input gradient, got every_label"):
        EnergyInside("input_gradient", class_of="every_label")


# Each class has a probability of its own: that of a softmax over the classes would be another one.


def first_class(*settings_of_network, regularizer):
    """L_R of images that show class 0 alone, for networks with one head each."""
    images, masks = whole_batch()
    labels = torch.tensor([1.0, 0, 0]).expand(4, 3)
    found = []
    for change in settings_of_network:
        network = smooth_network()
        with torch.no_grad():
            change(network[6])
        torch.manual_seed(0)
        found.append(
            Objective(regularizer, 1.0, **SEVERAL).measure(network, images, labels, masks=masks).regularization
        )
    return found


def others_doubled(head):
    head.weight[1:] *= 2


@pytest.mark.parametrize(
    "make", [AttentionMining, MapFaithfulness, SoftInsertionDeletion], ids=["mining", "faithfulness", "insertion"]
)
def test_what_is_said_of_another_class_makes_no_difference(make):
    one, other = first_class(lambda _head: None, others_doubled, regularizer=make(target_layer=LAYER))
    assert one.item() != 0
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SaliencyGuided(),
        lambda: MapFaithfulness(target_layer=LAYER, necessity_weight=0.0, sufficiency_target="prediction"),
    ],
    ids=["guided", "faithfulness"],
)
def test_classes_of_which_the_same_is_said_count_one_by_one(make, monkeypatch):
    """Three times as much as a network with one logit; a softmax over equal logits says a third of each class."""
    # Nothing is drawn for the class, so that both draw the same for the rest.
    monkeypatch.setattr("camtrain.objective.batch_terms.drawn_classes", lambda shown: shown.int().argmax(dim=1))
    images, _ = whole_batch()
    network, single = smooth_network(), smooth_network()
    with torch.no_grad():
        network[6].weight.copy_(network[6].weight[:1] / 20)
        network[6].bias.fill_(0.1)
        single[6] = nn.Linear(5 * 16, 1).double()
        single[6].weight.copy_(network[6].weight[:1])
        single[6].bias.fill_(0.1)
    found = []
    for each, labels in ((network, torch.tensor([1.0, 0, 0]).expand(4, 3)), (single, torch.ones(4, 1))):
        torch.manual_seed(0)
        found.append(Objective(make(), 1.0, **SEVERAL).measure(each, images, labels).regularization)
    torch.testing.assert_close(found[0], 3 * found[1], rtol=1e-5, atol=0)


def test_better_reasons_of_classes_of_which_the_same_is_said():
    """The gradient of the log-probabilities of a softmax over equal logits is 0."""
    (found,) = first_class(lambda head: head.weight.copy_(head.weight[:1].clone()), regularizer=RightForBetterReasons())
    assert found.item() > 1e-6
