from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from camtrain.data.image_file_samples import ImageFile, ImageFileSamples


@pytest.fixture
def files(tmp_path):
    """An image of 6x4 pixels, a mask for it with four pixels in rows 1 and 2, and a mask of another size."""
    Image.fromarray(np.full((4, 6, 3), 7, dtype=np.uint8)).save(tmp_path / "image.png")
    mask = np.zeros((4, 6), dtype=np.uint8)
    mask[1:3, 3:5] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask[:, :5]).save(tmp_path / "narrow.png")
    return tmp_path


def test_a_mask_gives_a_box_where_there_is_none(files):
    images = [
        ImageFile(files / "image.png", label=0, mask=files / "mask.png"),
        ImageFile(files / "image.png", label=1, boxes=((0, 0, 1, 1), (2, 2, 6, 4)), mask=files / "mask.png"),
        ImageFile(files / "image.png", label=2),
    ]
    samples = ImageFileSamples(images, has_boxes=True, has_masks=True)
    assert [sample["boxes"].tolist() for sample in samples] == [
        [[3.0, 1.0, 5.0, 3.0]],
        [[0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 6.0, 4.0]],
        [],
    ]
    assert [int(sample["mask"].sum()) for sample in samples] == [4, 4, 0]
    assert samples[2]["boxes"].shape == (0, 4)
    assert samples[2]["mask"].shape == (4, 6)
    assert all(sample["boxes"].dtype == torch.float32 for sample in samples)  # integers would be rounded by a resize


def test_nothing_is_known_where_the_data_set_has_nothing(files):
    assert sorted(ImageFileSamples([ImageFile(files / "image.png", 5)])[0]) == ["image", "label"]


def test_mask_of_another_size_names_both_files(files):
    samples = ImageFileSamples([ImageFile(files / "image.png", 0, mask=files / "narrow.png")], has_masks=True)
    with pytest.raises(ValueError, match=r"the mask .*narrow.png is 5x4 pixels .* its image .*image.png is 6x4"):
        samples[0]
