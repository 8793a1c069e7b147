from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from scipy.stats import chi2_contingency, chisquare
from torchvision import tv_tensors
from torchvision.transforms import v2

from camtrain.data import CIFAR10, DecoyDigits, ImageDataModule, OxfordPet, PlantDecoy
from camtrain.data.plant_decoy import class_bars, class_color

GRAY = 100


def sample(label=0, size=(8, 10), mask=None, gray=GRAY):
    made = {"image": tv_tensors.Image(torch.full((3, *size), gray, dtype=torch.uint8)), "label": label}
    if mask is not None:
        made["mask"] = tv_tensors.Mask(mask)
    return made


def noise(count, size=(8, 8)):
    return np.random.default_rng(0).integers(0, 256, size=(count, 3, *size), dtype=np.uint8)


def rows(mask):
    return ["".join(".#"[int(pixel)] for pixel in row) for row in mask.tolist()]


def test_colors_of_classes_by_hand():
    assert [class_color(label, 6) for label in range(6)] == [
        (255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255),
    ]  # fmt: skip
    assert len({class_color(label, 100) for label in range(100)}) == 100


def test_bars_tell_classes_apart():
    assert rows(class_bars(0, 10, 8)[None]) == ["......##"]  # 0001
    assert rows(class_bars(9, 10, 8)[None]) == ["##..##.."]  # 1010
    assert rows(class_bars(6, 10, 4)[None]) == [".###"]  # 0111
    for width in (7, 9, 20):
        assert len({tuple(class_bars(label, 100, width).tolist()) for label in range(100)}) == 100
    assert all(class_bars(label, 100, 7).any() for label in range(100))


@pytest.mark.parametrize("place", ["top_left", "top_right", "bottom_left", "bottom_right"])
def test_patch_in_a_corner(place):
    planted = PlantDecoy(num_classes=6, size=0.5, place=place)(sample(label=1, size=(6, 10)))
    is_decoy = ~planted["mask"].as_subclass(torch.Tensor)
    top, left = place.startswith("top"), place.endswith("left")
    expected = torch.zeros(6, 10, dtype=torch.bool)  # the side is 3, half of the shorter one
    expected[slice(0, 3) if top else slice(3, 6), slice(0, 3) if left else slice(7, 10)] = True
    assert torch.equal(is_decoy, expected)
    assert torch.equal(planted["image"][:, is_decoy], torch.tensor([[255], [255], [0]]).expand(3, 9).byte())
    assert (planted["image"][:, ~is_decoy] == GRAY).all()


def test_border_by_hand():
    planted = PlantDecoy(num_classes=3, kind="border", size=0.25)(sample(label=1))
    assert rows(planted["mask"]) == ["." * 10] * 2 + ["..######.."] * 4 + ["." * 10] * 2
    expected = torch.full((3, 8, 10), GRAY, dtype=torch.uint8)
    expected[:, ~planted["mask"].as_subclass(torch.Tensor)] = torch.tensor([[0], [255], [0]], dtype=torch.uint8)
    assert torch.equal(planted["image"].as_subclass(torch.Tensor), expected)


def test_watermark_by_hand():
    plant = PlantDecoy(num_classes=5, kind="watermark", size=0.75, place="bottom_right", strength=0.5)
    planted = plant(sample(label=4))  # 101, in 6 pixels
    assert rows(planted["mask"]) == ["#" * 10] * 2 + ["####......"] * 6
    assert rows(planted["image"][0] != GRAY) == ["." * 10] * 2 + ["....##..##"] * 6
    assert set(planted["image"].unique().tolist()) == {100, 178}  # 100 + (255 - 100) / 2 = 177.5, to even


