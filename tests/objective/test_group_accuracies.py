from __future__ import annotations

import pytest
import torch

from camtrain.objective.group_accuracies import GroupAccuracies


def test_batches_add_up():
    accuracies = GroupAccuracies(["a", "b", "c"])
    accuracies.add(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0]), torch.tensor([0, 0, 2]))
    accuracies.add(torch.tensor([1, 1, 0]), torch.tensor([1, 1, 1]), torch.tensor([0, 0, 2]))
    assert accuracies.values() == {
        "accuracy_per_group/a": 0.75,
        "accuracy_per_group/c": 0.5,
        "accuracy_worst_group": 0.5,
    }


def test_no_images_have_no_worst_group():
    assert GroupAccuracies(["a"]).values() == {}
    assert GroupAccuracies([]).values() == {}


@pytest.mark.parametrize("group", [-1, 2])
def test_a_group_without_a_name_is_an_error(group):
    with pytest.raises(ValueError, match=f"`groups`: expected 0 to 1, the groups that the data module .* got {group}"):
        GroupAccuracies(["a", "b"]).add(torch.tensor([0]), torch.tensor([0]), torch.tensor([group]))
