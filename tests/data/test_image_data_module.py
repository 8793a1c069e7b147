from __future__ import annotations

import pickle

import pytest
import torch
from jsonargparse import ArgumentParser
from torch.utils.data import RandomSampler, SequentialSampler
from torchvision import tv_tensors
from torchvision.transforms import v2

from camtrain.batch import Batch
from camtrain.data import CIFAR10, CIFAR100, DecoyDigits, DecoyMNIST, ImageDataModule, ImageFolderData, OxfordPet
from camtrain.data.image_data_module import IMAGENET_MEAN, IMAGENET_STD
from camtrain.data.in_memory_samples import InMemorySamples
from tests.data.fake_data import make_mnist


class Numbers(ImageDataModule):
    """Image i has the gray value i; training images 0 to 9, validation 10 to 14, test 20 to 26."""

    class_names = ("even", "odd")

    def samples(self, split):
        return [
            {"image": tv_tensors.Image(torch.full((3, 4, 4), i, dtype=torch.uint8)), "label": i % 2}
            for i in {"train": range(10), "val": range(10, 15), "test": range(20, 27)}[split]
        ]


def numbers(data, loader):
    pictures = [data.denormalize(batch.images) for batch in loader]
    return [[round(float(picture[0, 0, 0]) * 255) for picture in batch] for batch in pictures]


def test_training_batches_are_full_and_shuffled():
    data = Numbers(batch_size=4)
    torch.manual_seed(0)
    epochs = [numbers(data, data.train_dataloader()) for _ in range(2)]
    assert [len(batch) for batch in epochs[0]] == [4, 4]
    assert len({*epochs[0][0], *epochs[0][1]}) == 8
    assert epochs[0] != epochs[1]
    torch.manual_seed(0)
    assert numbers(data, data.train_dataloader()) == epochs[0]
    assert isinstance(data.train_dataloader().sampler, RandomSampler)


def test_evaluation_batches_are_complete_and_in_order():
    data = Numbers(batch_size=4)
    assert numbers(data, data.val_dataloader()) == [[10, 11, 12, 13], [14]]
    assert numbers(data, data.test_dataloader()) == [[20, 21, 22, 23], [24, 25, 26]]
    assert numbers(data, data.predict_dataloader()) == numbers(data, data.test_dataloader())
    assert isinstance(data.val_dataloader().sampler, SequentialSampler)


def test_batches_hold_labels_and_no_boxes():
    batch = next(iter(Numbers(batch_size=4).test_dataloader()))
    assert isinstance(batch, Batch)
    assert (batch.labels.tolist(), batch.boxes, batch.masks) == ([0, 1, 0, 1], None, None)


@pytest.mark.parametrize(
    ("stage", "splits"),
    [
        ("fit", ["train", "val"]),
        ("validate", ["val"]),
        ("test", ["test"]),
        ("predict", ["test"]),
        (None, ["train", "val", "test"]),
    ],
)
def test_setup_makes_the_data_sets_of_its_stage_once(stage, splits):
    made = []

    class Recorded(Numbers):
        def samples(self, split):
            made.append(split)
            return super().samples(split)

    data = Recorded(batch_size=2)
    data.setup(stage)
    assert made == splits
    data.setup(stage)
    assert made == splits


