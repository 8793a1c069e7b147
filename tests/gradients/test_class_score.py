from __future__ import annotations

import pytest
import torch

from camtrain.gradients import class_score

LOGITS = [[1.0, 2.0, 0.0], [4.0, 3.0, 5.0]]


@pytest.mark.parametrize(
    ("class_idx", "expected"),
    [
        (None, [2.0, 5.0]),
        (0, [1.0, 4.0]),
        (torch.tensor(1), [2.0, 3.0]),
        (torch.tensor([2, 0]), [0.0, 4.0]),
        (torch.tensor([2, 0], dtype=torch.int32), [0.0, 4.0]),
    ],
)
def test_is_the_logit_of_the_class(class_idx, expected):
    assert class_score(torch.tensor(LOGITS), class_idx).tolist() == expected


def test_stays_in_the_graph():
    logits = torch.tensor(LOGITS, requires_grad=True)
    class_score(logits).sum().backward()
    assert logits.grad.tolist() == [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("class_idx", "message"),
    [
        (3, "expected classes from 0 to 2, got 3"),
        (torch.tensor([0, -1]), "expected classes from 0 to 2, got -1"),
        (torch.tensor([0, 1, 2]), "one for each of 2 images"),
        (0.5, "expected integers"),
        (torch.tensor([True, False]), "expected integers"),
    ],
)
def test_bad_classes(class_idx, message):
    with pytest.raises(ValueError, match=f"`class_idx`: .*{message}"):
        class_score(torch.tensor(LOGITS), class_idx)
