"""What `predictions.csv` says of each image."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from camtrain.callbacks import PredictionWriter
from camtrain.data import ImageFolderData


def predicted(trainer, module, data, folder: Path) -> list[dict[str, str]]:
    trainer.predict(module, data)
    with next(folder.rglob("predictions.csv")).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def files(tmp_path):
    """Five files of three classes."""
    for number, name in enumerate(("a", "a", "=b", "c", "c")):
        for split in ("train", "val", "test"):
            path = tmp_path / "images" / split / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (50 * number, 0, 0)).save(path)
    return ImageFolderData(str(tmp_path / "images"), image_size=16, batch_size=2)


def test_paths_and_names_of_classes_of_files(files, tiny_module, tiny_trainer, tmp_path):
    rows = predicted(tiny_trainer(PredictionWriter()), tiny_module(), files, tmp_path)
    expected = [("=b", 2), ("a", 0), ("a", 1), ("c", 3), ("c", 4)]
    assert [row["path"] for row in rows] == [str(files.root / "test" / name / f"{k}.png") for name, k in expected]
    assert [row["label"] for row in rows] == ["'=b", "a", "a", "c", "c"]
    assert [row["index"] for row in rows] == list("01234")
    for row in rows:
        of_classes = {name: float(row[f"probability_{name}"]) for name in ("=b", "a", "c")}
        assert row["predicted_class"].lstrip("'") == max(of_classes, key=of_classes.get)


def test_images_of_a_stream_are_numbered_as_they_come(tiny_module, tiny_trainer, tmp_path):
    """Lightning knows no indices of them."""

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(torch.rand(5, 3, 16, 16))

    loader = DataLoader(Stream(), batch_size=2)
    with pytest.warns(UserWarning, match="Couldn't infer the batch indices"):
        rows = predicted(tiny_trainer(PredictionWriter()), tiny_module(), loader, tmp_path)
    assert [row["index"] for row in rows] == list("01234")
    assert {row["path"] for row in rows} == {""}


def test_images_without_files_or_labels(tiny_module, tiny_trainer, tmp_path):
    """Two loaders, the second without labels; a second call begins anew."""
    images = torch.rand(3, 3, 16, 16)
    labeled = DataLoader(TensorDataset(images, torch.tensor([2, 0, 1])), batch_size=2)
    bare = DataLoader(images, batch_size=2)

    class OfSeveralLoaders(tiny_module):
        def predict_step(self, batch, batch_idx, dataloader_idx=0):
            return super().predict_step(batch, batch_idx)

    trainer, module = tiny_trainer(PredictionWriter()), OfSeveralLoaders()
    for _ in range(2):
        rows = predicted(trainer, module, [labeled, bare], tmp_path)
        assert [row["label"] for row in rows] == ["2", "0", "1", "", "", ""]
        assert {row["path"] for row in rows} == {""}