def test_training_set_smaller_than_a_batch():
    with pytest.raises(ValueError, match=r"`batch_size`: .* at most the 10 training images, got 11"):
        Numbers(batch_size=11).train_dataloader()
    assert len(Numbers(batch_size=10).train_dataloader()) == 1


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"batch_size": 0}, "`batch_size`: expected a positive integer, got 0"),
        ({"num_workers": -1}, "`num_workers`: expected an integer of at least 0, got -1"),
        ({"seed": -1}, "`seed`: expected an integer of at least 0, got -1"),
        (
            {"std": (0.5, 0.0, 0.5)},
            r"`std`: expected positive, finite numbers, .* got \(0.5, 0.0, 0.5\)",
        ),
        ({"std": (0.5, float("nan"), 0.5)}, "`std`: expected positive, finite numbers"),
        ({"std": (0.5, float("inf"), 0.5)}, "`std`: expected positive, finite numbers"),
        ({"mean": (0.5, float("inf"), 0.5)}, "`mean`: expected finite numbers"),
        ({"std": (0.5,)}, "`std`: expected as many numbers as `mean` has, 3, got 1"),
        ({"annotated_fraction": 1.1}, r"`annotated_fraction`: expected a fraction in \[0, 1\], got 1.1"),
        ({"annotated_fraction": float("nan")}, r"`annotated_fraction`: expected a fraction in \[0, 1\], got nan"),
        ({"box_dilation": -0.1}, "`box_dilation`: expected a finite number of at least 0, got -0.1"),
        ({"box_dilation": float("nan")}, "`box_dilation`: expected a finite number of at least 0, got nan"),
        ({"mean": (0.5, 0.5)}, "`std`: expected as many numbers as `mean` has, 2, got 3"),
    ],
)
def test_arguments_out_of_range(argument, message):
    with pytest.raises(ValueError, match=message):
        Numbers(**argument)


def test_default_normalization_is_imagenets():
    data = Numbers()
    images = data.data_set("test")[0]["image"]
    expected = (20 / 255 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    torch.testing.assert_close(images[:, 0, 0].as_subclass(torch.Tensor), expected)


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 5, 7)])
def test_denormalize_undoes_the_normalization(shape):
    data = Numbers(mean=(0.1, 0.5, 0.9), std=(0.2, 0.3, 0.4))
    pictures = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(data.denormalize(v2.functional.normalize(pictures, data.mean, data.std)), pictures)
    assert data.denormalize(torch.full(shape, 1e3)).max() == 1
    assert data.denormalize(torch.full(shape, -1e3)).min() == 0


def test_transforms_of_the_user_replace_the_defaults():
    class Defaults(Numbers):
        def default_train_transform(self):
            return [v2.Resize(8)]

        def default_eval_transform(self):
            return [v2.Resize(6)]

    def sizes(data):
        return [data.data_set(split)[0]["image"].shape[-1] for split in ("train", "val", "test")]

    assert sizes(Defaults()) == [8, 6, 6]
    assert sizes(Defaults(train_transform=[v2.Resize(10)], eval_transform=[])) == [10, 4, 4]


def test_extra_transforms_run_after_all_others():
    class Defaults(Numbers):
        def default_train_transform(self):
            return [v2.Resize(8)]

    def sizes(data):
        return [data.data_set(split)[0]["image"].shape[-1] for split in ("train", "val", "test")]

    extra = {"extra_train_transform": [v2.Pad(1)], "extra_eval_transform": [v2.Pad(2), v2.Pad(3)]}
    data = Defaults(**extra)
    assert sizes(data) == [8 + 2, 4 + 10, 4 + 10]
    assert [len(data.transform_of(split)) for split in ("train", "val", "test")] == [1, 0, 0]  # photos go without
    assert sizes(Defaults(train_transform=[v2.Resize(6)], eval_transform=[v2.Resize(2)], **extra)) == [8, 12, 12]


class Rectangles(Numbers):
    """The same images with a box of 2 x 2 pixels in the middle, and no masks."""

    has_boxes = True

    def samples(self, split):
        boxes = tv_tensors.BoundingBoxes([[1.0, 1.0, 3.0, 3.0]], format="XYXY", canvas_size=(4, 4))
        return [{**sample, "boxes": boxes} for sample in super().samples(split)]


def test_annotation_of_training_images_is_rare_and_coarse():
    data = Rectangles(annotated_fraction=0.4, box_dilation=0.25)
    boxes = {split: [sample["boxes"].tolist() for sample in data.data_set(split)] for split in ("train", "val", "test")}
    known = [index for index, kept in enumerate(boxes["train"]) if kept]
    assert len(known) == 4
    assert sum(index % 2 for index in known) == 2  # two of each class
    assert [boxes["train"][index] for index in known] == [[[0.5, 0.5, 3.5, 3.5]]] * 4
    assert boxes["val"] + boxes["test"] == [[[1.0, 1.0, 3.0, 3.0]]] * 12
    none = Rectangles(annotated_fraction=0)
    assert [len(sample["boxes"]) for sample in none.data_set("train")] == [0] * 10
    assert "mask" not in data.data_set("train")[0]


