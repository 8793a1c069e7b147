"""`strongest_pairs` against a search by hand, and where the picture has its lines."""

from __future__ import annotations

import pytest
import torch

from camtrain.cams.strongest_pairs import strongest_pairs, strongest_pairs_picture


def _symmetric(images: int, height: int, width: int) -> torch.Tensor:
    values = torch.rand(images, height * width, height * width, generator=torch.Generator().manual_seed(0))
    return (values + values.transpose(1, 2)).view(images, height, width, height, width)


def test_equals_a_search():
    pairs = _symmetric(2, 2, 3)
    for num_pairs, expected_count in ((4, 4), (15, 15), (100, 15)):
        found = strongest_pairs(pairs, num_pairs)
        assert found.first.shape == found.second.shape == (2, expected_count, 2)
        for n in range(2):
            positions = [(row, column) for row in range(2) for column in range(3)]
            ranked = sorted(
                ((float(pairs[n][one][other]), one, other) for one in positions for other in positions if one < other),
                reverse=True,
            )[:num_pairs]
            assert found.strengths[n].tolist() == [strength for strength, _, _ in ranked]
            assert [tuple(one) for one in found.first[n].tolist()] == [one for _, one, _ in ranked]
            assert [tuple(other) for other in found.second[n].tolist()] == [other for _, _, other in ranked]


def test_one_position_has_no_pair():
    found = strongest_pairs(torch.ones(2, 1, 1, 1, 1))
    assert found.first.shape == (2, 0, 2)
    assert strongest_pairs_picture(torch.zeros(3, 20, 30), torch.ones(1, 1, 1, 1)).max() == 0


def test_picture_has_the_lines_over_the_image():
    image, pairs = torch.zeros(3, 60, 80), torch.zeros(3, 4, 3, 4)
    pairs[0, 0, 0, 3] = pairs[0, 3, 0, 0] = 2.0  # from (10, 10) to (10, 70), row and column in pixels
    pairs[0, 0, 2, 0] = pairs[2, 0, 0, 0] = 1.0  # from (10, 10) to (50, 10)
    picture = strongest_pairs_picture(image, pairs, num_pairs=5, scale=4)
    assert picture.shape == (240, 320, 3)
    assert picture.dtype == "uint8"
    strong, weak = picture[40, 160], picture[120, 40]
    assert strong[0] > 200
    assert weak[0] > 200
    assert strong[1] < 20 < weak[1]  # red and orange
    drawn = torch.from_numpy(picture).amax(dim=2) > 0
    assert not drawn[60:, 60:].any()  # nothing away from the lines
    assert drawn[:, :160].sum() > 0
    alone = strongest_pairs_picture(image, pairs, num_pairs=1, scale=4)
    assert alone[40, 160].max() > 200
    assert alone[120, 40].max() == 0


@pytest.mark.parametrize("size", [(29, 58), (57, 113), (224, 224)])
@pytest.mark.parametrize("scale", [1, 3])
def test_nothing_to_draw_leaves_the_image(size, scale):
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    picture = torch.from_numpy(strongest_pairs_picture(image, torch.zeros(7, 7, 7, 7), scale=scale))
    assert picture.shape == (size[0] * scale, size[1] * scale, 3)
    expected = image.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2).movedim(0, -1)
    assert (picture / 255 - expected).abs().amax() < 1.01 / 255


def test_wrong_arguments():
    image = torch.zeros(3, 8, 8)
    with pytest.raises(ValueError, match=r"`pairs`: expected \(N, h, w, h, w\), got \(1, 2, 3, 3, 2\)"):
        strongest_pairs(torch.zeros(1, 2, 3, 3, 2))
    with pytest.raises(ValueError, match="`num_pairs`: expected a positive integer, got 0"):
        strongest_pairs(torch.zeros(1, 2, 2, 2, 2), 0)
    with pytest.raises(ValueError, match=r"`image`: expected \(3, H, W\), got \(1, 3, 8, 8\)"):
        strongest_pairs_picture(image.unsqueeze(0), torch.zeros(2, 2, 2, 2))
