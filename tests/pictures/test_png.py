"""Pictures as files."""

from __future__ import annotations

import numpy as np
from PIL import Image

from camtrain.pictures import write_png


def test_png_is_exact_when_small_and_coarser_when_large(tmp_path):
    small = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    write_png(small, tmp_path / "new" / "small.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "small.png")), small)
    large = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    write_png(large, tmp_path / "large.png", largest_file=500_000)
    assert (tmp_path / "large.png").stat().st_size < 500_000
    difference = np.abs(np.asarray(Image.open(tmp_path / "large.png")).astype(int) - large)
    assert 4 <= difference.max() <= 8


def test_png_without_a_limit_is_exact(tmp_path):
    large = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    write_png(large, tmp_path / "large.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "large.png")), large)
