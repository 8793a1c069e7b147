"""Probabilities of competing classes, of independent ones, and of a single logit."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from camtrain.probabilities import (
    class_probabilities,
    log_odds,
    log_probabilities,
    total_log_probability,
    with_both_classes,
)

LABELS = torch.tensor([0, 4, 2, 2, 1, 3])


def logits_of(num_classes=5):
    return torch.randn(6, num_classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("independent", [False, True])
def test_log_probabilities_and_odds_are_those_of_the_probabilities(independent):
    logits = logits_of()
    p = class_probabilities(logits, independent=independent)
    torch.testing.assert_close(p, logits.sigmoid() if independent else logits.softmax(dim=1))
    of_label = p.gather(1, LABELS[:, None])[:, 0]
    torch.testing.assert_close(log_probabilities(logits, LABELS, independent=independent), of_label.log())
    odds = log_odds(logits, LABELS, independent=independent)
    torch.testing.assert_close(odds, (of_label / (1 - of_label)).log())
    torch.testing.assert_close(F.softplus(odds), -(1 - of_label).log())
    total = p.log() + (1 - p).log() if independent else p.log()
    torch.testing.assert_close(total_log_probability(logits, independent=independent), total.sum(dim=1))


@pytest.mark.parametrize("independent", [False, True])
def test_a_single_logit_has_the_probabilities_of_yes_and_no(independent):
    logits, labels = logits_of(1), LABELS % 2
    p = logits.sigmoid()
    both = torch.cat([1 - p, p], dim=1)
    torch.testing.assert_close(class_probabilities(logits, independent=independent), both)
    of_label = both.gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(log_probabilities(logits, labels, independent=independent), of_label.log())
    torch.testing.assert_close(
        log_odds(logits, labels, independent=independent), torch.where(labels == 1, logits[:, 0], -logits[:, 0])
    )
    torch.testing.assert_close(total_log_probability(logits, independent=independent), both.log().sum(dim=1))
    assert with_both_classes(logits_of()).shape == (6, 5)


def test_log_odds_are_finite_where_the_probability_rounds_to_one():
    logits = torch.tensor([[200.0, 0.0, 1.0], [-90.0, 0.0, 1.0]], requires_grad=True)
    assert logits.softmax(1)[0, 0] == 1
    values = F.softplus(log_odds(logits, torch.tensor([0, 0])))
    values.sum().backward()
    others = math.log(1 + math.e)
    torch.testing.assert_close(values[0].item(), 200 - others, rtol=1e-6, atol=0)
    torch.testing.assert_close(values[1].item(), math.exp(-90 - others), rtol=1e-5, atol=0)
    assert logits.grad[0, 0].item() == pytest.approx(1)
    assert logits.grad[0, 1:].tolist() == pytest.approx([-1 / (1 + math.e), -math.e / (1 + math.e)])
