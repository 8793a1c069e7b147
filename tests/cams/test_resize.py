"""`resize` against hand values and a loop over pixels."""

from __future__ import annotations

import pytest
import torch

from camtrain.cams import resize


def test_hand_values():
    expected = torch.tensor([0.0, 1.0, 3.0, 4.0])  # centers at -1/4, 1/4, 3/4, 5/4 of the two pixels 0 and 4
    rows = torch.tensor([[[0.0, 4.0]]])
    assert torch.equal(resize(rows, (1, 4)), expected.view(1, 1, 4))
    assert torch.equal(resize(rows.transpose(1, 2), (4, 1)), expected.view(1, 4, 1))
    assert torch.equal(resize(rows, (2, 4)), expected.expand(1, 2, 4))


@pytest.mark.parametrize("size", [(8, 6), (7, 10), (2, 2), (4, 3), (1, 1)])
def test_equals_bilinear_interpolation_in_loops(size):
    cams = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.stack(
        [torch.stack([_at(cams, i, j, size) for j in range(size[1])], dim=-1) for i in range(size[0])], dim=-2
    )
    torch.testing.assert_close(resize(cams, size), expected, rtol=1e-12, atol=1e-12)


def _at(cams: torch.Tensor, i: int, j: int, size: tuple[int, int]) -> torch.Tensor:
    """Value at pixel (i, j) of the resized maps, for each map."""
    row, down = _neighbors(i, size[0], cams.shape[1])
    column, right = _neighbors(j, size[1], cams.shape[2])
    above = (1 - right) * cams[:, row[0], column[0]] + right * cams[:, row[0], column[1]]
    below = (1 - right) * cams[:, row[1], column[0]] + right * cams[:, row[1], column[1]]
    return (1 - down) * above + down * below


def _neighbors(position: int, length: int, source_length: int) -> tuple[tuple[int, int], float]:
    """The two source pixels whose centers are around the center of a target pixel, and how near the second is."""
    center = min(max((position + 0.5) * source_length / length - 0.5, 0.0), source_length - 1.0)
    first = int(center)
    return (first, min(first + 1, source_length - 1)), center - first


def test_own_size_changes_nothing():
    cams = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resize(cams, (4, 5)), cams)


def test_gradcheck():
    cams = torch.randn(2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda maps: resize(maps, (5, 7)), cams)
