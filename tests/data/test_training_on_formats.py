"""An epoch on a small tree in each format, with boxes in the penalty; what is logged and printed is right."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from camtrain import Classifier
from camtrain.callbacks import DataSummary, LocalizationScores
from camtrain.data import COCO, CUB, VOC, ImageFolderData, Waterbirds
from camtrain.regularizers import EnergyInside
from tests.data.fake_data import make_image_folder
from tests.data.object_trees import make_coco, make_cub, make_voc, make_waterbirds
from tests.data.test_folder_boxes import write_yolo


def small_network(classes):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, classes),
    )  # fmt: skip


def trained(folder, data, network=None, callbacks=(), **settings):
    """An epoch and a test; returns what was logged."""
    classifier = Classifier(
        network or small_network(data.num_classes),
        data.num_classes,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        **settings,
    )
    trainer = pl.Trainer(
        default_root_dir=folder, max_epochs=1, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, logger=False, callbacks=[*callbacks], num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(classifier, datamodule=data)
    logged = dict(trainer.callback_metrics)
    trainer.test(classifier, datamodule=data, verbose=False)
    return {key: float(value) for key, value in (logged | dict(trainer.callback_metrics)).items()}


def voc(root, labels):
    make_voc(root, {"train": 12, "val": 4})
    return VOC(str(root), classes=["bird", "cat", "dog"], labels=labels, image_size=24, val_fraction=0.25, batch_size=4)


def coco(root, labels):
    make_coco(root, {"train2017": 12, "val2017": 4})
    return COCO(str(root), labels=labels, image_size=24, val_fraction=0.25, batch_size=4)


def cub(root, labels):
    make_cub(root)
    return CUB(str(root), image_size=24, val_fraction=0.25, batch_size=4)


def yolo(root, labels):
    make_image_folder(root, images_per_class=2)
    write_yolo(root)
    return ImageFolderData(str(root / "images"), 24, boxes_yolo=str(root / "labels"), batch_size=4)


@pytest.mark.parametrize(
    ("make", "labels"),
    [(voc, "largest"), (voc, "multi"), (coco, "largest"), (coco, "multi"), (cub, "largest"), (yolo, "largest")],
)
def test_an_epoch_with_boxes(tmp_path, make, labels):
    data = make(tmp_path, labels)
    settings = {"classification_loss": "binary_cross_entropy"} if labels == "multi" else {}
    if labels == "largest":  # which class a map of an image with several labels explains is not said here
        settings |= {"regularizer": EnergyInside(), "regularizer_weight": 0.1}
    scores = [LocalizationScores()] if labels == "largest" else []
    logged = trained(tmp_path, data, callbacks=scores, **settings)
    assert all(0 < logged[f"{stage}/loss"] < 5 for stage in ("train", "val", "test"))
    if labels == "largest":
        assert logged["train/regularizer_counted/energy_inside"] == 1
        assert 0 < logged["test/energy_pointing_game/uniform"] < 1


class Bright(nn.Module):
    """Says class 1 where the mean of an image is above a threshold; its one parameter does nothing."""

    def __init__(self, threshold):
        super().__init__()
        self.threshold = threshold
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        above = images.mean((1, 2, 3)) - self.threshold + 0 * self.nothing
        return torch.stack([-above, above], dim=1)


def test_the_accuracy_of_each_group_and_of_the_worst(tmp_path):
    make_waterbirds(tmp_path, per_group=4)
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    data = Waterbirds(str(tmp_path), image_size=40, batch_size=3, eval_transform=[], train_transform=[], **plain)
    # Birds of class 1 are larger, thus brighter; one of those before place 0 is blackened.
    samples = data.samples("val")
    files = [file.path for file in samples.files if file.group == 2]
    files[1].write_bytes(files[1].parent.parent.joinpath("0", "1_0_0.png").read_bytes())
    means = torch.stack([sample["image"].float().mean() / 255 for sample in samples])
    threshold = float((means[:8].max() + means[8:].max()) / 2)
    logged = trained(tmp_path, data, Bright(threshold))
    found = {key: value for key, value in logged.items() if key.startswith("val/accuracy_per_group")}
    assert found == {
        "val/accuracy_per_group/0, place 0": 1.0,
        "val/accuracy_per_group/0, place 1": 1.0,
        "val/accuracy_per_group/1, place 0": 0.75,
        "val/accuracy_per_group/1, place 1": 1.0,
    }
    assert logged["val/accuracy_worst_group"] == 0.75
    assert logged["test/accuracy_worst_group"] == 1.0
    assert logged["val/accuracy"] == pytest.approx(15 / 16)


def test_a_training_begins_with_a_summary_of_its_data(tmp_path, capsys):
    make_image_folder(tmp_path, images_per_class=4)
    for path in (tmp_path / "images" / "val" / "square").iterdir():
        path.unlink()
    (tmp_path / "images" / "val" / "square").rmdir()
    for number in range(2):
        (tmp_path / "masks" / "train" / "circle" / f"{number}.png").unlink()
    data = ImageFolderData(
        str(tmp_path / "images"), 24, masks_root=str(tmp_path / "masks"), batch_size=4, annotated_fraction=0.5
    )
    with pytest.warns(UserWarning, match="4 of 22 masks"):
        trained(tmp_path, data, callbacks=[DataSummary()])
    told = capsys.readouterr().out
    annotated = sum(bool(len(sample["boxes"])) for sample in data.data_set("train"))
    assert told == (
        f"""
split    images    classes    boxes    images with boxes    images with masks
-------  --------  ---------  -------  -------------------  -------------------
train    8         2 of 2     {annotated}        {annotated}                    {annotated}
val      4         1 of 2     4        4                    4
val has no image of 'square'


split    images    classes    boxes    images with boxes    images with masks
-------  --------  ---------  -------  -------------------  -------------------
test     8         2 of 2     8        8                    8

"""
    )


def test_a_data_module_of_somebody_else_has_no_summary(tmp_path, capsys):
    class Pairs(pl.LightningDataModule):
        num_classes = 2

        def train_dataloader(self):
            return DataLoader(TensorDataset(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 0, 1])), batch_size=4)

        val_dataloader = test_dataloader = train_dataloader

    logged = trained(tmp_path, Pairs(), callbacks=[DataSummary()])
    assert capsys.readouterr().out == ""
    assert "val/accuracy_worst_group" not in logged
