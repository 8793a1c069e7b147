"""Callbacks where images show several classes, and where the network has a single logit."""

from __future__ import annotations

import csv

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import tv_tensors

from camtrain import Classifier
from camtrain.batch import Batch
from camtrain.callbacks import CAMLogger, LocalizationScores, PredictionWriter
from camtrain.callbacks.epoch_panels import epoch_panels
from camtrain.callbacks.explained_images import explained_images
from camtrain.callbacks.image_table import ImageTable
from camtrain.cams import GradCAM
from camtrain.data.image_data_module import ImageDataModule
from camtrain.evaluation import EvaluationSettings, evaluate
from camtrain.methods import normalized_maps
from camtrain.regularizers import EnergyInside
from tests.test_classifier import sgd, trainer

SHOWN = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]]).float()
NAMES = ("cat", "dog", "owl")


def network_of(num_logits=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_logits)
    ).eval()  # fmt: skip


class Data(ImageDataModule):
    """Four images with boxes; the labels are an attribute."""

    class_names = NAMES
    has_boxes = True
    labels = SHOWN

    def samples(self, split):
        generator = torch.Generator().manual_seed(1)
        images = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8, generator=generator)
        box = tv_tensors.BoundingBoxes([[2.0, 2, 10, 12]], format="XYXY", canvas_size=(16, 16))
        return [
            {"image": tv_tensors.Image(image), "label": label, "boxes": box}
            for image, label in zip(images, self.labels, strict=True)
        ]


class OneQuestion(Data):
    """The same with labels of one class, 0 or 1, for a single logit."""

    class_names = ("owl",)
    labels = torch.tensor([[1.0], [0.0], [0.0], [1.0]])


def classifier(num_logits=3, num_classes=3, **settings):
    return Classifier(
        network_of(num_logits), num_classes, classification_loss="binary_cross_entropy", optimizer=sgd, **settings
    )


def batch_of(data):
    data = data(batch_size=4)
    return data.val_dataloader().collate_fn([data.data_set("val")[index] for index in range(4)])


def test_panels_show_the_map_of_each_class_that_an_image_shows():
    network, batch = network_of(), batch_of(Data)
    explained = explained_images(network, batch)
    assert explained.label_cams is None
    assert [sorted(cams) for cams in explained.shown_cams] == [[0, 2], [1], [], [0, 1, 2]]
    for label in (0, 2):
        expected = normalized_maps(GradCAM(network), batch.images, torch.full((4,), label))[0]
        torch.testing.assert_close(explained.shown_cams[0][label], expected)
    torch.testing.assert_close(explained.probabilities, network(batch.images).sigmoid().detach())
    images = batch.images.clone().as_subclass(torch.Tensor).requires_grad_()
    loss = F.binary_cross_entropy_with_logits(network(images), SHOWN, reduction="sum")
    torch.testing.assert_close(explained.input_gradients, torch.autograd.grad(loss, images)[0])
    panels = epoch_panels(explained, torch.rand(4, 3, 16, 16), NAMES)
    kinds = ["image", *["Grad-CAM, true class"] * 3, "Grad-CAM, predicted class", "input gradient", "guided gradient"]
    assert [[tile.kind for tile in panel.tiles] for panel in panels] == [kinds] * 4
    assert [panel.tiles[0].title for panel in panels] == ["cat, owl", "dog", "", "cat, dog, owl"]
    assert panels[0].caption.startswith("true: cat ")
    assert [panel.tiles[3].note.replace("\n", " ") for panel in panels] == ["no further class"] * 3 + [""]