def test_boxes_are_dilated_before_the_transforms():
    data = Rectangles(box_dilation=0.5, train_transform=[v2.CenterCrop(2), v2.Resize(4)])
    assert data.data_set("train")[0]["boxes"].tolist() == [[0.0, 0.0, 4.0, 4.0]]
    wider = Rectangles(box_dilation=0.25, train_transform=[v2.Pad(2)])
    assert wider.data_set("train")[0]["boxes"].tolist() == [[2.5, 2.5, 5.5, 5.5]]


def test_the_same_images_are_annotated_with_every_augmentation_and_fewer_are_among_more():
    def known(**kwargs):
        samples = Rectangles(train_transform=[v2.RandomHorizontalFlip()], **kwargs).data_set("train")
        return {index for index in range(10) if len(samples[index]["boxes"])}

    assert len(known(annotated_fraction=0.01)) == 1
    assert known(annotated_fraction=0.01) < known(annotated_fraction=0.4) < known(annotated_fraction=0.8)
    assert known(annotated_fraction=0.4) == known(annotated_fraction=0.4)
    assert {frozenset(known(annotated_fraction=0.4, seed=seed)) for seed in range(5)} > {
        frozenset(known(annotated_fraction=0.4))
    }


def test_every_data_module_hands_annotation_on(fake_image_folder, fake_oxford_pet):
    masks = {"masks_root": str(fake_image_folder / "masks")}
    folder = str(fake_image_folder / "images")
    settings = {"annotated_fraction": 0.25, "box_dilation": 0.1}
    modules = [
        (DecoyDigits(**settings), DecoyDigits()),
        (OxfordPet(root=str(fake_oxford_pet), **settings), OxfordPet(root=str(fake_oxford_pet))),
        (ImageFolderData(root=folder, **masks, **settings), ImageFolderData(root=folder, **masks)),
    ]
    for data, plain in modules:
        total = len(data.samples("train"))
        known = [index for index in range(total) if data.data_set("train")[index]["mask"].any()]
        assert len(known) == round(total / 4)
        widths = []
        for one in (data, plain):
            torch.manual_seed(0)  # the same augmentation
            boxes = one.data_set("train")[known[0]]["boxes"]
            widths.append(float(boxes[0, 2] - boxes[0, 0]))
        assert widths[0] > widths[1]


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_annotation_settings_without_annotation(stage, fake_cifar10, fake_image_folder):
    with pytest.raises(ValueError, match=r"`annotated_fraction`: expected 1 for CIFAR10, .* neither boxes nor masks"):
        CIFAR10(root=str(fake_cifar10), annotated_fraction=0.5).setup(stage)
    with pytest.raises(ValueError, match=r"`box_dilation`: expected 0 for CIFAR10, whose .* no boxes, got 0.5"):
        CIFAR10(root=str(fake_cifar10), box_dilation=0.5).setup(stage)
    with pytest.raises(ValueError, match="`annotated_fraction`: expected 1 for ImageFolderData"):
        ImageFolderData(root=str(fake_image_folder / "images"), annotated_fraction=0.5).setup(stage)


class Rare(ImageDataModule):
    """90 dark images and 10 bright ones."""

    class_names = ("dark", "bright")

    def samples(self, split):
        images = torch.zeros(100, 3, 4, 4, dtype=torch.uint8)
        images[90:] = 255
        return InMemorySamples(images, torch.tensor([0] * 90 + [1] * 10))


def test_balanced_classes_are_equally_frequent_in_training_alone():
    torch.manual_seed(0)
    data = Rare(batch_size=10, balanced_classes=True)
    labels = torch.cat([batch.labels for _ in range(10) for batch in data.train_dataloader()])
    assert len(labels) == 1000
    assert int(labels.sum()) == pytest.approx(500, abs=3 * (1000 / 4) ** 0.5)
    assert sum(int(batch.labels.sum()) for batch in data.val_dataloader()) == 10
    assert sum(int(batch.labels.sum()) for batch in Rare(batch_size=10).train_dataloader()) == 10


