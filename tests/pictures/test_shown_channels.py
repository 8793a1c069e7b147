from __future__ import annotations

import pytest
import torch

from camtrain.pictures import check_shown_channels, denormalized, shown_colors

IMAGES = torch.arange(2 * 5, dtype=torch.float32).view(2, 5, 1, 1).expand(2, 5, 2, 3)


@pytest.mark.parametrize(
    ("count", "channels", "shown"),
    [
        (1, None, [0, 0, 0]),
        (2, None, [0, 0, 0]),
        (3, None, [0, 1, 2]),
        (4, None, [0, 1, 2]),
        (5, None, [0, 1, 2]),
        (5, [4, 0, 2], [4, 0, 2]),
        (5, (3,), [3, 3, 3]),
        (2, [1, 0, 0], [1, 0, 0]),
        (3, [1], [1, 1, 1]),
    ],
)
def test_channels_by_number(count, channels, shown):
    for images in (IMAGES[:, :count], IMAGES[0, :count]):
        found = shown_colors(images, channels)
        assert found.shape == (*images.shape[:-3], 3, 2, 3)
        torch.testing.assert_close(found, torch.stack([images[..., channel, :, :] for channel in shown], dim=-3))


@pytest.mark.parametrize("channels", [[5], [-1], [0, 1], [0, 1, 2, 3], [], [0.5], [True, False, True]])
def test_wrong_channels(channels):
    with pytest.raises((ValueError, TypeError), match="`shown_channels`: expected one or three numbers from 0 to 4"):
        check_shown_channels(channels, 5)


@pytest.mark.parametrize("channels", ["012", 1])
def test_what_is_no_list(channels):
    with pytest.raises(TypeError, match="`shown_channels`: expected one or three numbers from 0 to 4"):
        check_shown_channels(channels, 5)


class Data:
    shown_channels = (4,)

    def denormalize(self, images):
        return images / 10


class Painted(Data):
    def denormalize(self, images):
        return images[:, :3] / 10


def test_pictures_of_normalized_images():
    assert denormalized(IMAGES, Data())[:, :, 0, 0].tolist() == [[pytest.approx(0.4)] * 3, [pytest.approx(0.9)] * 3]
    # The data module of a user has made a picture already.
    torch.testing.assert_close(denormalized(IMAGES, Painted()), IMAGES[:, :3] / 10)
    # The range of an image is that of the channels that are shown.
    assert denormalized(IMAGES)[0, :, 0, 0].tolist() == [0, 0.5, 1]