@pytest.mark.parametrize(("strength", "red", "green"), [(0, 100, 100), (0.2, 131, 80), (0.5, 178, 50), (1, 255, 0)])
def test_strength_is_opacity_and_leaves_the_mask(strength, red, green):
    planted = PlantDecoy(num_classes=4, size=0.25, strength=strength, place="top_left")(sample())
    assert planted["image"][:, 0, 0].tolist() == [red, green, green]
    assert planted["image"][:, 2, 2].tolist() == [GRAY] * 3
    assert int((~planted["mask"]).sum()) == 4


def test_decoy_is_taken_out_of_a_known_mask_and_an_unknown_one_becomes_all_else():
    plant = PlantDecoy(num_classes=4, size=0.25, place="top_left")
    mask = torch.zeros(8, 10, dtype=torch.bool)
    assert int(plant(sample(mask=mask))["mask"].sum()) == 80 - 4
    mask[1:4, 1:5] = True
    planted = plant(sample(mask=mask))
    expected = mask.clone()
    expected[1, 1] = False
    assert torch.equal(planted["mask"].as_subclass(torch.Tensor), expected)
    assert isinstance(planted["mask"], tv_tensors.Mask)
    assert planted["mask"].dtype == torch.bool
    assert mask[1, 1]  # the source is left as it was


def test_source_and_generator_are_left_as_they_were():
    source = sample(label=2)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    planted = PlantDecoy(num_classes=4, label="random", place="anywhere")(source)
    assert torch.equal(torch.get_rng_state(), state)
    assert (source["image"] == GRAY).all()
    assert "mask" not in source
    assert planted["label"] == 2


def shown_classes(plant, images, labels):
    """The classes whose color is in the top left corner."""
    colors = [class_color(label, plant.num_classes) for label in range(plant.num_classes)]
    planted = [
        plant({"image": tv_tensors.Image(torch.from_numpy(i)), "label": k}) for i, k in zip(images, labels, strict=True)
    ]
    return [colors.index(tuple(one["image"][:, 0, 0].tolist())) for one in planted]


def test_true_label_is_shown_and_a_random_one_says_nothing():
    images = noise(2000)
    labels = np.random.default_rng(1).integers(5, size=2000).tolist()
    assert shown_classes(PlantDecoy(5, place="top_left"), images[:50], labels[:50]) == labels[:50]
    plant = PlantDecoy(5, place="top_left", label="random")
    shown = shown_classes(plant, images, labels)
    table = np.zeros((5, 5), dtype=int)
    np.add.at(table, (labels, shown), 1)
    assert chi2_contingency(table).pvalue > 0.01
    assert chisquare(table.sum(0)).pvalue > 0.01
    # It follows from the pixels alone, and from the seed.
    assert shown_classes(plant, images[:200], [0] * 200) == shown[:200]
    assert (
        shown_classes(PlantDecoy(5, place="top_left", label="random", seed=1), images[:200], labels[:200])
        != shown[:200]
    )


def test_random_corners_are_all_as_likely_and_anywhere_is_anywhere():
    images = noise(2000)

    def places(place, label="true"):
        plant = PlantDecoy(2, size=0.25, place=place, label=label)
        masks = [plant({"image": tv_tensors.Image(torch.from_numpy(i)), "label": 0})["mask"] for i in images]
        return torch.stack([~mask.as_subclass(torch.Tensor) for mask in masks])

    corners = places("random_corner")
    counts = corners[:, [0, 0, -1, -1], [0, -1, 0, -1]].sum(0)
    assert counts.sum() == 2000
    assert chisquare(counts.numpy()).pvalue > 0.01
    assert torch.equal(places("random_corner", label="random"), corners)
    anywhere = places("anywhere")
    assert set(anywhere.sum((1, 2)).tolist()) == {4}
    starts = anywhere.flatten(1).float().argmax(1)
    assert chisquare(np.bincount(starts, minlength=64).reshape(8, 8)[:7, :7].ravel()).pvalue > 0.01
    assert len(starts.unique()) == 49


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"num_classes": 1}, "`num_classes`: expected an integer of at least 2, got 1"),
        ({"kind": "cross"}, "`kind`: expected one of patch, watermark, border, got 'cross'"),
        ({"size": 0}, "`size`: expected more than 0 and less than 1 for a patch, got 0"),
        ({"size": 0.5, "kind": "border"}, "`size`: expected more than 0 and less than 0.5 for a border, got 0.5"),
        ({"strength": 1.5}, r"`strength`: expected a fraction in \[0, 1\], got 1.5"),
        ({"label": "false"}, "`label`: expected true or random, got 'false'"),
        ({"place": "left"}, "`place`: expected one of random_corner, .* got 'left'"),
        ({"place": "top_left", "kind": "border"}, "`place`: a border is all around; .* got top_left"),
        ({"seed": -1}, "`seed`: expected an integer of at least 0, got -1"),
    ],
)
def test_arguments_out_of_range(argument, message):
    with pytest.raises(ValueError, match=message):
        PlantDecoy(**{"num_classes": 3, **argument})


