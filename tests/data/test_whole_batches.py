"""Data in memory: the same images and annotation as those read one by one, made by the batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.utilities.data import _update_dataloader
from torch import nn
from torch.utils.data import DistributedSampler
from torchvision import tv_tensors
from torchvision.transforms import v2

from camtrain import Classifier
from camtrain.batch import Batch
from camtrain.callbacks import TrainingRandomness
from camtrain.data import CIFAR10, DecoyDigits, ImageDataModule, ImageFolderData, OxfordPet, PlantDecoy
from camtrain.data.decoded_samples import DecodedSamples, fixed_beginning
from camtrain.data.whole_batches import WholeBatches
from camtrain.messages import DataError


def assert_equal(batch: Batch, expected: Batch) -> None:
    for name in (field.name for field in fields(Batch)):
        found, wanted = getattr(batch, name), getattr(expected, name)
        if name == "boxes" and wanted is not None:
            assert [each.tolist() for each in found] == [each.tolist() for each in wanted]
        elif wanted is None:
            assert found is None, name
        else:
            assert torch.equal(found, wanted), name
            assert (found.dtype, found.stride()) == (wanted.dtype, wanted.stride()), name


def shapes(folder, **settings):
    annotation = {"boxes_csv": str(folder / "boxes.csv"), "masks_root": str(folder / "masks")}
    return ImageFolderData(str(folder / "images"), image_size=16, batch_size=5, **annotation, **settings)


def loaders(data):
    return {"val": data.val_dataloader(), "test": data.test_dataloader(), "predict": data.predict_dataloader()}


@pytest.mark.parametrize("annotated", [True, False])
def test_evaluation_batches_are_identical(fake_image_folder, annotated):
    make = shapes if annotated else lambda folder, **more: ImageFolderData(str(folder / "images"), batch_size=5, **more)
    one_by_one, whole = (make(fake_image_folder, in_memory=each) for each in (False, True))
    for stage, loader in loaders(whole).items():
        batches = list(loader)
        assert len(batches) == len(loader) == 3
        for batch, expected in zip(batches, loaders(one_by_one)[stage], strict=True):
            assert_equal(batch, expected)
    assert whole.summary() == one_by_one.summary()
    assert torch.equal(whole.class_frequencies(), one_by_one.class_frequencies())


def test_evaluation_batches_of_cifar_and_of_pets_are_identical(fake_cifar10, fake_oxford_pet):
    for make in (
        lambda each: CIFAR10(str(fake_cifar10), batch_size=32, in_memory=each),
        lambda each: OxfordPet(str(fake_oxford_pet), image_size=32, batch_size=4, in_memory=each),
    ):
        for batch, expected in zip(make(True).val_dataloader(), make(False).val_dataloader(), strict=True):
            assert_equal(batch, expected)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"annotated_fraction": 0.4, "box_dilation": 0.2},
        {"balanced_classes": True},
        {"extra_train_transform": [PlantDecoy(2)], "annotated_fraction": 0.5},
    ],
)
def test_training_batches_without_random_transforms_are_identical(fake_image_folder, settings):
    def batches(in_memory):
        data = shapes(fake_image_folder, augmentation="none", in_memory=in_memory, **settings)
        torch.manual_seed(3)
        return [batch for _ in range(2) for batch in data.train_dataloader()]

    for batch, expected in zip(batches(True), batches(False), strict=True):
        assert_equal(batch, expected)


class Places(ImageDataModule):
    """Images of 6 x 6 pixels, each of a value of its own, whose box and mask are the pixel in row 2, column 3."""

    class_names = ("even", "odd")
    has_boxes = has_masks = True
    default_mean, default_std = (0.0,) * 3, (1.0,) * 3
    read = 0

    def default_train_transform(self):
        return [v2.RandomCrop(6, padding=1), v2.RandomHorizontalFlip()]

    def samples(self, split):
        module = self

        class Read:
            def __len__(self):
                return 60

            def __getitem__(self, index):
                module.read += 1
                image = torch.arange(1, 37, dtype=torch.uint8).reshape(1, 6, 6).repeat(3, 1, 1)
                image[2] = index + 1
                mask = torch.zeros(6, 6, dtype=torch.bool)
                mask[2, 3] = True
                boxes = tv_tensors.BoundingBoxes([[3.0, 2.0, 4.0, 3.0]], format="XYXY", canvas_size=(6, 6))
                parts = {"boxes": boxes, "mask": tv_tensors.Mask(mask)}
                return {"image": tv_tensors.Image(image), "label": index % 2, **parts}

        return Read()


def seen(batches):
    """What is seen of the pixel in row 2, column 3 of each image: its row and column, and the one left of it."""
    for batch in batches:
        values = (batch.images[:, 0] * 255).round().int()
        for value, boxes, mask in zip(values, batch.boxes, batch.masks, strict=True):
            ((row, column),) = (value == 16).nonzero().tolist()
            assert boxes.tolist() == [[column, row, column + 1, row + 1]]
            assert mask.nonzero().tolist() == [[row, column]]
            yield row, column, bool(value[row, column - 1] == 15)


@pytest.mark.parametrize("in_memory", [True, False])
def test_each_training_image_has_a_draw_of_its_own(in_memory):
    data = Places(batch_size=60, in_memory=in_memory)
    torch.manual_seed(0)
    loader = data.train_dataloader()
    found = Counter(place for _ in range(12) for place in seen(loader))
    unflipped = {(row, column, True) for row in (1, 2, 3) for column in (2, 3, 4)}
    flipped = {(row, column, False) for row in (1, 2, 3) for column in (1, 2, 3)}
    assert set(found) == unflipped | flipped
    assert sum((count - 40) ** 2 / 40 for count in found.values()) < 40.8  # chi-squared of 17 degrees, p = 0.001
    assert len(set(seen(next(iter(loader)) for _ in range(1)))) > 10  # not all images of a batch alike


@pytest.mark.parametrize("transform", [[v2.ColorJitter(0.9)], [v2.RandomResizedCrop(6, scale=(0.2, 1.0))]])
def test_other_random_transforms_draw_for_each_image_too(transform):
    def batch(in_memory):
        data = Places(batch_size=60, in_memory=in_memory, train_transform=transform)
        torch.manual_seed(0)
        return next(iter(data.train_dataloader()))

    whole = batch(in_memory=True)
    assert len({tuple(image[0].flatten().tolist()) for image in whole.images}) > 30
    assert_equal(whole, batch(in_memory=False))


def test_images_are_read_once():
    data = Places(batch_size=20, in_memory=True)
    for _ in range(3):
        list(data.train_dataloader())
    assert data.read == 60
    list(data.val_dataloader())
    data.data_set("val")[7]
    assert data.read == 120


def test_an_image_read_by_its_index_is_read_alone():
    data = Places(batch_size=20, in_memory=True)
    alone = data.data_set("val")[7]
    assert data.read == 1
    list(data.val_dataloader())
    for name, part in data.data_set("val")[7].items():
        assert torch.equal(torch.as_tensor(part), torch.as_tensor(alone[name])), name


def test_images_of_several_sizes_are_kept_too(tmp_path):
    for number in range(8):
        path = tmp_path / "train" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + number, 16), (10 * number,) * 3).save(path)

    def batches(in_memory):
        data = ImageFolderData(str(tmp_path), image_size=16, batch_size=2, val_fraction=0.5, in_memory=in_memory)
        torch.manual_seed(0)
        return list(data.train_dataloader())

    for batch, expected in zip(batches(True), batches(False), strict=True):
        assert_equal(batch, expected)


def test_labels_of_several_classes_and_groups_are_kept():
    class Several(Places):
        has_boxes = has_masks = False
        default_train_transform = ImageDataModule.default_train_transform

        def samples(self, split):
            return [
                {"image": tv_tensors.Image(torch.zeros(3, 4, 4)), "label": torch.tensor([1.0, each % 2]), "group": each}
                for each in range(4)
            ]

    for batch, expected in zip(
        *(Several(batch_size=4, in_memory=each).val_dataloader() for each in (True, False)), strict=True
    ):
        assert_equal(batch, expected)
    assert Several(in_memory=True).data_set("val")[3]["group"] == 3


def test_workers_are_refused():
    with pytest.raises(ValueError, match=r"`num_workers`: expected 0 with `in_memory`, .* got 2"):
        DecoyDigits(in_memory=True, num_workers=2)


def test_what_cannot_be_transformed_is_named(fake_image_folder):
    data = ImageFolderData(
        str(fake_image_folder / "images"), batch_size=4, train_transform=[v2.RandomCrop(99)], in_memory=True
    )
    with pytest.raises(DataError, match=r"\.png cannot be transformed: Required crop size"):
        next(iter(data.train_dataloader()))
    broken = DecodedSamples([{"image": tv_tensors.Image(torch.full((3, 2, 2), torch.nan)), "label": 0}])
    with pytest.raises(DataError, match="image 0 holds NaN or infinity"):
        broken.whole


def test_a_transform_of_ones_own_is_not_run_once():
    class Own(v2.Resize):
        pass

    assert fixed_beginning([v2.Resize(4), Own(4), v2.Resize(4)]) == 1
    assert fixed_beginning([]) == 0


def test_batches_are_made_where_the_training_is(monkeypatch):
    class Trainer:
        class strategy:  # noqa: N801
            root_device = torch.device("meta")

    data = Places(batch_size=20, in_memory=True)
    data.trainer = Trainer()
    batch = next(iter(data.train_dataloader()))
    moved = [batch.images, batch.masks, batch.labels, *batch.boxes]
    assert {each.device.type for each in moved} == {"meta"}
    assert next(iter(data.val_dataloader())).images.device.type == "cpu"


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_distributed_sampler_divides_the_images(in_memory):
    """As Lightning puts one into the loaders of several processes."""

    def labels(split, rank):
        data = Places(batch_size=10, in_memory=in_memory)
        loader = data.train_dataloader() if split == "train" else data.val_dataloader()
        sampler = DistributedSampler(loader.dataset, num_replicas=2, rank=rank, shuffle=split == "train")
        batches = list(_update_dataloader(loader, sampler))
        assert [len(batch) for batch in batches] == [10, 10, 10]
        return [round(float(value) * 255) for batch in batches for value in batch.images[:, 2].amax((1, 2))]

    for split in ("train", "val"):
        both = labels(split, 0) + labels(split, 1)
        assert sorted(both) == list(range(1, 61))
    assert labels("val", 1) == list(range(2, 62, 2))


@pytest.mark.parametrize("settings", [{}, {"balanced_classes": True}])
def test_a_resumed_training_goes_on_as_if_it_had_not_been_stopped(tmp_path, settings):
    def trained(epochs, **fit):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 2))
        module = Classifier(network, 2, optimizer=partial(torch.optim.SGD, lr=0.1))
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=epochs, callbacks=[TrainingRandomness()], logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, datamodule=Places(batch_size=20, in_memory=True, **settings), weights_only=True, **fit)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return network[1].weight

    trained(1)
    assert torch.equal(trained(3), trained(3, ckpt_path=tmp_path / "1.ckpt"))
    assert not torch.equal(trained(3), trained(2))


def test_other_channels_than_those_of_the_mean_are_refused():
    decoded = DecodedSamples([{"image": tv_tensors.Image(torch.zeros(4, 6, 6, dtype=torch.uint8)), "label": 0}])
    with pytest.raises(DataError, match="it has 4 channels, and `mean` and `std` are those of 1"):
        WholeBatches(decoded, decoded, [], (0.5,), (0.5,)).__getitems__([0])
