"""Hidden patches, by hand."""

from __future__ import annotations

import pytest
import torch
from torchvision import tv_tensors

from camtrain.data import HideAndSeek


def sample(height=30, width=50, dtype=torch.uint8):
    image = torch.full((3, height, width), 255 if dtype == torch.uint8 else 1, dtype=dtype)
    boxes = tv_tensors.BoundingBoxes([[2.0, 3.0, 9.0, 8.0]], format="XYXY", canvas_size=(height, width))
    mask = tv_tensors.Mask(torch.ones(height, width, dtype=torch.bool))
    return {"image": tv_tensors.Image(image), "label": 1, "boxes": boxes, "mask": mask, "ignored": ~mask}


def test_whole_patches_are_hidden_with_the_probability():
    torch.manual_seed(0)
    hide = HideAndSeek(patch_sizes=[8], probability=0.3, fill=(10, 20, 30))
    shares = []
    for _ in range(60):
        before = sample(40, 80)
        after = hide(before)
        patches = after["image"].as_subclass(torch.Tensor).unfold(1, 8, 8).unfold(2, 8, 8)
        assert bool((patches == patches[..., :1, :1]).all())
        colors = {tuple(color) for color in patches[..., 0, 0].flatten(1).T.tolist()}
        assert colors <= {(255, 255, 255), (10, 20, 30)}
        shares.append(float((patches[0, ..., 0, 0] == 10).float().mean()))
        assert bool((before["image"] == 255).all())
        for name in ("boxes", "mask", "ignored"):
            assert torch.equal(after[name], before[name])
    assert sum(shares) / 60 == pytest.approx(0.3, abs=0.03)
    assert len(set(shares)) > 5


def test_patches_at_the_border_are_cut():
    image = HideAndSeek([16], 1.0, fill=(1, 2, 3))(sample())["image"]
    assert image.shape == (3, 30, 50)
    assert bool((image == torch.tensor([1, 2, 3]).view(3, 1, 1)).all())


def test_sizes_are_drawn_and_zero_hides_nothing():
    torch.manual_seed(0)
    hide = HideAndSeek(patch_sizes=[0, 50], probability=1.0)
    hidden = [bool((hide(sample())["image"] != 255).all()) for _ in range(40)]
    assert 8 < sum(hidden) < 32


def test_images_in_floating_point():
    image = HideAndSeek([4], 1.0, fill=(51, 102, 255))(sample(dtype=torch.float32))["image"]
    assert image[:, 0, 0].tolist() == pytest.approx([0.2, 0.4, 1.0])


def test_images_of_four_channels():
    image = tv_tensors.Image(torch.zeros(4, 8, 8, dtype=torch.uint8))
    assert HideAndSeek([4], 1.0, fill=(1, 2, 3, 4))({"image": image})["image"][:, 0, 0].tolist() == [1, 2, 3, 4]
    assert HideAndSeek([4], 1.0, fill=(9,))({"image": image})["image"].unique().tolist() == [9]
    with pytest.raises(ValueError, match="`fill`: expected one number for each of the 4 channels of the image, got"):
        HideAndSeek([4])({"image": image})


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"patch_sizes": []}, "patch_sizes"),
        ({"patch_sizes": [-1]}, "patch_sizes"),
        ({"probability": 1.5}, "probability"),
        ({"fill": (0, 0, 300)}, "fill"),
        ({"fill": ()}, "fill"),
    ],
)
def test_bad_settings(settings, name):
    with pytest.raises(ValueError, match=f"`{name}`: expected"):
        HideAndSeek(**settings)


def test_no_image():
    with pytest.raises(ValueError, match="expected a sample with an image"):
        HideAndSeek()({"label": 1, "mask": tv_tensors.Mask(torch.ones(2, 2))})
