"""Which images of a data module are evaluated, and whether two of its splits are the same images."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from camtrain.data import ImageFolderData
from camtrain.evaluation import NoImagesError, validates_on_test_images
from camtrain.evaluation.image_source import image_source


class Splits:
    """A data module of one image per number."""

    def __init__(self, validation: list[float], test: list[float]) -> None:
        self.values = {"val": validation, "test": test}

    def prepare_data(self):
        """Nothing to prepare."""

    def setup(self, stage):
        """Nothing to set up."""

    def val_dataloader(self):
        return self._loader("val")

    def test_dataloader(self):
        return self._loader("test")

    def _loader(self, split):
        values = torch.tensor(self.values[split])
        return DataLoader(TensorDataset(values.view(-1, 1, 1, 1).expand(-1, 3, 2, 2), torch.zeros(len(values)).long()))


def test_images_of_another_split_are_told_apart():
    numbers = [float(number) for number in range(9)]
    assert validates_on_test_images(Splits(numbers, numbers))
    assert not validates_on_test_images(Splits(numbers, numbers[:8]))
    assert not validates_on_test_images(Splits(numbers, [10 + number for number in numbers]))
    with pytest.raises(NoImagesError, match="there are no val images"):
        validates_on_test_images(Splits([], numbers))


@pytest.mark.parametrize("has_test", [True, False])
def test_a_tree_of_folders_without_test_images(has_test, tmp_path):
    shade = 0
    for split in ("train", "val", *["test"] * has_test):
        for name in ("cat", "dog"):
            for index in range(2):
                shade += 20
                path = tmp_path / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (shade,) * 3).save(path)
    data = ImageFolderData(str(tmp_path), image_size=8, batch_size=2, num_workers=0)
    if has_test:
        assert not validates_on_test_images(data)
    else:
        with pytest.warns(UserWarning, match="the validation images are the test images too"):
            assert validates_on_test_images(data)


def test_parts_are_read_as_the_settings_say():
    numbers = [float(number) for number in range(6)]
    given = image_source(Splits(numbers, numbers), "test", None, 2)
    assert [part.indices for part in given.parts()] == [[0, 1], [2, 3], [4, 5]]
    spread = image_source(Splits(numbers, numbers), "test", None, 2, "spread")
    assert sorted(index for part in spread.parts() for index in part.indices) == list(range(6))
    assert [part.indices for part in spread.parts()] == [[0, 3], [1, 4], [2, 5]]