def test_inputs_that_are_no_samples():
    plant = PlantDecoy(num_classes=3, size=0.2)
    for wrong in (sample()["image"], {"image": sample()["image"]}, {"image": "a.png", "label": 1}):
        with pytest.raises(TypeError, match=r"expected a sample, a dict .* `extra_train_transform`"):
            plant(wrong)
    with pytest.raises(TypeError, match=r"`image`: expected \(C, H, W\), uint8 or floating point, got"):
        plant({**sample(), "image": torch.zeros(3, 8, 10, dtype=torch.int64)})
    with pytest.raises(ValueError, match=r"`label`: expected 0 to 2 .* got 3"):
        plant(sample(label=3))
    with pytest.raises(ValueError, match="`size`: a watermark that tells 9 classes apart is at least 4 pixels wide"):
        PlantDecoy(num_classes=9, kind="watermark", size=0.3)(sample())
    with pytest.raises(ValueError, match=r"`size`: 0.95 leaves nothing of an image of 8x8"):
        PlantDecoy(num_classes=3, size=0.95)(sample(size=(8, 8)))


@pytest.mark.parametrize(
    ("channels", "label", "color"), [(1, 0, [0]), (1, 2, [255]), (2, 1, [128, 128]), (5, 1, [0, 255, 0, 0, 255])]
)
def test_other_numbers_of_channels(channels, label, color):
    plant = PlantDecoy(num_classes=3, size=0.5, place="top_left")
    image = torch.full((channels, 4, 4), 51, dtype=torch.uint8)
    planted = plant({"image": tv_tensors.Image(image), "label": label})["image"]
    assert planted[:, 0, 0].tolist() == color
    assert planted[:, 3, 3].tolist() == [51] * channels
    in_fractions = plant({"image": tv_tensors.Image(image / 255), "label": label})["image"]
    assert in_fractions[:, 0, 0].tolist() == pytest.approx([value / 255 for value in color])
    half = PlantDecoy(num_classes=3, size=0.5, strength=0.5, place="top_left")
    mixed = half({"image": tv_tensors.Image(image / 255), "label": label})["image"]
    assert mixed[:, 0, 0].tolist() == pytest.approx([(value + 51) / 2 / 255 for value in color])


def planted_cifar(root, **kwargs):
    return CIFAR10(
        root=str(root),
        batch_size=10,
        extra_train_transform=[PlantDecoy(num_classes=10, size=0.2)],
        extra_eval_transform=[PlantDecoy(num_classes=10, size=0.2, label="random")],
        **kwargs,
    )


def test_any_data_module_gets_a_shortcut_and_masks(fake_cifar10):
    data = planted_cifar(fake_cifar10)
    assert not data.has_masks
    assert [data.batches_have_masks(split) for split in ("train", "val", "test")] == [True] * 3
    assert not CIFAR10(root=str(fake_cifar10)).batches_have_masks("train")
    torch.manual_seed(0)
    batch = next(iter(data.train_dataloader()))
    pictures = (data.denormalize(batch.images) * 255).round().long()
    assert batch.masks.shape == (10, 32, 32)
    for picture, label, mask in zip(pictures, batch.labels.tolist(), batch.masks, strict=True):
        assert int((~mask).sum()) == 36  # 0.2 · 32 is 6 pixels; not cropped, since it is planted after the crop
        assert torch.equal(picture[:, ~mask], torch.tensor(class_color(label, 10))[:, None].expand(3, 36))


