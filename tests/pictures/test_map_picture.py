"""What a map looks like."""

from __future__ import annotations

import torch

from camtrain.pictures import map_picture


def test_a_map_is_hot_where_it_is_large_and_shows_the_image_through():
    picture = torch.zeros(3, 1, 3)
    picture[:, 0, 2] = 1.0
    shown = map_picture(picture, torch.tensor([[0.0, 1.0, 1.0]]))
    red, _, blue = shown[:, 0, 1]
    assert red > 2 * blue
    torch.testing.assert_close(shown[:, 0, 2] - shown[:, 0, 1], torch.full((3,), 0.5))
