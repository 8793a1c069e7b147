"""What is taken for logits."""

from __future__ import annotations

import pytest
import torch

from camtrain.checked_logits import checked_logits


def test_logits_pass_as_they_are():
    logits = torch.zeros(2, 3)
    assert checked_logits(logits) is logits
    assert checked_logits(logits, num_images=2) is logits


@pytest.mark.parametrize(
    ("output", "num_images", "message"),
    [
        (torch.zeros(3), None, r"expected \(N, K\) logits, got \(3,\)"),
        (torch.zeros(2, 3, 4, 4), 2, r"expected \(2, K\) logits, got \(2, 3, 4, 4\)"),
        (torch.zeros(2, 3), 4, r"expected \(4, K\) logits, got \(2, 3\)"),
        ((torch.zeros(2, 3), None), 2, r"expected \(2, K\) logits, got tuple"),
    ],
)
def test_other_outputs_are_refused(output, num_images, message):
    with pytest.raises(ValueError, match=f"`network`: {message}"):
        checked_logits(output, num_images)