def test_workers_change_nothing():
    data = [Numbers(batch_size=4, num_workers=workers) for workers in (0, 2)]
    assert numbers(data[0], data[0].val_dataloader()) == numbers(data[1], data[1].val_dataloader())
    assert data[1].val_dataloader().persistent_workers
    assert not data[0].val_dataloader().persistent_workers


@pytest.mark.parametrize(
    ("accelerator", "pinned"), [(None, False), (torch.device("cuda"), True), (torch.device("mps"), False)]
)
def test_memory_is_pinned_only_for_an_accelerator_with_its_own(monkeypatch, accelerator, pinned):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: accelerator)
    assert Numbers(batch_size=4).val_dataloader().pin_memory is pinned


def test_data_sets_can_be_sent_to_workers(fake_image_folder, fake_oxford_pet, fake_cifar100, tmp_path):
    make_mnist(tmp_path)
    modules = [
        DecoyMNIST(root=str(tmp_path)),
        DecoyDigits(),
        CIFAR100(root=str(fake_cifar100)),
        OxfordPet(root=str(fake_oxford_pet), image_size=16),
        ImageFolderData(root=str(fake_image_folder / "images"), image_size=16),
    ]
    for data in modules:
        samples = data.data_set("val")
        again = pickle.loads(pickle.dumps(samples))
        assert torch.equal(again[0]["image"], samples[0]["image"])


def test_evaluation_is_deterministic_by_default(
    fake_image_folder, fake_oxford_pet, fake_cifar100, fake_cifar10, tmp_path
):
    make_mnist(tmp_path)
    modules = [
        DecoyMNIST(root=str(tmp_path)),
        DecoyDigits(),
        CIFAR10(root=str(fake_cifar10)),
        CIFAR100(root=str(fake_cifar100)),
        OxfordPet(root=str(fake_oxford_pet), image_size=16),
        ImageFolderData(root=str(fake_image_folder / "images"), image_size=16),
    ]
    for data in modules:
        for split in ("val", "test"):
            samples = data.data_set(split)
            state = torch.get_rng_state()
            first = samples[1]["image"]
            assert torch.equal(torch.get_rng_state(), state)
            torch.rand(1)
            assert torch.equal(samples[1]["image"], first)


@pytest.mark.parametrize("name", ["DecoyDigits", "DecoyMNIST", "CIFAR10", "CIFAR100", "OxfordPet", "ImageFolderData"])
def test_every_option_has_a_help_text(name, capsys):
    parser = ArgumentParser()
    parser.add_subclass_arguments(ImageDataModule, "data")
    with pytest.raises(SystemExit):
        parser.parse_args([f"--data.help=camtrain.data.{name}"])
    usage, _, options = capsys.readouterr().out.partition("\n\n")
    assert "--data.batch_size" in usage
    for block in options.split("\n  --data.")[1:]:
        option, _, text = " ".join(block.split()).partition(" ")
        assert len(text.split("(type:")[0].split(" ", 1)[1]) > 20, f"{option}: {text}"


def test_yaml_gives_transforms_and_normalization():
    parser = ArgumentParser(parser_mode="omegaconf")
    parser.add_subclass_arguments(ImageDataModule, "data")
    config = parser.parse_string(
        """
        data:
          class_path: camtrain.data.DecoyDigits
          init_args:
            mean: [0.1, 0.2, 0.3]
            train_transform:
            - class_path: torchvision.transforms.v2.CenterCrop
              init_args: {size: 40}
            - class_path: torchvision.transforms.v2.RandomHorizontalFlip
        """
    )
    data = parser.instantiate(config).data
    assert data.mean == (0.1, 0.2, 0.3)
    assert data.data_set("train")[0]["image"].shape == (3, 40, 40)
    assert data.data_set("val")[0]["image"].shape == (3, 64, 64)
