from __future__ import annotations

import torch

from camtrain.metrics.tight_box import tight_box


def test_box_equals_a_loop_over_pixels():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        mask = torch.rand(7, 9, generator=generator) > 0.9
        pixels = [(x, y) for y in range(7) for x in range(9) if mask[y, x]]
        expected = []
        if pixels:
            xs, ys = zip(*pixels, strict=True)
            expected = [[min(xs), min(ys), max(xs) + 1, max(ys) + 1]]
        assert tight_box(mask).tolist() == expected


def test_one_pixel_has_an_area_of_one():
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[2, 3] = True
    assert tight_box(mask).tolist() == [[3.0, 2.0, 4.0, 3.0]]


def test_no_pixel_has_no_box():
    box = tight_box(torch.zeros(5, 5, dtype=torch.bool))
    assert box.shape == (0, 4)
    assert box.dtype == torch.float32
