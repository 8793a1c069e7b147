"""What all regularizers have in common; values by hand are in each one's own file."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from camtrain import Objective
from camtrain.gradients import DoubleBackprop, FrozenGates
from camtrain.networks import CIFARResNet
from camtrain.regularizers import (
    AttentionMining,
    CAMRegularizer,
    EnergyInside,
    ExpectedGradientsPrior,
    GradientNorm,
    GradientSmoothness,
    InterpretableGradient,
    MapBCE,
    MapConsistency,
    MapDistillation,
    MapFaithfulness,
    MapL1,
    MapOutside,
    MapRanking,
    MapSmoothness,
    MapSparsity,
    RightForBetterReasons,
    RightForRightReasons,
    SaliencyGuided,
    SoftInsertionDeletion,
    Sum,
    Term,
)
from tests.regularizers.smooth_network import batch, smooth_network

LAYER = "4"


def teacher():
    torch.manual_seed(9)
    made = smooth_network()
    with torch.no_grad():
        made[3].weight.mul_(-1)
    return made


REGULARIZERS = {
    "energy_inside": lambda: EnergyInside(target_layer=LAYER),
    "energy_inside_of_layer_cam": lambda: EnergyInside("layer_cam", LAYER),
    "energy_inside_of_two_layers": lambda: EnergyInside("grad_cam", ["1", LAYER]),
    "energy_inside_of_eigen_cam": lambda: EnergyInside("eigen_cam", LAYER),
    "energy_inside_of_the_gradient": lambda: EnergyInside("input_gradient"),
    "energy_inside_of_gradient_times_input": lambda: EnergyInside("input_x_gradient"),
    "map_l1": lambda: MapL1(target_layer=LAYER),
    "map_bce": lambda: MapBCE(target_layer=LAYER),
    "map_bce_outside": lambda: MapBCE(target_layer=LAYER, outside=True),
    "map_outside": lambda: MapOutside("hi_res_cam", LAYER),
    # Few regions, so that no finite difference crosses the kink of a pair.
    "map_ranking": lambda: MapRanking(target_layer=LAYER, grid=3),
    "map_ranking_of_the_gradient": lambda: MapRanking("input_gradient", grid=3),
    "map_smoothness": lambda: MapSmoothness(target_layer=LAYER),
    "map_sparsity": lambda: MapSparsity(target_layer=LAYER),
    "attention_mining": lambda: AttentionMining(target_layer=LAYER, threshold=0.9),
    "attention_mining_with_masks": lambda: AttentionMining(target_layer=LAYER, mask_weight=10, threshold=0.9),
    "saliency_guided": SaliencyGuided,
    "map_consistency": lambda: MapConsistency(target_layer=LAYER),
    "map_consistency_contrastive": lambda: MapConsistency(target_layer=LAYER, contrastive=True),
    "map_distillation": lambda: MapDistillation(teacher(), target_layer=LAYER, teacher_layer=LAYER),
    "map_distillation_of_activations": lambda: MapDistillation(
        teacher(), method="activations", target_layer=LAYER, teacher_layer=LAYER
    ),
    "map_faithfulness": lambda: MapFaithfulness(target_layer=LAYER),
    "map_faithfulness_through_the_map": lambda: MapFaithfulness(target_layer=LAYER, swapped=0.0, differentiable=True),
    "soft_insertion_deletion": lambda: SoftInsertionDeletion(target_layer=LAYER),
    "soft_insertion_deletion_complement": lambda: SoftInsertionDeletion(
        "layer_cam", LAYER, num_thresholds=2, background="blurred", deletion="complement"
    ),
    "right_for_better_reasons": RightForBetterReasons,
    "right_for_right_reasons": RightForRightReasons,
    "right_for_right_reasons_of_the_loss": lambda: RightForRightReasons("loss"),
    "expected_gradients_prior": ExpectedGradientsPrior,
    "expected_gradients_prior_outside": lambda: ExpectedGradientsPrior("outside", num_samples=2),
    "gradient_norm": GradientNorm,
    "gradient_smoothness": GradientSmoothness,
    "sum": lambda: Sum(
        [
            Term(GradientNorm(), 0.3),
            Term(RightForRightReasons(), 0.02),
            Term(EnergyInside(target_layer=LAYER), 0.5),
            Term(MapL1("hi_res_cam", "1"), 2.0),
            Term(MapFaithfulness("layer_cam", LAYER, swapped=0.0, differentiable=True), 0.1),
        ]
    ),
}
# Their maps change with the parameters and are constants for the gradient.
WITH_CONSTANT_MAPS = {"map_faithfulness"}
# The penalty of an image depends on which others are in the batch.
WITH_OTHER_IMAGES = {"expected_gradients_prior_outside"}
NEEDY = [name for name, make in REGULARIZERS.items() if make().needs_annotation]


def loss_at(regularizer, network, images, labels, masks):
    torch.manual_seed(5)
    return Objective(regularizer, 0.7).measure(network, images, labels, masks=masks).loss.double()


@pytest.mark.parametrize("engine", [DoubleBackprop, FrozenGates])
@pytest.mark.parametrize("name", [name for name in REGULARIZERS if name not in WITH_CONSTANT_MAPS])
def test_the_gradient_is_that_of_finite_differences(name, engine, monkeypatch):
    # Values are kept as float32; a finite difference needs more of them.
    monkeypatch.setattr(
        torch.Tensor, "float", lambda tensor: tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    )
    network, (images, labels, masks) = smooth_network(), batch()
    regularizer = REGULARIZERS[name]()
    objective = Objective(regularizer, 0.7, engine())
    torch.manual_seed(5)
    objective(network, images, labels, masks=masks).loss.backward()
    torch.manual_seed(3)
    directions = [torch.randn_like(parameter) for parameter in network.parameters()]
    found = sum((p.grad * d).sum() for p, d in zip(network.parameters(), directions, strict=True))
    step = 1e-5
    losses = []
    for sign in (1, -1):
        moved = copy.deepcopy(network)
        with torch.no_grad():
            for parameter, direction in zip(moved.parameters(), directions, strict=True):
                parameter += sign * step * direction
        losses.append(loss_at(regularizer, moved, images, labels, masks))
    expected = (losses[0] - losses[1]) / (2 * step)
    torch.manual_seed(5)
    network.zero_grad()
    Objective()(network, images, labels).loss.backward()
    plain = sum((p.grad * d).sum() for p, d in zip(network.parameters(), directions, strict=True))
    assert abs(found - plain) > 1e-5, "the regularizer says something"
    torch.testing.assert_close(found - plain, expected - plain, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_measure_gives_the_values_of_a_step(name):
    network, (images, labels, masks) = smooth_network(), batch()
    objective = Objective(REGULARIZERS[name](), 0.7)
    torch.manual_seed(5)
    step = objective(network, images, labels, masks=masks)
    torch.manual_seed(5)
    with torch.inference_mode():
        # What a test loop's batch holds was made under inference mode too.
        measured = objective.measure(network, images.clone(), labels.clone(), masks=masks.clone())
    torch.testing.assert_close(step.regularization, measured.regularization)
    torch.testing.assert_close(step.loss.detach().float(), measured.loss.float())
    assert {each: int(term.counted) for each, term in step.terms.items()} == {
        each: int(term.counted) for each, term in measured.terms.items()
    }


@pytest.mark.parametrize("name", [name for name in NEEDY if name not in WITH_OTHER_IMAGES])
def test_images_without_annotation_do_not_count(name):
    network, (images, labels, masks) = smooth_network(), batch()
    step = Objective(REGULARIZERS[name](), 0.7)(network, images, labels, masks=masks)
    assert all(int(term.counted) == 3 for term in step.terms.values())
    of_three = Objective(REGULARIZERS[name](), 0.7)(network, images[:3], labels[:3], masks=masks[:3])
    torch.testing.assert_close(step.regularization, of_three.regularization)


@pytest.mark.parametrize("name", NEEDY)
def test_a_batch_without_annotation_is_a_plain_step(name):
    network, (images, labels, masks) = smooth_network(), batch()
    objective = Objective(REGULARIZERS[name](), 0.7)
    step = objective(network, images, labels, masks=torch.zeros_like(masks), boxes=[torch.zeros(0, 4)] * 4)
    assert not step.regularized
    torch.testing.assert_close(step.loss.detach().float(), step.classification)
    (record,) = objective.records.values()
    assert (int(record.seen), int(record.counted)) == (4, 0)
    with pytest.raises(ValueError, match="`boxes` or `masks`"):
        objective(network, images, labels)
    assert int(objective.measure(network, images, labels).terms[next(iter(objective.terms))].counted) == 0


@pytest.mark.parametrize("name", [name for name in REGULARIZERS if "gradient" not in name and "reasons" not in name])
def test_a_dead_layer_has_finite_gradients_and_the_penalty_of_a_flat_map(name):
    """Its maps are zero everywhere. A penalty of maps is then 1; one that makes masks of its map has none."""
    network, (images, labels, masks) = smooth_network(), batch()
    dead = nn.Sequential(*network[:5], nn.Threshold(1e9, 0.0), *network[5:])
    regularizer = REGULARIZERS[name]()
    for each in regularizer.modules():
        if isinstance(each, CAMRegularizer) and each.target_layer is not None:
            each.target_layer = "5"
    objective = Objective(regularizer, 0.7, DoubleBackprop())
    step = objective(dead, images, labels, masks=masks)
    step.loss.backward()
    assert torch.isfinite(step.loss)
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in dead.parameters())
    for each, term in step.terms.items():
        of_term = objective.terms[each].regularizer
        if isinstance(of_term, CAMRegularizer) and of_term.revives_flat_maps:
            annotated = 3 if of_term.needs_annotation else 4
            assert (int(term.counted), int(term.flat), float(term.value)) == (annotated, annotated, 1.0)
        elif isinstance(of_term, CAMRegularizer):
            assert (int(term.counted), float(term.value)) == (0, 0.0)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_nothing_is_left_behind(name):
    """One forward pass's running statistics, and no gradient, hook, mode or buffer else."""
    network, (images, labels, masks) = smooth_network().insert(1, nn.BatchNorm2d(4).double()), batch()
    regularizer = REGULARIZERS[name]()
    for each in regularizer.modules():
        if isinstance(each, CAMRegularizer) and each.target_layer is not None:
            each.target_layer = "5"
    twin = copy.deepcopy(network)
    twin(images)
    Objective(regularizer, 0.7, DoubleBackprop())(network, images, labels, masks=masks)
    for (key, value), expected in zip(network.state_dict().items(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(value, expected, msg=key)
    assert all(not module._forward_hooks and module.training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert images.grad is None
    assert not images.requires_grad


@pytest.mark.parametrize("engine", [DoubleBackprop, FrozenGates])
def test_terms_of_all_kinds_add_up(engine):
    """The gradient of a sum is the sum of gradients, on a network with gates and BatchNorm."""
    torch.manual_seed(0)
    network, images = CIFARResNet(depth=8, num_classes=3).double(), torch.randn(4, 3, 16, 16).double()
    _, labels, _ = batch()
    masks = torch.zeros(4, 16, 16, dtype=torch.bool)
    masks[1:, 4:9, 5:12] = True
    terms = [
        Term(InterpretableGradient(), 0.5),
        Term(GradientNorm(), 0.1),
        Term(RightForRightReasons(), 0.01),
        Term(EnergyInside(target_layer="layer2"), 0.3),
        Term(EnergyInside("input_gradient"), 0.2),
    ]

    def gradients(regularizer, weight):
        objective = Objective(regularizer, weight, engine())
        network.zero_grad()
        objective(network, images, labels, masks=masks).loss.backward()
        return torch.cat([parameter.grad.flatten().clone() for parameter in network.parameters()])

    plain = gradients(None, 0)
    expected = sum(gradients(term.regularizer, term.weight) - plain for term in terms)
    torch.testing.assert_close(gradients(Sum(terms), 1.0) - plain, expected, rtol=1e-4, atol=1e-6)


def test_a_sum_takes_one_more_forward_pass():
    passes, network, (images, labels, masks) = [], smooth_network(), batch()
    terms = [Term(GradientNorm()), Term(GradientSmoothness()), Term(EnergyInside(target_layer=LAYER)),
             Term(MapL1(target_layer=LAYER)), Term(MapOutside("layer_cam", "1"))]  # fmt: skip
    objective = Objective(Sum(terms), 0.1, FrozenGates())
    objective(network, images, labels, masks=masks)  # the first step looks at the network
    network.register_forward_hook(lambda *_: passes.append(1))
    objective(network, images, labels, masks=masks)
    assert len(passes) == 2


def test_maps_alone_take_no_other_pass():
    passes, network, (images, labels, masks) = [], smooth_network(), batch()
    objective = Objective(EnergyInside(), 0.1)
    objective(network, images, labels, masks=masks)  # finds the layer
    network.register_forward_hook(lambda *_: passes.append(1))
    objective(network, images, labels, masks=masks)
    assert len(passes) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda kind: EnergyInside(target_layer=LAYER, annotation=kind),
        lambda kind: EnergyInside("input_gradient", annotation=kind),
        lambda kind: RightForBetterReasons(annotation=kind),
        lambda kind: RightForRightReasons(annotation=kind),
        lambda kind: AttentionMining(target_layer=LAYER, annotation=kind, mask_weight=1),
    ],
)
def test_the_annotation_that_is_asked_for_must_be_there(make):
    """One of the other kind would leave the regularizer idle without a word."""
    network, (images, labels, masks) = smooth_network(), batch()
    boxes = [torch.tensor([[1.0, 2.0, 5.0, 6.0]])] * 4
    with pytest.raises(ValueError, match=r"`boxes`: .* needs to know where the object is, got none"):
        Objective(make("boxes"), 1.0)(network, images, labels, masks=masks)
    with pytest.raises(ValueError, match=r"`masks`: .* needs to know where the object is, got none"):
        Objective(make("masks"), 1.0)(network, images, labels, boxes=boxes)
    assert Objective(make("boxes"), 1.0)(network, images, labels, boxes=boxes).regularized


def test_defaults_that_the_documentation_and_the_league_rely_on():
    ours = MapFaithfulness()
    assert (ours.swapped, ours.soft_masks, ours.blurred_backgrounds, ours.sharpness) == (0.5, 0.5, 0.5, 30)
    assert (ours.sufficiency_fractions, ours.necessity_fractions) == ((0.1, 0.9), (0.1, 0.6))
    assert (ours.sufficiency_target, ours.differentiable) == ("label", False)
    kinds = {
        MapFaithfulness: 0.5,
        SoftInsertionDeletion: 0.01,
        RightForRightReasons: 1000.0,
        InterpretableGradient: 0.0075,
    }
    assert {kind: Objective(kind()).weight for kind in kinds} == kinds
    assert (SaliencyGuided().share, AttentionMining().threshold, MapConsistency().smallest_crop) == (0.5, 0.5, 0.7)
