"""How far the second pass steps, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from camtrain.gradients.step_sizes import StepRule, one_step_size, step_size_of_each

RULE = {"weight": 0.01, "one_term_limit": 1e-3, "relative": 1e-4, "longest": 1e3, "largest_change": 5e-3}


def inputs(lengths, size=2.0, along=0.0, loss=1.0):
    """Images of norm `size`; u_i of the lengths times that; δ_i with ⟨u_i, δ_i⟩ = along."""
    count = len(lengths)
    images, directions, gradients = (torch.zeros(count, 3, 1, 2, dtype=torch.float64) for _ in range(3))
    images[:, 0, 0, 0] = size
    directions[:, 1, 0, 1] = size * torch.tensor(lengths, dtype=torch.float64)
    gradients[:, 1, 0, 1] = torch.where(directions[:, 1, 0, 1] > 0, along / directions[:, 1, 0, 1], 0.0)
    return images, directions, gradients, torch.tensor(loss, dtype=torch.float64)


def each(lengths, **settings):
    return step_size_of_each(StepRule(**RULE), *inputs(lengths, **settings))


def together(lengths, network=None, rule=RULE, **settings):
    return one_step_size(StepRule(**rule), *inputs(lengths, **settings), network or nn.Identity())


@pytest.fixture
def precisions():
    """What convolutions and products of matrices compute with on a GPU; put back afterwards."""
    conv, matmul = getattr(torch.backends.cudnn, "conv", None), torch.backends.cuda.matmul
    if conv is None:
        pytest.skip("torch before 2.9 has one flag for each")
    before = conv.fp32_precision, matmul.fp32_precision
    yield conv, matmul
    conv.fp32_precision, matmul.fp32_precision = before


@pytest.mark.parametrize(
    ("of_conv", "of_matmul", "coarse"), [("ieee", "ieee", False), ("tf32", "ieee", True), ("ieee", "tf32", True)]
)
def test_tensor_cores_are_coarse_however_they_are_switched_on(precisions, of_conv, of_matmul, coarse):
    conv, matmul = precisions
    conv.fp32_precision, matmul.fp32_precision = of_conv, of_matmul

    def step(device):
        images = SimpleNamespace(device=torch.device(device), dtype=torch.float32)
        return StepRule.of_precision(1.0, 1e-3, None, 1e3, images, {torch.float32}).relative

    assert step("cuda") == (1e-2 if coarse else 3e-4)
    assert step("cpu") == 3e-4


@pytest.mark.parametrize(("of_conv", "of_matmul"), [(False, False), (True, False), (False, True)])
def test_tensor_cores_are_coarse_in_earlier_versions_of_torch(of_conv, of_matmul, monkeypatch):
    monkeypatch.setattr(torch.backends, "cudnn", SimpleNamespace(allow_tf32=of_conv))
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(allow_tf32=of_matmul))
    images = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)
    rule = StepRule.of_precision(1.0, 1e-3, None, 1e3, images, {torch.float32})
    assert rule.relative == (1e-2 if of_conv or of_matmul else 3e-4)


def test_each_image_by_its_own_length():
    # λ ‖u‖/‖x‖ = 5e-4, 2e-3, 0
    steps = each([0.05, 0.2, 0.0])
    assert steps.two_terms.tolist() == [False, True, False]
    assert steps.sizes.tolist() == pytest.approx([0.01, 1e-4 / 0.2, 0.01])
    assert steps.relative == pytest.approx(5e-4)
    assert steps.floored == 0


def test_all_images_by_the_root_mean_square():
    # √((0.14² + 0.18²) / 2) = √0.026, and λ times that is more than 1e-3; an image without a penalty does not count.
    steps = together([0.14, 0.18, 0.0])
    assert steps.two_terms.tolist() == [True] * 3
    assert steps.sizes.tolist() == pytest.approx([1e-4 / 0.026**0.5] * 3)
    assert steps.relative == pytest.approx(1e-4)
    # √((0.06² + 0.12²) / 2) = 0.0949
    assert together([0.06, 0.12]).sizes.tolist() == [0.01] * 2


def test_the_longest_are_cut_where_all_have_one_step():
    steps = together([1.0, 4e3, 2e4])
    assert steps.floored == 2
    assert steps.directions.flatten(1).norm(dim=1).tolist() == pytest.approx([2.0, 2e3, 2e3])
    assert steps.sizes[0].item() == pytest.approx(1e-4 / ((1 + 2 * 1e6) / 3) ** 0.5)
    assert each([1.0, 4e3]).directions.flatten(1).norm(dim=1).tolist() == pytest.approx([2.0, 8e3])


@pytest.mark.parametrize("of", [each, together])
def test_a_step_that_changes_the_loss_is_shortened(of):
    # h ⟨u, δ⟩ / L_C = 5e-3
    steps = of([0.2, 0.2], along=3e3, loss=2.0)
    assert steps.sizes.tolist() == pytest.approx([5e-3 * 2.0 / 3e3] * 2)
    # One term: λ ⟨u, δ⟩ / L_C must not be more either.
    assert of([0.05, 0.05], along=0.9, loss=2.0).two_terms.tolist() == [False] * 2
    assert of([0.05, 0.05], along=1.1, loss=2.0).two_terms.tolist() == [True] * 2


@pytest.mark.parametrize("of", [each, together])
@pytest.mark.parametrize("loss", [0.0, 1e-300])
def test_a_step_is_not_shortened_to_nothing(of, loss):
    assert of([0.2, 0.2], along=1.0, loss=loss).sizes.tolist() == pytest.approx([1e-4 / 0.2 / 1e3] * 2)


@pytest.mark.parametrize("of", [each, together])
def test_nothing_to_step_along(of):
    for loss in (1.0, 0.0):
        steps = of([0.0, 0.0], loss=loss)
        assert torch.isfinite(steps.sizes).all()
        assert (steps.sizes > 0).all()
        assert steps.relative == 0


@pytest.mark.parametrize("of", [step_size_of_each, lambda *a: one_step_size(*a, nn.Identity())])
def test_a_weight_of_zero_needs_the_first_pass_alone(of):
    steps = of(StepRule(**{**RULE, "weight": 0.0}), *inputs([0.1]))
    assert steps.two_terms.tolist() == [True]
    assert steps.sizes.item() == pytest.approx(1e-3)
