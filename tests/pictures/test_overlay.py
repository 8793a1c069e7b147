"""A map in color over its image: the colors, the weights, batches, and what is refused."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import ListedColormap

from camtrain.pictures import overlay


def test_a_map_is_hot_where_it_is_large_and_shows_the_image_through():
    image = torch.zeros(3, 1, 3)
    image[:, 0, 2] = 1.0
    shown = overlay(image, torch.tensor([[0.0, 1.0, 1.0]]))
    red, _, blue = shown[:, 0, 1]
    assert red > 2 * blue
    torch.testing.assert_close(shown[:, 0, 2] - shown[:, 0, 1], torch.full((3,), 0.5))


def test_hand_values():
    black_to_red = ListedColormap([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    image = torch.tensor([0.9, 0.6, 0.3]).view(3, 1, 1).expand(3, 1, 2)
    cam = torch.tensor([[0.0, 1.0]])
    gray = overlay(image, cam, black_to_red, opacity=0.25)  # the mean of the channels is 0.6
    torch.testing.assert_close(gray[:, 0], torch.tensor([[0.45, 0.70], [0.45, 0.45], [0.45, 0.45]]))
    colored = overlay(image, cam, black_to_red, opacity=0.25, gray=False)
    torch.testing.assert_close(colored[:, 0], torch.tensor([[0.675, 0.925], [0.45, 0.45], [0.225, 0.225]]))


@pytest.mark.parametrize("name", ["turbo", "viridis", "jet_r"])
def test_colors_are_those_of_matplotlib(name):
    image, cam = torch.rand(3, 4, 5), torch.rand(4, 5)
    colors = matplotlib.colormaps[name](cam.numpy())[..., :3]
    np.testing.assert_allclose(overlay(image, cam, name, 1.0).permute(1, 2, 0), colors, atol=1e-7)
    assert torch.equal(overlay(image, cam, matplotlib.colormaps[name]), overlay(image, cam, name))
    assert torch.equal(overlay(image, cam, name, 0.0, gray=False), image)


def test_a_batch_is_its_images_one_by_one():
    images, cams = torch.rand(2, 3, 4, 5), torch.rand(2, 4, 5)
    shown = overlay(images, cams, "magma", 0.4)
    assert shown.shape == images.shape
    for number in range(2):
        assert torch.equal(shown[number], overlay(images[number], cams[number], "magma", 0.4))
    assert overlay(images[:0], cams[:0]).shape == (0, 3, 4, 5)


def test_graph_precision_and_rounding():
    image, cam = torch.rand(3, 2, 2, requires_grad=True), torch.rand(2, 2, requires_grad=True)
    assert not overlay(image, cam).requires_grad
    assert overlay(image.bfloat16(), cam.half()).dtype == torch.float32
    assert overlay(image.double(), cam).dtype == torch.float64
    # What interpolation leaves above 1 is no error, and does not leave [0, 1].
    assert overlay(torch.ones(3, 2, 2), torch.full((2, 2), 1 + 1e-6), opacity=0.1).max() <= 1


IMAGE, CAM = torch.zeros(3, 4, 5), torch.zeros(4, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"colormap": "virids"}, "`colormap`: none is called 'virids'; did you mean 'viridis'"),
        ({"opacity": 1.5}, "`opacity`: expected a number from 0 to 1, got 1.5"),
        ({"opacity": float("nan")}, "`opacity`: expected a number from 0 to 1, got nan"),
        ({"image": IMAGE + torch.nan}, "`image`: expected values from 0 to 1, got NaN"),
        ({"cam": CAM + torch.nan}, "`cam`: expected values from 0 to 1, got NaN"),
        (
            {"image": IMAGE[:2]},
            r"`image`: expected \(3, H, W\) or \(N, 3, H, W\), got \(2, 4, 5\); `camtrain.pictures.shown_colors` picks",
        ),
        ({"image": IMAGE[0]}, r"`image`: expected .* got \(4, 5\)"),
        ({"cam": CAM[:2]}, r"`cam`: .*size of the image, \(4, 5\), got \(2, 5\); `camtrain.image_maps` makes"),
        ({"cam": CAM[None]}, r"`cam`: .* \(4, 5\), got \(1, 4, 5\)"),
        ({"image": IMAGE[None]}, r"`cam`: .* \(1, 4, 5\), got \(4, 5\)"),
        ({"image": IMAGE - 2}, "`image`: expected values from 0 to 1, got -2 to -2; undo the normalization"),
        ({"cam": CAM + 1.25}, "`cam`: expected values from 0 to 1, got 1.25 to 1.25; use the maps of"),
    ],
)
def test_wrong_values(arguments, message):
    with pytest.raises(ValueError, match=message):
        overlay(**({"image": IMAGE, "cam": CAM} | arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"colormap": 3}, "`colormap`: expected a name or a matplotlib Colormap, got int"),
        ({"opacity": "half"}, "`opacity`: expected a number from 0 to 1, got 'half'"),
        ({"image": IMAGE.numpy()}, "`image`: expected a tensor, got ndarray"),
        ({"image": IMAGE.to(torch.uint8)}, "`image`: expected floating-point values from 0 to 1, got torch.uint8"),
        ({"cam": CAM.bool()}, "`cam`: expected floating-point values from 0 to 1, got torch.bool"),
    ],
)
def test_wrong_types(arguments, message):
    with pytest.raises(TypeError, match=message):
        overlay(**({"image": IMAGE, "cam": CAM} | arguments))
