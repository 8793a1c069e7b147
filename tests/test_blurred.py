from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from camtrain.blurred import blurred


def rise_blur(images, size=11, sigma=5):
    """RISE's gkern and the convolution with it."""
    dirac = np.zeros((size, size))
    dirac[size // 2, size // 2] = 1
    kernel = np.zeros((3, 3, size, size))
    for channel in range(3):
        kernel[channel, channel] = gaussian_filter(dirac, sigma)
    return nn.functional.conv2d(images, torch.from_numpy(kernel).to(images), padding=size // 2)


@pytest.mark.usefixtures("double_by_default")
def test_blur_is_that_of_rise():
    images = torch.randn(2, 3, 40, 33)
    torch.testing.assert_close(blurred(images), rise_blur(images), rtol=1e-9, atol=1e-12)
    assert blurred(torch.randn(1, 3, 4, 4)).shape == (1, 3, 4, 4)
    assert blurred(images.float()).dtype == torch.float32
