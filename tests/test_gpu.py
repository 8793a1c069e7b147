"""Steps on a GPU give the gradients of the CPU; without a GPU, `test_far_device` checks what can be checked."""

from __future__ import annotations

import pytest
import torch

from camtrain.gradients import DoubleBackprop, FrozenGates
from tests.regularizers.test_all_regularizers import WITH_OTHER_IMAGES
from tests.test_far_device import ALL, step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
# Their draws differ from device to device.
RANDOM = {"saliency_guided", "map_consistency", "map_consistency_contrastive"} | {
    name for name in ALL if name.startswith(("map_faithfulness", "expected_gradients_prior", "right_for_better", "sum"))
}


@pytest.mark.parametrize("engine", [DoubleBackprop, FrozenGates])
@pytest.mark.parametrize("name", sorted(set(ALL) - RANDOM - WITH_OTHER_IMAGES))
def test_the_gradients_are_those_of_the_cpu(name, engine):
    expected = step(ALL[name], engine, "cpu", "boxes", False, training=False)
    found = step(ALL[name], engine, "cuda", "boxes", False, training=False)
    for each, of_cpu in zip(found, expected, strict=True):
        torch.testing.assert_close(each, of_cpu, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_what_draws_random_numbers_is_finite(name):
    assert all(bool(each.isfinite().all()) for each in step(ALL[name], FrozenGates, "cuda", "boxes", False))
