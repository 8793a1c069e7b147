from __future__ import annotations

import pytest
import torch

from camtrain.gradients.scaled_gradients import scaled_gradients


def test_in_full_precision_they_are_those_of_autograd_bit_for_bit():
    for dtype in (torch.float32, torch.float64):
        x, w, unused = (torch.rand(3, dtype=dtype, requires_grad=True) for _ in range(3))
        loss = (x.exp() * w).sum()
        found = scaled_gradients(loss, [x, w, unused], x)
        assert torch.equal(found[0], x.exp() * w)
        assert torch.equal(found[1], x.exp())
        assert found[2] is None
        assert all(gradient is None or gradient.dtype == dtype for gradient in found)


def test_the_graph_is_kept_and_gradients_join_it_only_if_asked():
    x = torch.tensor(2.0, requires_grad=True)
    loss = x**3
    (detached,), (kept,) = scaled_gradients(loss, [x], x), scaled_gradients(loss, [x], x, create_graph=True)
    assert not detached.requires_grad
    assert torch.autograd.grad(kept, x)[0] == 12


@pytest.mark.parametrize("slope", [1e-4, 3.0])
def test_in_float16_small_gradients_survive_and_large_ones_stay_finite(slope):
    x = torch.ones(4, dtype=torch.float16, requires_grad=True)

    def chain(loss_scale):
        # Between the layers the gradient is slope², for 1e-4 below what float16 has.
        return ((x * slope) * slope).sum() * loss_scale

    (found,) = scaled_gradients(chain(1), [x], x)
    expected = float(torch.tensor(slope).half()) ** 2
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([expected] * 4, rel=2e-3)
    (plain,) = torch.autograd.grad(chain(1), x)
    assert (plain == 0).all() == (slope < 1)
    # 4096 times this overflows: the scale is lowered.
    (large,) = scaled_gradients(chain(64 if slope > 1 else 1), [x], x)
    assert torch.isfinite(large).all()
    assert large.tolist() == pytest.approx([expected * (64 if slope > 1 else 1)] * 4, rel=2e-3)


def test_what_is_infinite_without_a_scale_stays_so():
    x = torch.zeros(1, dtype=torch.float16, requires_grad=True)
    (found,) = scaled_gradients(x.sqrt().sum(), [x], x)
    assert found.isinf().all()


def test_under_float16_autocast_gradients_are_scaled():
    # The gradient of this product is 1e-8, and float16 holds no less than 6e-8.
    x = torch.ones(1, 1, requires_grad=True)
    with torch.autocast("cpu", torch.float16):
        loss = (x @ torch.full((1, 1), 1e-4) @ torch.full((1, 1), 1e-4)).float().sum()
        (found,) = scaled_gradients(loss, [x], x)
        (plain,) = torch.autograd.grad(loss, x)
    assert plain == 0
    assert found.item() == pytest.approx(1e-8, rel=0.01)


def test_bfloat16_needs_no_scale_but_comes_back_as_float32():
    x = torch.ones(2, dtype=torch.bfloat16, requires_grad=True)
    (found,) = scaled_gradients((x * 1e-20).sum(), [x], x)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([1e-20] * 2, rel=0.01)
