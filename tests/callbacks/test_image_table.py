"""The table of validation images in W&B: its rows are those of an evaluation of the same images."""

from __future__ import annotations

import json

import pytest
import wandb

from camtrain.batch import evenly_spaced
from camtrain.callbacks import ImageTable
from camtrain.evaluation import EvaluationSettings, evaluate


def test_its_rows_are_those_of_an_evaluation(tiny_module, tiny_data, tiny_trainer, offline_run, monkeypatch):
    logger, finished_run = offline_run
    logged = []

    class Table(wandb.Table):
        def __init__(self, **content):
            super().__init__(**content)
            logged.append(content["data"])

    monkeypatch.setattr(wandb, "Table", Table)
    module, data = tiny_module(), tiny_data()
    trainer = tiny_trainer(ImageTable(num_images=5), logger=logger, max_epochs=1)
    trainer.fit(module, data)
    folder, run = finished_run()
    (row,) = [row for row in run.history if "val/images" in row]
    table = json.loads((folder / "files" / row["val/images"]["path"]).read_text())
    assert table["columns"] == [
        "image and Grad-CAM", "file", "true class", "predicted class", "probability, %", "right", "drop, %",
        "average gain, %", "deletion, %", "energy, %", "IoU at 25 %, %",
    ]  # fmt: skip

    pictures = [cells[0] for cells in logged[0]]
    assert [picture.format for picture in pictures] == ["png"] * 5
    assert all(picture._boxes["ground_truth"] for picture in pictures)

    samples = data.val_dataloader().dataset
    chosen = evenly_spaced(len(samples), 5)
    assert [cells[1] for cells in table["data"]] == [f"image {index}" for index in chosen]
    assert [cells[2] for cells in table["data"]] == [data.class_names[samples[index]["label"]] for index in chosen]
    names = "average_drop,average_gain,deletion_auc,energy_pointing_game,localization_iou_25"
    options = {"num_images": 5, "settings": EvaluationSettings(annotation="any"), "num_resamples": 2}
    found = evaluate(module.network, data.val_dataloader(), "grad_cam", names, progress=False, **options)
    columns = [
        found.evaluator.metric(name).image_scores(found.found.rows["grad_cam", name]).tolist()
        for name in names.split(",")
    ]
    for number, cells in enumerate(table["data"]):
        assert cells[5] == (cells[2] == cells[3])
        assert cells[4] == pytest.approx(100 * float(found.found.scores[number]), abs=1e-3)
        assert cells[6:] == pytest.approx([100 * values[number] for values in columns], abs=1e-3)


def test_without_wandb_there_is_none(tiny_module, tiny_data, tiny_trainer, monkeypatch):
    table = ImageTable()
    monkeypatch.setattr(table, "_table", lambda *_: pytest.fail("it is made for nobody"))
    tiny_trainer(table, max_epochs=1).fit(tiny_module(), tiny_data())


def test_settings_out_of_range(tiny_module, tiny_data, tiny_trainer):
    with pytest.raises(ValueError, match="no_metric"):
        ImageTable(metrics=["no_metric"])
    with pytest.raises(ValueError, match="grad_cm"):
        tiny_trainer(ImageTable(method="grad_cm")).fit(tiny_module(), tiny_data())


@pytest.mark.parametrize("num_images", [2.5, "16", -1])
def test_a_number_of_images_that_is_none(num_images):
    with pytest.raises((TypeError, ValueError), match="`num_images`: expected"):
        ImageTable(num_images=num_images)
