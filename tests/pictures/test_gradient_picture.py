"""What a gradient looks like."""

from __future__ import annotations

import numpy as np
import torch

from camtrain.pictures import gradient_picture


def test_a_gradient_is_shown_by_its_largest_channel_white_at_the_99th_percentile():
    gradient = torch.zeros(3, 10, 20)
    gradient[0] = torch.arange(200).reshape(10, 20) / 100
    gradient[1] = -2 * gradient[0]
    shown = gradient_picture(gradient)
    white = np.percentile(np.arange(200) / 50, 99)
    np.testing.assert_allclose(shown[2].numpy(), np.minimum(np.arange(200).reshape(10, 20) / 50 / white, 1), rtol=1e-5)
    assert torch.equal(shown[0], shown[2])


def test_sparse_and_dead_gradients():
    sparse = torch.zeros(3, 20, 20)
    sparse[1, 3, 4] = -1e-20
    assert gradient_picture(sparse)[0, 3, 4] == 1
    assert gradient_picture(sparse).sum() == 3
    assert not gradient_picture(torch.zeros(3, 4, 4)).any()
