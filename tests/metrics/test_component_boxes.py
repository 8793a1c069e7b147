from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import find_objects, label

from camtrain.cams import normalize, resize
from camtrain.metrics.component_boxes import component_boxes


def labeled(pixels):
    """The same by labeling every level by itself: (level, x0, y0, x1, y1, area), sorted."""
    found = []
    for level in range(1, 256):
        numbers, _ = label(pixels >= level, structure=np.ones((3, 3)))
        for number, (rows, columns) in enumerate(find_objects(numbers), start=1):
            found.append((level, columns.start, rows.start, columns.stop, rows.stop, int((numbers == number).sum())))
    return sorted(found)


def smooth(seed, cells=5, size=(40, 33)):
    generator = torch.Generator().manual_seed(seed)
    cam = normalize(resize(torch.rand(1, cells, cells, generator=generator), size))[0]
    return (cam * 255).floor().to(torch.uint8).numpy()


def noise(seed, levels, size=(17, 14)):
    return np.random.default_rng(seed).integers(0, levels, size, dtype=np.uint8)


RING = np.zeros((9, 9), dtype=np.uint8)
RING[1:8, 1:8], RING[2:7, 2:7], RING[4, 4] = 200, 3, 90
CHECKERS = (np.indices((6, 6)).sum(axis=0) % 2 * 77).astype(np.uint8)

MAPS = {
    **{f"smooth {seed}": smooth(seed) for seed in range(6)},
    **{f"noise of {levels}": noise(levels, levels) for levels in (2, 3, 8, 256)},
    "ring around a point": RING,
    "connected at corners only": CHECKERS,
    "one column": smooth(7, size=(30, 1)),
    "one row": smooth(8, size=(1, 30)),
    "one pixel": np.array([[7]], dtype=np.uint8),
    "plateau": np.full((4, 5), 255, dtype=np.uint8),
    "zeros": np.zeros((4, 5), dtype=np.uint8),
    "stairs": np.arange(25, dtype=np.uint8).reshape(5, 5) // 5,
}


@pytest.mark.parametrize("name", MAPS)
def test_components_are_those_of_every_level_labeled_by_itself(name):
    found = component_boxes(MAPS[name])
    rows = zip(found.levels.tolist(), *found.boxes.T.tolist(), found.areas.tolist(), strict=True)
    assert sorted(rows) == labeled(MAPS[name])
