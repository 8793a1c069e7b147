"""What classes are called, which a checkpoint remembers."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from PIL import Image
from pytorch_lightning.loggers import CSVLogger

from camtrain import Classifier
from camtrain.callbacks import PredictionWriter
from camtrain.class_names import names_of_data, renamed_classes
from camtrain.data import ImageFolderData
from camtrain.loading import load_data, load_network
from camtrain.messages import CamtrainWarning

QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "logger": False}
CLASSES = ("cat", "dog", "fox")
SMALL = {"image_size": 16, "batch_size": 2, "val_fraction": 0.25, "test_fraction": 0.25}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (None, ["a", "b"]),
        (["a", "b"], None),
        (["a", "b"], ["a", "b"]),
        (["a", "b"], ["b", "a", "c"]),  # which no network can be used with
        (["tench", "goldfish"], ["n01440764", "n01443537"]),
    ],
)
def test_nothing_is_said_where_names_agree_or_are_not_known(before, now):
    assert renamed_classes(before, now) == ""


def test_other_names_are_told_and_no_more_than_three():
    trained, other = list("abcdef"), ["a", "B", "c", "D", "E", "F"]
    remark = renamed_classes(trained, other)
    assert "class 1 B, which was b in training; class 3 D, which was d in training; class 4 E" in remark
    assert "and 1 more: they are taken to be in the same order" in remark
    assert "F" not in remark


def test_a_name_that_stands_for_another_class_is_an_error():
    with pytest.raises(ValueError, match=r"class 1 was dog and fox was class 2, got fox as class 1; give classes"):
        renamed_classes(["cat", "dog", "fox"], ["cat", "fox", "owl"])


def test_names_of_data_are_plain_texts_that_a_checkpoint_may_hold():
    class Data:
        class_names = tuple(np.unique(["dog", "cat"]))

    found = names_of_data(Data())
    assert (found, {type(each) for each in found}) == (["cat", "dog"], {str})
    assert names_of_data(None) is None


@pytest.fixture
def tree(tmp_path):
    """A folder of images for each class."""
    for name in CLASSES:
        (tmp_path / "tree" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (16, 16), (60 * number, 90, 120)).save(tmp_path / "tree" / name / f"{number}.png")
    return tmp_path / "tree"


@pytest.fixture
def run(tree, tmp_path):
    """The checkpoint of a run on it, with the configuration beside it."""
    described = {"class_path": "camtrain.data.ImageFolderData", "init_args": {"root": str(tree), **SMALL}}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({"data": described}))
    trainer = pl.Trainer(**QUIET, max_epochs=1, enable_checkpointing=False, default_root_dir=tmp_path)
    trainer.fit(Classifier("cifar_resnet8", num_classes=3, stem="small"), datamodule=images_in(tree))
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    trainer.save_checkpoint(path)
    return path


def images_in(root):
    return ImageFolderData(str(root), **SMALL)


def test_a_checkpoint_has_the_names_of_its_training(run):
    assert torch.load(run, weights_only=True)["class_names"] == list(CLASSES)
    assert load_network(run).class_names == list(CLASSES)
    assert Classifier.load_from_checkpoint(run).class_names == list(CLASSES)


def test_the_names_of_training_are_shown_where_folders_were_renamed(run, tree):
    (tree / "cat").rename(tree / "bear")
    network = load_network(run)
    assert network.class_names == list(CLASSES)
    with pytest.warns(CamtrainWarning, match="class 0 bear, which was cat in training"):
        load_data(run, network)


def test_scores_and_predictions_have_the_names_of_the_training(run, tree, tmp_path):
    (tree / "cat").rename(tree / "bear")
    trainer = pl.Trainer(**{**QUIET, "logger": CSVLogger(tmp_path / "log")}, callbacks=[PredictionWriter()])
    classifier = Classifier.load_from_checkpoint(run)
    with pytest.warns(CamtrainWarning, match="class 0 bear, which was cat in training"):
        trainer.test(classifier, datamodule=images_in(tree), verbose=False)
    assert "test/accuracy_per_class/cat" in trainer.callback_metrics
    with pytest.warns(CamtrainWarning, match="class 0 bear, which was cat in training"):
        trainer.predict(classifier, datamodule=images_in(tree), return_predictions=False)
    (table,) = tmp_path.rglob("predictions.csv")
    header = table.read_text().splitlines()[0]
    assert "probability_cat" in header
    assert "bear" not in header


def test_data_in_another_order_are_not_scored(run, tree):
    (tree / "cat").rename(tree / "gnu")  # so that the dog is class 0 now
    with pytest.raises(ValueError, match="in which class 0 was cat and dog was class 1, got dog as class 0"):
        load_data(run, load_network(run))
    trainer = pl.Trainer(**QUIET)
    for use in (
        lambda: trainer.test(Classifier.load_from_checkpoint(run), datamodule=images_in(tree), verbose=False),
        lambda: trainer.validate(Classifier("cifar_resnet8", 3, stem="small"), images_in(tree), run, weights_only=True),
        lambda: trainer.fit(Classifier("cifar_resnet8", 3, stem="small"), None, None, images_in(tree), run),
    ):
        with pytest.raises(ValueError, match="expected the classes in the order of the training"):
            use()


def test_other_data_may_be_trained_with(run, tree):
    (tree / "cat").rename(tree / "gnu")
    fine_tuned = Classifier.load_from_checkpoint(run)
    settings = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1, "enable_checkpointing": False}
    pl.Trainer(**QUIET, **settings).fit(fine_tuned, datamodule=images_in(tree))
    assert fine_tuned.class_names == ["dog", "fox", "gnu"]


def test_names_of_a_strange_checkpoint_are_left_out(run, tmp_path):
    content = torch.load(run, weights_only=True)
    strange = tmp_path / "strange.ckpt"
    torch.save(content | {"class_names": {"cat": 0}}, strange)
    assert load_network(strange).class_names is None
