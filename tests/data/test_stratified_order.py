from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from camtrain.data.stratified_order import stratified_order

LABELS = [2] * 40 + [0] * 20 + [1] * 20


@pytest.mark.parametrize("seed", range(5))
def test_every_beginning_has_the_share_of_every_class(seed):
    order = stratified_order(LABELS, seed)
    assert sorted(order) == list(range(80))
    for count in range(81):
        classes = Counter(LABELS[index] for index in order[:count])
        for label, size in Counter(LABELS).items():
            assert abs(classes[label] - count * size / 80) < 1.5
    assert Counter(LABELS[index] for index in order[:20]) == {2: 10, 0: 5, 1: 5}  # a quarter of each, exactly


def test_seed_decides():
    assert stratified_order(LABELS, 1) == stratified_order(LABELS, 1)
    assert stratified_order(LABELS, 1) != stratified_order(LABELS, 2)


def test_each_image_of_a_class_is_as_likely_to_be_first():
    firsts = Counter(next(i for i in stratified_order(LABELS, seed) if LABELS[i] == 1) for seed in range(2000))
    assert set(firsts) == set(range(60, 80))
    assert 60 < min(firsts.values()) <= max(firsts.values()) < 140  # 100 ± 4 standard deviations


def test_rare_classes_come_in_at_random():
    labels = [0] * 100 + list(range(1, 101))  # a hundred classes of one image
    beginnings = [np.array(stratified_order(labels, seed)[:20]) for seed in range(100)]
    rare = np.mean([(beginning >= 100).sum() for beginning in beginnings])
    assert 8.5 < rare < 11.5  # ten, and not none until the middle
