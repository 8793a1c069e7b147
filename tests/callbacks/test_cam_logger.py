"""Panels in every entry point of Lightning."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from camtrain.batch import collate
from camtrain.callbacks import CAMLogger

STAGES = {"fit": "val", "validate": "val", "test": "test", "predict": "predict"}
SHEET = (40 + 12 + 3 * (16 + 128 + 8), 8 + 5 * 136)  # three images of 16 x 16, enlarged to 128 x 128


def written(folder):
    return sorted(path.name for path in folder.rglob("*.png"))


@pytest.mark.parametrize("entry", STAGES)
def test_writes_a_sheet(entry, tiny_module, tiny_data, tiny_trainer, run_stage, tmp_path):
    run_stage(tiny_trainer(CAMLogger(num_images=3)), tiny_module(), tiny_data(), entry)
    names = ["val_epoch_0.png", "val_epoch_1.png"] if entry == "fit" else [f"{STAGES[entry]}.png"]
    assert written(tmp_path) == names
    path = tmp_path / "run" / "panels" / names[0]
    assert np.asarray(Image.open(path)).shape == (*SHEET, 3)
    assert path.stat().st_size < 500_000


class Seen(CAMLogger):
    """A logger that keeps the panels it has made."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.seen = []

    def _panels(self, trainer, pl_module, images):
        made = super()._panels(trainer, pl_module, images)
        self.seen.append(made[0])
        return made


def test_shows_evenly_spaced_images_with_the_names_and_colors_of_the_data(tiny_module, tiny_data, tiny_trainer):
    data, callback = tiny_data(length=9), Seen(num_images=3)
    tiny_trainer(callback).test(tiny_module(), data)
    (panels,) = callback.seen
    for panel, index in zip(panels, (1, 4, 7), strict=True):
        sample = data.samples[index]
        torch.testing.assert_close(panel.tiles[0].pixels, data.denormalize(sample["image"]))
        assert torch.equal(panel.tiles[0].outline.boxes, sample["boxes"].as_subclass(torch.Tensor))
        assert panel.tiles[0].title == data.class_names[sample["label"]]


def test_the_images_are_the_same_in_every_epoch_whatever_the_loader_does(tiny_module, tiny_data, tiny_trainer):
    data, callback = tiny_data(), Seen(num_images=3)
    data.val_dataloader = lambda: DataLoader(data.samples, batch_size=2, shuffle=True, collate_fn=collate)
    tiny_trainer(callback, max_epochs=3).fit(tiny_module(), data)
    assert len(callback.seen) == 3
    for panels in callback.seen:
        for panel, index in zip(panels, (1, 5, 8), strict=True):
            torch.testing.assert_close(panel.tiles[0].pixels, data.denormalize(data.samples[index]["image"]))


@pytest.mark.parametrize(
    ("every", "epochs", "check", "expected"),
    [(2, 6, 1, [0, 2, 4, 5]), (4, 4, 1, [0, 3]), (2, 6, 2, [1, 3, 5]), (10, 3, 1, [0, 2])],
)
def test_every_n_epochs(every, epochs, check, expected, tiny_module, tiny_data, tiny_trainer, tmp_path):
    callback = CAMLogger(num_images=1, every_n_epochs=every)
    trainer = tiny_trainer(callback, max_epochs=epochs, check_val_every_n_epoch=check, limit_train_batches=1)
    trainer.fit(tiny_module(), tiny_data())
    assert written(tmp_path) == [f"val_epoch_{epoch}.png" for epoch in expected]


def test_several_validations_in_an_epoch_make_one_sheet(tiny_module, tiny_data, tiny_trainer):
    callback = Seen(num_images=1)
    tiny_trainer(callback, val_check_interval=1, max_epochs=2).fit(tiny_module(), tiny_data())
    assert len(callback.seen) == 2


def test_all_entry_points_with_one_trainer(tiny_module, tiny_data, tiny_trainer, run_stage, tmp_path):
    module, data, trainer = tiny_module(), tiny_data(), tiny_trainer(CAMLogger(num_images=1))
    for entry in STAGES:
        run_stage(trainer, module, data, entry)
    assert written(tmp_path) == [
        "predict.png", "test.png", "val.png", "val_epoch_0.png", "val_epoch_1.png",
    ]  # fmt: skip


def test_validate_shows_its_own_loader_after_a_fit(tiny_module, tiny_data, tiny_trainer):
    module, data, callback = tiny_module(), tiny_data(), Seen(num_images=1)
    trainer = tiny_trainer(callback, max_epochs=1)
    trainer.fit(module, data)
    others = DataLoader(TensorDataset(torch.zeros(2, 3, 16, 16), torch.tensor([2, 2])), batch_size=2)
    trainer.validate(module, others)
    assert callback.seen[-1][0].label == 2
    assert callback.seen[-1][0].tiles[0].pixels.unique().tolist() == [0.5]  # denormalized by the data module


def test_users_own_loaders_without_a_data_module(tiny_module, tiny_trainer):
    images, callback = 7 * torch.randn(5, 3, 16, 16) + 3, Seen(num_images=5)
    tiny_trainer(callback).test(tiny_module(), DataLoader(TensorDataset(images, torch.arange(5) % 3), batch_size=2))
    (panels,) = callback.seen
    assert [panel.tiles[0].title for panel in panels] == [f"class {index % 3}" for index in range(5)]
    for panel, image in zip(panels, images, strict=True):
        shown = panel.tiles[0].pixels
        assert (shown.min(), shown.max()) == (0, 1)
        assert torch.corrcoef(torch.stack([shown.flatten(), image.flatten()]))[0, 1] > 0.9999


