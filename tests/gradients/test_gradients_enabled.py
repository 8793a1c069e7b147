from __future__ import annotations

import pytest
import torch

from camtrain.gradients import gradients_enabled


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_autograd_works_inside_and_the_mode_comes_back(context):
    weight = torch.ones(2, requires_grad=True)
    with context():
        with gradients_enabled():
            found = torch.autograd.grad((weight**3).sum(), weight)[0]
        assert not torch.is_grad_enabled()
        assert torch.is_inference_mode_enabled() == (context is torch.inference_mode)
    assert found.tolist() == [3.0, 3.0]


def test_the_mode_comes_back_after_an_error():
    with torch.inference_mode():
        with pytest.raises(RuntimeError, match="inside"), gradients_enabled():
            raise RuntimeError("inside")
        assert torch.is_inference_mode_enabled()