def test_evaluation_is_the_same_in_workers_and_runs(fake_cifar10):
    mine = list(planted_cifar(fake_cifar10).test_dataloader())
    again = list(planted_cifar(fake_cifar10, num_workers=2).test_dataloader())
    for one, other in zip(mine, again, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.masks, other.masks)


def test_annotated_fraction_hides_planted_masks_too(fake_cifar10):
    data = planted_cifar(fake_cifar10, annotated_fraction=0.1)
    known = [bool(data.data_set("train")[index]["mask"].any()) for index in range(450)]
    assert sum(known) == 45
    images = [data.data_set("train")[index]["image"].shape for index in range(3)]
    assert images == [(3, 32, 32)] * 3
    assert all(bool(data.data_set("val")[index]["mask"].any()) for index in range(50))


def test_pets_keep_boxes_and_lose_the_decoy_from_their_masks(fake_oxford_pet):
    clean = OxfordPet(root=str(fake_oxford_pet), image_size=32)
    plant = PlantDecoy(num_classes=3, kind="border", size=0.2)
    data = OxfordPet(root=str(fake_oxford_pet), image_size=32, extra_eval_transform=[plant])
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[6:26, 6:26] = True
    seen = 0
    for index in range(1, 10):
        before, after = clean.data_set("test")[index], data.data_set("test")[index]
        expected = before["mask"].as_subclass(torch.Tensor) & inside
        seen += int(not torch.equal(expected, before["mask"].as_subclass(torch.Tensor)))
        assert torch.equal(after["mask"].as_subclass(torch.Tensor), expected)
        assert torch.equal(after["boxes"], before["boxes"])
    assert seen > 0


def test_digits_with_two_decoys():
    plant = PlantDecoy(num_classes=10, size=0.3)
    data, clean = DecoyDigits(extra_eval_transform=[plant]), DecoyDigits()
    for index in range(5):
        before, after = clean.data_set("val")[index], data.data_set("val")[index]
        changed = (after["image"] != before["image"]).any(0)
        assert changed.any()
        assert not (changed & after["mask"]).any()
        assert (before["mask"] | ~after["mask"]).all()


def test_masks_are_found_inside_of_other_transforms():
    nested = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomApply([PlantDecoy(num_classes=10)])])
    assert DecoyDigits(train_transform=[nested]).batches_have_masks("train")
    data = CIFAR10(train_transform=[nested])
    assert data.batches_have_masks("train")
    assert not data.batches_have_masks("val")


def test_yaml_plants_a_decoy_after_the_default_transforms(fake_cifar10):
    parser = ArgumentParser(parser_mode="omegaconf")
    parser.add_subclass_arguments(ImageDataModule, "data")
    config = parser.parse_string(
        f"""
        data:
          class_path: camtrain.data.CIFAR10
          init_args:
            root: {fake_cifar10}
            extra_train_transform:
            - class_path: camtrain.data.PlantDecoy
              init_args: {{num_classes: 10, kind: watermark, size: 0.25, strength: 0.8}}
            extra_eval_transform:
            - class_path: camtrain.data.PlantDecoy
              init_args: {{num_classes: 10, kind: watermark, size: 0.25, strength: 0.8, label: random}}
        """
    )
    data = parser.instantiate(config).data
    assert int((~data.data_set("train")[0]["mask"]).sum()) == 64
    assert [type(transform).__name__ for transform in data.transform_of("train")] == [
        "RandomCrop", "RandomHorizontalFlip",
    ]  # fmt: skip
    pickle.dumps(data.data_set("test"))