def test_iterable_data_show_the_first_of_the_first_batch(tiny_module, tiny_data, tiny_trainer):
    data, callback = tiny_data(), Seen(num_images=3)

    class Stream(IterableDataset):
        def __iter__(self):
            return iter([data.samples[index] for index in range(10)])

    data.test_dataloader = lambda: DataLoader(Stream(), batch_size=4, collate_fn=collate)
    tiny_trainer(callback).test(tiny_module(), data)
    for index, panel in enumerate(callback.seen[0]):
        torch.testing.assert_close(panel.tiles[0].pixels, data.denormalize(data.samples[index]["image"]))


def test_without_labels_there_is_no_tile_of_the_true_class(tiny_module, tiny_data, tiny_trainer, without_labels):
    callback = Seen(num_images=1)
    tiny_trainer(callback).predict(tiny_module(), tiny_data(predict_collate=without_labels))
    kinds = [tile.kind for tile in callback.seen[0][0].tiles]
    assert kinds == ["image", "Grad-CAM, predicted class", "input gradient", "guided gradient"]


def test_a_network_without_gates_warns_once_and_trains_on(tiny_module, tiny_data, tiny_trainer, tmp_path):
    trainer = tiny_trainer(CAMLogger(num_images=1))
    with pytest.warns(UserWarning, match="no guided gradient") as warned:
        trainer.fit(tiny_module(nn.SiLU), tiny_data())
    assert sum("no guided gradient" in str(each.message) for each in warned) == 1
    assert written(tmp_path) == ["val_epoch_0.png", "val_epoch_1.png"]


def test_sanity_check_makes_none_and_fast_dev_run_writes_none(tiny_module, tiny_data, tiny_trainer, tmp_path):
    callback = Seen(num_images=1)
    tiny_trainer(callback, num_sanity_val_steps=2, max_epochs=0).fit(tiny_module(), tiny_data())
    assert callback.seen == []
    tiny_trainer(callback, fast_dev_run=True).fit(tiny_module(), tiny_data())
    assert len(callback.seen) == 1
    assert written(tmp_path) == []


def test_training_is_not_changed(tiny_module, tiny_data, tiny_trainer):
    """Neither a weight, nor a running statistic, nor a random number changes."""
    weights, random_numbers = [], []
    for callbacks in ([], [CAMLogger(num_images=2)]):
        torch.manual_seed(0)
        module = tiny_module()
        tiny_trainer(*callbacks, logger=False).fit(module, tiny_data())
        weights.append(module.state_dict())
        random_numbers.append(torch.rand(3))
        assert [parameter.requires_grad for parameter in module.parameters()] == [True, False] + [True] * 6
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert torch.equal(*random_numbers)


def test_gradients_and_modes_are_left_as_found_after_an_error(tiny_module, tiny_data, tiny_trainer):
    module = tiny_module(classes=2)  # the third class cannot be explained
    module.test_step = lambda *_: None

    def untidy():
        module.network.train()
        for parameter in module.parameters():
            parameter.grad = torch.full_like(parameter, 2.0)

    module.on_test_epoch_start = untidy
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    with pytest.raises(ValueError, match="expected classes from 0 to 1, got 2"):
        tiny_trainer(CAMLogger()).test(module, tiny_data())
    assert all(each.training for each in module.network.modules())
    assert all((parameter.grad == 2).all() for parameter in module.parameters())
    assert all(torch.equal(value, buffers[name]) for name, value in module.named_buffers())


def test_wandb_gets_panels_with_boxes_and_their_epoch(
    tiny_module, tiny_data, tiny_trainer, offline_run, run_stage, tmp_path
):
    logger, finished_run = offline_run
    module, data = tiny_module(), tiny_data()
    trainer = tiny_trainer(CAMLogger(num_images=2), logger=logger, log_every_n_steps=1)
    for entry in STAGES:
        run_stage(trainer, module, data, entry)
    folder, run = finished_run()
    rows = {}
    for row in run.history:
        for name in row:
            if name.endswith("/panels"):
                rows.setdefault(name, []).append(row)
    epochs = {name: [row["epoch"] for row in of_name] for name, of_name in rows.items()}
    assert epochs == {"val/panels": [0, 1, 2], "test/panels": [2], "predict/panels": [2]}
    panel = rows["test/panels"][0]["test/panels"]
    assert (panel["_type"], panel["count"], len(panel["all_boxes"])) == ("images/separated", 2, 2)
    assert "true: " in panel["captions"][0]
    for path in panel["filenames"]:
        with Image.open(folder / "files" / path) as image:
            assert image.size == (5 * 128 + 4 * 8, 128)
    steps = [row["_step"] for row in run.history]
    assert steps == sorted(set(steps)), "a step that goes back is dropped by W&B"
    # Beside the panels, W&B has every scalar of the module, so it dropped nothing.
    assert sum("val/accuracy" in row for row in run.history) == 3


def test_bad_settings(tiny_module, tiny_data, tiny_trainer):
    with pytest.raises(ValueError, match="`num_images`: expected an integer of at least 0, got -1"):
        CAMLogger(num_images=-1)
    with pytest.raises(ValueError, match="`every_n_epochs`: expected a positive integer, got 0"):
        CAMLogger(every_n_epochs=0)
    module = tiny_module()
    del module.network
    with pytest.raises(TypeError, match="`network`"):
        tiny_trainer(CAMLogger()).fit(module, tiny_data())


def test_keeps_no_images_when_the_run_is_over(tiny_module, tiny_data, tiny_trainer):
    callback = CAMLogger(num_images=1)
    tiny_trainer(callback).fit(tiny_module(), tiny_data())
    assert not any(isinstance(value, torch.Tensor | nn.Module | pl.Trainer) for value in vars(callback).values())
    assert callback._images == {}
    assert callback._first_batch is None