def test_a_single_logit_is_explained_as_yes_or_no():
    network, batch = network_of(1), batch_of(OneQuestion)
    explained = explained_images(network, batch)
    logits = network(batch.images).detach()
    torch.testing.assert_close(explained.probabilities, torch.cat([1 - logits.sigmoid(), logits.sigmoid()], dim=1))
    assert torch.equal(explained.predictions, (logits[:, 0] > 0).long())
    assert explained.batch.labels.tolist() == [1, 0, 0, 1]
    labels = torch.tensor([1, 0, 0, 1])
    torch.testing.assert_close(explained.label_cams, normalized_maps(GradCAM(network), batch.images, labels))
    captions = [panel.caption for panel in epoch_panels(explained, torch.rand(4, 3, 16, 16), ("no", "yes"))]
    assert [caption.split()[1] for caption in captions] == ["yes", "no", "no", "yes"]


@pytest.mark.filterwarnings("ignore:.*show none of the classes")
@pytest.mark.parametrize(("data", "logits", "classes"), [(Data, 3, 3), (OneQuestion, 1, 1)])
def test_a_training_with_all_callbacks(tmp_path, data, logits, classes):
    module = classifier(logits, classes, regularizer=EnergyInside(class_of="every_label"), regularizer_weight=1.0)
    scores = LocalizationScores(class_of="every_label")
    fitting = trainer(tmp_path, callbacks=[CAMLogger(num_images=4), scores, PredictionWriter()])
    fitting.fit(module, datamodule=data(batch_size=4))
    assert list(tmp_path.rglob("val_epoch_0.png"))
    logged = dict(fitting.callback_metrics)
    expected = evaluate(
        module.network, data(batch_size=4), "grad_cam", ["energy_pointing_game"], split="val", progress=False,
        settings=EvaluationSettings("every_label"),
    )  # fmt: skip
    found = float(logged["val/energy_pointing_game/grad_cam"])
    assert found == pytest.approx(float(expected.score("grad_cam", "energy_pointing_game").interval[0]), rel=1e-4)
    assert ("val/mean_average_precision" in logged) == (data is Data)
    assert float(logged["train/regularizer_counted/energy_inside"]) == (0.75 if data is Data else 1.0)

    fitting.predict(module, datamodule=data(batch_size=4))
    (path,) = tmp_path.rglob("predictions.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    if data is OneQuestion:
        assert [row["label"] for row in rows] == ["owl", "not owl", "not owl", "owl"]
        both = [float(row["probability_owl"]) + float(row["probability_not owl"]) for row in rows]
        assert both == pytest.approx([1] * 4)
        return
    assert [row["label"] for row in rows] == ["cat;owl", "dog", "", "cat;dog;owl"]
    for row in rows:
        said = [name for name in NAMES if float(row[f"probability_{name}"]) >= 0.5]
        assert row["predicted_classes"] == ";".join(said)


@pytest.mark.parametrize("data", [Data, OneQuestion])
def test_the_table_of_images(tmp_path, data):
    module = classifier(*((3, 3) if data is Data else (1, 1)))
    fitting = trainer(tmp_path)
    fitting.fit(module, datamodule=data(batch_size=4))
    batch = Batch.of(batch_of(data))
    columns, panels, cells = ImageTable(4)._table(fitting, module.network, batch)
    truth = [row[columns.index("true class") - 1] for row in cells]
    assert truth == (["cat, owl", "dog", "", "cat, dog, owl"] if data is Data else ["owl", "not owl", "not owl", "owl"])
    right = [row[columns.index("right") - 1] for row in cells]
    predicted = [row[columns.index("predicted class") - 1] for row in cells]
    assert right == [name in shown.split(", ") for name, shown in zip(predicted, truth, strict=True)]
    assert len(panels) == 4


def test_predictions_do_not_depend_on_the_callbacks(tmp_path):
    module = classifier()
    fitting = pl.Trainer(default_root_dir=tmp_path, logger=False, enable_progress_bar=False, accelerator="cpu")
    probabilities = torch.cat(fitting.predict(module, datamodule=Data(batch_size=2)))
    batch = batch_of(Data)
    torch.testing.assert_close(probabilities, module.network(batch.images).sigmoid().detach())
