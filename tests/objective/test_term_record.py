from __future__ import annotations

import pytest
import torch

from camtrain import Objective
from camtrain.objective.term_record import TermRecord
from camtrain.regularizers import EnergyInside, InterpretableGradient, MapSparsity, Sum, Term
from camtrain.regularizers.regularizer import as_penalty
from tests.regularizers.smooth_network import batch, smooth_network


def gradient_of(objective, network, images, labels, masks):
    network.zero_grad()
    objective(network, images, labels, masks=masks).loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


def test_an_annotated_image_has_the_same_weight_whatever_else_its_batch_holds():
    """With the share known, the mean gradient of an epoch's batches is that of the mean over annotated images."""
    network, (images, labels, masks) = smooth_network(), batch()
    masks[1:] = False  # one of four
    objective = Objective(EnergyInside(target_layer="4"), 1.0)
    plain = Objective()
    record = objective.records["energy_inside"]
    record.seen, record.counted = torch.tensor(4_000_000), torch.tensor(1_000_000)
    parts = [slice(0, 2), slice(2, 4)]
    found = sum(
        gradient_of(objective, network, images[part], labels[part], masks[part])
        - gradient_of(plain, network, images[part], labels[part], None)
        for part in parts
    ) / len(parts)
    fresh = Objective(EnergyInside(target_layer="4"), 1.0)
    expected = gradient_of(fresh, network, images[:1], labels[:1], masks[:1])
    expected = expected - gradient_of(plain, network, images[:1], labels[:1], None)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)


def test_the_share_is_of_all_batches_so_far():
    network, (images, labels, masks) = smooth_network(), batch()
    objective = Objective(EnergyInside(target_layer="4"), 1.0)
    first = objective(network, images, labels, masks=masks).terms["energy_inside"].value
    objective(network, images, labels, masks=torch.zeros_like(masks))
    third = objective(network, images, labels, masks=masks).terms["energy_inside"].value
    # 3 of 4, then 6 of 12: the sum over annotated images is divided by 4 · 3/4, then by 4 · 1/2.
    torch.testing.assert_close(third, first * 1.5)


def test_where_all_images_count_nothing_is_changed():
    record = TermRecord()
    for count in (3, 5, 7):
        record.see(torch.ones(count, dtype=torch.bool))
    values = torch.rand(7)
    assert torch.equal(record.over_share(as_penalty(values)), values)


def test_balanced_terms_equal_the_classification_loss_at_the_start():
    network, (images, labels, masks) = smooth_network(), batch()
    both = Sum([Term(EnergyInside(target_layer="4"), 1.0), Term(MapSparsity("layer_cam", "4"), 0.5)])
    objective = Objective(both, 2.0, balance_steps=1)
    step = objective(network, images, labels, masks=masks)
    torch.testing.assert_close(step.loss.detach().float(), step.classification * (1 + 2 * (1 + 0.5)))
    energy = step.terms["energy_inside"]
    assert energy.scale == pytest.approx(float(step.classification / energy.value), rel=1e-5)
    with torch.no_grad():
        network[6].weight.mul_(3)
    again = objective(network, images, labels, masks=masks)
    assert again.terms["energy_inside"].scale == energy.scale, "the start is over"


def test_balancing_waits_for_the_first_annotated_batch_and_is_in_the_state_dict():
    network, (images, labels, masks) = smooth_network(), batch()
    objective = Objective(EnergyInside(target_layer="4"), 1.0, balance_steps=2)
    objective(network, images, labels, masks=torch.zeros_like(masks))
    assert objective.records["energy_inside"].scale == 1.0
    first = objective(network, images, labels, masks=masks)
    assert first.terms["energy_inside"].scale != 1.0
    with torch.no_grad():
        network[6].weight.mul_(2)
    second = objective(network, images, labels, masks=masks)
    expected = (first.classification + second.classification) / (
        first.classification / first.terms["energy_inside"].scale
        + objective.measure(network, images, labels, masks=masks).terms["energy_inside"].value
    )
    assert second.terms["energy_inside"].scale == pytest.approx(float(expected), rel=1e-5)
    other = Objective(EnergyInside(target_layer="4"), 1.0, balance_steps=2)
    other.load_state_dict(objective.state_dict())
    assert other.records["energy_inside"].scale == second.terms["energy_inside"].scale
    assert int(other.records["energy_inside"].seen) == 12


def test_bad_balancing():
    with pytest.raises(ValueError, match="`balance_steps`: expected an integer of at least 0, got -1"):
        Objective(InterpretableGradient(), 1.0, balance_steps=-1)
