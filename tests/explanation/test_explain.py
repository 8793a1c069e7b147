"""`camtrain.explain`, as a script or a notebook calls it."""

from __future__ import annotations

import csv
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torch import Tensor, nn
from torchvision.transforms import v2

from camtrain.data import ImageFolderData
from camtrain.data.image_file_samples import ImageFile, ImageFileSamples
from camtrain.explanation import RUNNER_UP, explain
from camtrain.gradients import Against, Contrast
from camtrain.messages import CamtrainWarning
from camtrain.methods import METHODS, image_maps, method_named, normalized_maps
from camtrain.networks import LoadedNetwork
from camtrain.networks.preprocessing import GivenPreprocessing, plain_preprocessing, transform_preprocessing
from camtrain.pictures import overlay, shown_pixels
from camtrain.pictures.object_outline import OUTLINE_COLOR
from tests.small_networks import Red, flat_head, tiny

QUIET = {"progress": False}


def loaded(network: nn.Module, size: int = 16, class_names=None) -> LoadedNetwork:
    """A network that takes pixels as they are, of this size."""
    preprocessing = plain_preprocessing(GivenPreprocessing(size, (0, 0, 0), (1, 1, 1)))
    return LoadedNetwork(network, "small", preprocessing, class_names)


def picture(seed: int = 0, size: int = 16) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255


@pytest.fixture
def photos(tmp_path) -> Path:
    """Three photographs in a folder, and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        picture(number).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def maps(explanations) -> Tensor:
    return torch.stack([explanation.map for explanation in explanations])


def expected(count: int = 3, method: str = "grad_cam", **options) -> Tensor:
    """The maps of the first pictures."""
    made = method_named(method, tiny().eval(), **options)
    return torch.cat([normalized_maps(made, pixels(picture(number))[None]) for number in range(count)])


def assert_same(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize(
    "given",
    [
        lambda folder: folder,
        str,
        lambda folder: [folder / "0.png", str(folder)],
        lambda folder: (folder / f"{number}.png" for number in range(3)),
        lambda folder: [picture(number) for number in range(3)],
        lambda folder: [picture(0), folder / "1.png", picture(2)],
        lambda folder: torch.stack([pixels(picture(number)) for number in range(3)]),
    ],
    ids=["folder", "word", "file and folder", "generator", "pictures", "mixed", "tensor"],
)
def test_the_same_images_have_the_same_maps_whatever_they_come_in(photos, given):
    explanations = explain(loaded(tiny()), given(photos), **QUIET)
    assert len(explanations) == 3
    assert_same(maps(explanations), expected())


@pytest.mark.parametrize("given", [lambda: picture(), lambda: pixels(picture())], ids=["picture", "tensor"])
def test_a_single_image(given):
    (explanation,) = explain(loaded(tiny()), given(), **QUIET)
    assert_same(explanation.map[None], expected(1))
    assert (explanation.name, explanation.slug, explanation.path) == ("image 0", "image_0", None)


def test_files_keep_their_names_and_pictures_get_numbers(photos):
    picture().save(photos / "image_1.png")
    given = [photos / "0.png", picture(), photos / "image_1.png"]
    found = [(each.name, each.slug, each.path) for each in explain(loaded(tiny()), given, **QUIET)]
    assert found == [
        ("0.png", "0", photos / "0.png"),
        ("image 1", "image_1", None),
        ("image_1.png", "image_1.png", photos / "image_1.png"),
    ]


def test_any_module_is_explained():
    images = torch.stack([pixels(picture(number)) for number in range(3)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a tensor nothing has to be assumed
        assert_same(maps(explain(tiny(), images, **QUIET)), expected())
    with pytest.warns(CamtrainWarning, match="224 pixels and ImageNet's mean and std are assumed") as caught:
        explanations = explain(tiny(), picture(), **QUIET)
    assert [each.filename for each in caught] == [__file__]
    assert explanations[0].map.shape == (224, 224)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_pictures_are_turned_as_their_exif_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "a.png"
    picture().save(path, exif=exif)
    with Image.open(path) as opened:
        in_memory = explain(loaded(tiny()), opened, **QUIET)[0]
    of_file = explain(loaded(tiny()), path, **QUIET)[0]
    assert torch.equal(in_memory.picture, of_file.picture)
    turned = torch.rot90(pixels(picture()), {1: 0, 3: 2, 6: -1}[orientation], (1, 2))
    torch.testing.assert_close(of_file.picture, turned)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_pictures_of_all_modes_become_rgb(mode):
    (explanation,) = explain(loaded(tiny()), Image.new("RGB", (16, 16), "white").convert(mode), **QUIET)
    assert float(explanation.picture.min()) > 0.95


def test_a_transparent_palette_is_no_reason_to_warn():
    image = Image.new("P", (16, 16))
    image.info["transparency"] = b"\x00\x80"
    assert explain(loaded(tiny()), image, **QUIET)[0].picture.shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (3, TypeError, "`images`: expected paths, PIL images or a tensor, got int"),
        ([torch.rand(3, 8, 8)], TypeError, "`images`: expected paths, PIL images or a tensor, got a Tensor among them"),
        (torch.rand(2, 1, 8, 8), ValueError, r"`images`: expected a floating point tensor, .* shape \(2, 1, 8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), ValueError, r"`images`: .* got torch\.uint8 of shape \(3, 8, 8\)"),
        ("absent.png", FileNotFoundError, r"`images`: no such image: absent\.png"),
    ],
)
def test_what_is_no_image_is_named(images, error, message):
    with pytest.raises(error, match=message):
        explain(tiny(), images, **QUIET)


def test_a_picture_of_more_than_8_bits_is_named():
    with pytest.raises(ValueError, match="`images`: a picture of mode 'I;16' has more than 8 bits per channel"):
        explain(loaded(tiny()), Image.new("I;16", (16, 16)), **QUIET)[0]


def test_a_folder_without_an_image_is_named(tmp_path):
    with pytest.raises(ValueError, match="`images`: no image in the folder"):
        explain(tiny(), tmp_path, **QUIET)


def test_a_folder_may_be_left_out(photos):
    picture(5).save(photos / "a.png")
    (photos / "explained").mkdir()
    picture(6).save(photos / "explained/b.png")
    network = loaded(tiny())
    assert len(explain(network, photos, **QUIET)) == 5
    assert len(explain(network, photos, left_out=photos / "explained", **QUIET)) == 4
    with pytest.raises(ValueError, match=r"`left_out`: expected another folder than one of images, got .*photos"):
        explain(network, photos, left_out=str(photos), **QUIET)


# --------------------------------------------------------------------------------------------------- what is found


def test_the_map_is_where_the_network_looks():
    image = torch.zeros(3, 32, 32)
    image[0, 4:10, 20:30], image[1, 20:24, 2:8] = 1, 1
    explanations = explain(loaded(Red(), 32, ["red", "green"]), image, "grad_cam,input_x_gradient", **QUIET)
    (explanation,) = explanations
    torch.testing.assert_close(explanation.map, image[0])
    probabilities = torch.tensor([60 / 1024, 0.2 * 24 / 1024]).softmax(0)
    torch.testing.assert_close(explanation.probabilities, probabilities)
    assert (explanation.predicted_class, explanation.prediction) == (0, "red")
    assert explanation.score == pytest.approx(float(probabilities[0]))
    assert (explanation.question.kind, explanation.question.class_idx) == ("predicted class", 0)
    grad_cam, attribution = explanation.maps
    assert (grad_cam.method, grad_cam.gradient) == ("grad_cam", None)
    # The gradient times the image is the red channel too.
    torch.testing.assert_close(attribution.map, image[0])
    assert attribution.gradient.shape == (3, 32, 32)
    assert list(explanation.by_method) == ["grad_cam", "input_x_gradient"]
    assert explanations.used == {"grad_cam", "input_x_gradient"}


@pytest.mark.parametrize("method", ["occlusion", "gradient_shap", "rise", "input_gradient"])
def test_channels_are_reduced_as_a_method_says(method):
    """Of a method whose channels are summed, what speaks against the class is dark: the magnitude would be bright."""
    network = flat_head().eval()
    options = {"seed": 0} if method in ("gradient_shap", "rise") else {}
    (explanation,) = explain(loaded(network), picture(), methods=method, seed=0, **QUIET)
    assert_same(explanation.map[None], image_maps(network, pixels(picture())[None], method, **options))
    if method in ("occlusion", "gradient_shap"):
        tile = explanation.maps[0].tile(explanation.view)
        torch.testing.assert_close(tile.pixels, explanation.view.overlaid(explanation.map))


def test_another_class_by_name_or_number():
    image = torch.zeros(3, 32, 32)
    image[1, 20:24, 2:8] = 1
    for class_ in ("Green", 1, "1"):
        (explanation,) = explain(loaded(Red(), 32, ["red", "green"]), image, class_=class_, **QUIET)
        torch.testing.assert_close(explanation.map, image[1])
        assert explanation.question.kind == "chosen class"


def test_all_questions_are_answered_by_every_method():
    network = tiny().eval()
    image = pixels(picture())
    ranked = network(image[None])[0].argsort(descending=True).tolist()
    asked = {"top_k": 2, "counterfactual": True, "contrast": True}
    (explanation,) = explain(network, image, "grad_cam,input_gradient", **asked, **QUIET)
    questions = [ranked[0], ranked[1], Against(ranked[0]), Contrast(ranked[0], ranked[1])]
    grad_cam = method_named("grad_cam", network)
    for found, class_idx in zip(explanation.by_method["grad_cam"], questions, strict=True):
        assert_same(found.map[None], normalized_maps(grad_cam, image[None], class_idx))
    assert [each.question.slug for each in explanation.by_method["input_gradient"]] == [
        "", "top_2", "against", "contrast",
    ]  # fmt: skip
    named = explain(network, image, contrast=RUNNER_UP, **QUIET)[0].maps[1]
    assert torch.equal(named.map, explanation.by_method["grad_cam"][3].map)
    assert len(explain(network, image, contrast=False, **QUIET)[0].maps) == 1


def test_a_contrast_with_the_class_itself_has_no_map():
    (explanation,) = explain(loaded(Red(), 32), torch.rand(3, 32, 32), class_=0, contrast=0, **QUIET)
    assert explanation.maps[1].map is None
    assert explanation.maps[1].reason == "the class to contrast with is class 0 itself"


@pytest.mark.parametrize("methods", ["grad_cam", "smooth_grad", "score_cam,smooth_grad_cam_plus_plus"])
def test_explanations_are_the_same_when_made_again_alone_or_beside_others(photos, methods):
    how = {"methods": methods, "seed": 3, "num_channels": 2, **QUIET}
    explanations = explain(loaded(tiny()), photos, **how)
    first = list(explanations)
    for other in (
        list(explanations),
        [explanations[number] for number in (0, 1, 2)],
        [
            explain(loaded(tiny()), path, methods, seed=3, num_channels=2, **QUIET)[0]
            for path in sorted(photos.glob("*.png"))
        ],
    ):
        for one, another in zip(first, other, strict=True):
            assert all(torch.equal(a.map, b.map) for a, b in zip(one.maps, another.maps, strict=True))
    assert torch.equal(explanations[-1].map, first[2].map)


def test_noise_follows_the_seed():
    def noisy(seed):
        return explain(tiny(), pixels(picture()), "smooth_grad", seed=seed, **QUIET)[0].map

    assert torch.equal(noisy(0), noisy(0))
    assert not torch.equal(noisy(0), noisy(1))
    assert_same(noisy(5)[None], expected(1, "smooth_grad", seed=5))


def test_several_layers_are_fused_where_a_method_can():
    image = pixels(picture())
    explanations = explain(tiny(), image, "layer_cam,score_cam", target_layer="layer2, layer3", **QUIET)
    layer_cam, score_cam = explanations[0].maps
    assert_same(layer_cam.map[None], expected(1, "layer_cam", target_layer=["layer2", "layer3"]))
    assert score_cam.map is None
    assert "`target_layer`: ScoreCAM works on one layer, got 2" in explanations.reasons["score_cam"]


def test_all_methods_that_the_network_can_be_explained_by():
    (explanation,) = explain(tiny(), pixels(picture(size=8)), "all", num_channels=2, **QUIET)
    assert list(explanation.by_method) == [name for name in METHODS if name != "attention_map"]
    assert all(each.map is not None for each in explanation.maps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": "gradcam"}, "`methods`: none is called 'gradcam'"),
        ({"target_layer": "9"}, "no module is called '9'"),
        ({"class_": 5}, "`class_`: expected classes from 0 to 2, got 5"),
        ({"contrast": 5}, "`contrast`: expected classes from 0 to 2, got 5"),
        ({"class_": "cat"}, "`class_`: no class is called 'cat'; its classes have numbers only"),
        ({"top_k": 0}, "`top_k`: expected a positive integer, got 0"),
        ({"on_error": "stop"}, '`on_error`: expected "raise", "warn" or "skip", got \'stop\''),
        ({"network": nn.Linear(7, 2)}, "`size`: Linear cannot be run on images of 8×8 pixels"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        explain(**{"network": tiny(), "images": torch.rand(3, 8, 8)} | arguments, **QUIET)[0]


# ----------------------------------------------------------------------------------------- problems and warnings


def test_images_that_cannot_be_read_stop_it_or_are_skipped(photos):
    (photos / "1.png").write_bytes(b"no image")
    given = [photos, photos / "absent.png"]
    with pytest.raises(FileNotFoundError, match=r"`images`: no such image: .*absent\.png"):
        explain(loaded(tiny()), given, **QUIET)
    explanations = explain(loaded(tiny()), photos, **QUIET)
    assert_same(explanations[0].map[None], expected(1))  # nothing is read before it is asked for
    with pytest.raises(ValueError, match=r"cannot read the image .*1\.png"):
        list(explanations)
    with pytest.warns(CamtrainWarning, match="no such image"):
        explanations = explain(loaded(tiny()), given, on_error="warn", **QUIET)
    for _ in range(2):
        with pytest.warns(CamtrainWarning, match="cannot read the image"):
            assert [each.name for each in explanations] == ["0.png", "2.png"]
    absent, broken = explanations.problems
    assert (absent.startswith("no such image"), broken.startswith("cannot read the image")) == (True, True)
    silent = explain(loaded(tiny()), given, on_error="skip", **QUIET)
    assert len(list(silent)) == 2
    assert silent.problems == explanations.problems


def test_a_method_that_cannot_be_used_has_a_reason():
    explanations = explain(flat_head(), pixels(picture()), "cam,grad_cam,guided_backprop", **QUIET)
    (explanation,) = explanations
    assert [each.map is not None for each in explanation.maps] == [False, True, False]
    assert explanations.used == {"grad_cam"}
    assert "`target_layer`: expected a layer with 784 channels" in explanations.reasons["cam"]
    assert explanation.maps[2].reason == explanations.reasons["guided_backprop"]
    assert "no ReLU-like activation" in explanation.maps[2].reason
    assert explanation.map is None


def test_warnings_of_methods_name_the_image_and_maps_that_are_not_finite_are_none(photos, monkeypatch):
    def combine(_self, activations, _gradients):
        warnings.warn("that is odd", stacklevel=2)
        return activations.sum(dim=1) / 0

    monkeypatch.setattr(METHODS["grad_cam"], "combine", combine)
    explanations = explain(loaded(tiny()), photos / "0.png", **QUIET)
    with pytest.warns(CamtrainWarning, match=r"photos/0\.png, Grad-CAM: that is odd") as caught:
        assert explanations[0].map is None
    assert len(caught) == 1
    assert explanations.reasons == {"grad_cam": "the map is not finite"}


def test_the_network_is_left_as_found():
    network = tiny().train()
    network.layer2.eval()
    calls = []
    network.conv1.register_forward_hook(lambda *_: calls.append(1))
    modes = [module.training for module in network.modules()]
    hooks = [len(module._forward_hooks) for module in network.modules()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    list(explain(network, pixels(picture()), "grad_cam,guided_backprop,score_cam", **QUIET))
    assert calls
    with pytest.raises(ValueError, match="`class_`"):
        explain(network, pixels(picture()), class_=7, **QUIET)[0]
    assert [module.training for module in network.modules()] == modes
    assert [len(module._forward_hooks) for module in network.modules()] == hooks
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_bar_is_shown_only_if_asked_for(capsys):
    list(explain(tiny(), pixels(picture()), **QUIET))
    assert capsys.readouterr() == ("", "")
    list(explain(tiny(), pixels(picture()), progress=True))
    assert "explain" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------- pictures


def tile_of(path: Path, tile: int = 224) -> np.ndarray:
    return np.asarray(Image.open(path))[56 : 56 + tile, 8 : 8 + tile]


def test_an_explanation_is_saved_as_one_file_for_each_map(tmp_path):
    asked = {"methods": "grad_cam,input_gradient", "counterfactual": True}
    (explanation,) = explain(loaded(tiny()), picture(), **asked, **QUIET)
    paths = explanation.save(tmp_path / "out")
    names = ["image_0.grad_cam.png", "image_0.grad_cam.against.png"]
    names += ["image_0.input_gradient.png", "image_0.input_gradient.against.png"]
    assert [path.name for path in paths] == names
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(names)
    shown = shown_pixels(overlay(explanation.picture, explanation.map), 224)
    assert abs(tile_of(paths[0]).astype(int) - shown).max() <= 2
    assert explanation.save(tmp_path, "mine")[0].name == "mine.grad_cam.png"


def test_all_explanations_are_saved_with_contact_sheets(photos, tmp_path):
    explanations = explain(loaded(tiny()), photos, "grad_cam", counterfactual=True, **QUIET)
    saved = explanations.save(tmp_path / "out")
    files = {f"{number}.grad_cam{more}.png" for number in range(3) for more in ("", ".against")}
    sheets = {"contact_sheet.png", "contact_sheet_grad_cam.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == files | sheets | {"explanations.csv"}
    assert (len(saved), {path.name for path in saved.sheets}) == (3, sheets)
    first = explanations[0]
    (line,) = [line for line in saved.table().splitlines() if "0.png" in line]
    shown = f"{100 * first.score:.1f}"
    assert line.split()[-6:] == ["class", str(first.predicted_class), shown, "%", "0.*.png", "(2)"]
    assert "contact_sheet.png" in str(saved)


@pytest.mark.parametrize("name", ["contact_sheet.png", "0.grad_cam.png"])
def test_a_photograph_is_never_overwritten(photos, name):
    picture(7).save(photos / name)
    content = {path.name: path.read_bytes() for path in photos.iterdir()}
    with pytest.raises(ValueError, match=f"`folder`: .*{name} would be overwritten; choose another folder"):
        explain(loaded(tiny()), photos, **QUIET).save(photos)
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == content


def test_nothing_is_written_where_nothing_could_be_explained(photos, tmp_path):
    for path in photos.glob("*.png"):
        path.write_bytes(b"no image")
    saved = explain(loaded(tiny()), photos, on_error="skip", **QUIET).save(tmp_path / "out")
    assert (len(saved), (tmp_path / "out").exists()) == (0, False)


def test_a_figure_shows_the_image_and_its_maps(monkeypatch):
    shown = []
    monkeypatch.setattr("camtrain.explanation.explanation.show_pixels", shown.append)
    explanations = explain(loaded(tiny()), [picture(0), picture(1)], "grad_cam,layer_cam", **QUIET)
    figure = explanations[0].figure()
    image = figure.axes[0].images[0].get_array()
    assert image.shape == (40 + 248, 8 + 3 * 232, 3)
    explanation = explanations[0]
    np.testing.assert_array_equal(image[56:280, 8:232], shown_pixels(explanation.picture, 224))
    np.testing.assert_array_equal(
        image[56:280, 240:464], shown_pixels(overlay(explanation.picture, explanation.map), 224)
    )
    explanation.show()
    np.testing.assert_array_equal(shown.pop(), image)
    explanations.show()
    assert len(shown) == 2


def test_a_tensor_is_shown_as_the_network_s_preprocessing_says():
    preprocessing = plain_preprocessing(GivenPreprocessing(16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))
    network = replace(loaded(tiny()), preprocessing=preprocessing)
    image = pixels(picture())
    (known,) = explain(network, (image - 0.5) / 0.25, **QUIET)
    torch.testing.assert_close(known.picture, image)
    # Where nobody knows, from its minimum to its maximum.
    (unknown,) = explain(tiny(), 3 * image - 1, **QUIET)
    assert (float(unknown.picture.min()), float(unknown.picture.max())) == (0, 1)


# ------------------------------------------------------------------------------------------- photographs and objects


@pytest.fixture
def own_data(tmp_path):
    """Two photographs of 60×40 pixels with a box and a mask, a third without, and the data module that knows them."""
    root = tmp_path / "own"
    for number, name in enumerate(("cat", "dog", "=cow")):
        for split in ("train", "val", "test"):
            path = root / split / name / f"{number}.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    (root / "boxes.csv").write_text("path,x0,y0,x1,y1\ntrain/cat/0.png,12,4,40,30\n")
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[5:20, 10:30] = 255
    (root / "masks/train/dog").mkdir(parents=True)
    Image.fromarray(mask).save(root / "masks/train/dog/1.png")
    return root, ImageFolderData(
        str(root), image_size=16, boxes_csv=str(root / "boxes.csv"), masks_root=str(root / "masks")
    )


def test_maps_lie_over_the_photograph_at_its_own_size(own_data):
    """The network sees the middle 40 of 60 columns; what lies outside is pale and gray."""
    path = own_data[0] / "train/cat/0.png"
    (explanation,) = explain(loaded(tiny()), path, **QUIET)
    view = explanation.view
    assert (view.picture.shape, view.seen) == ((3, 40, 60), (10, 0, 50, 40))
    torch.testing.assert_close(view.picture, pixels(Image.open(path)))
    (panel,) = explanation.panels()
    image, tile = panel.tiles
    cam = torch.nn.functional.interpolate(explanation.map[None, None], size=(40, 40), mode="bilinear")[0, 0]
    torch.testing.assert_close(tile.pixels[:, :, 10:50], overlay(view.picture[:, :, 10:50], cam))
    torch.testing.assert_close(image.pixels[:, :, 10:50], view.picture[:, :, 10:50])
    for shown in (image.pixels, tile.pixels):
        outside = torch.cat([shown[:, :, :10], shown[:, :, 50:]], dim=2)
        assert float(outside.min()) > 0.6
        assert torch.equal(outside[0], outside[1])


def test_large_photographs_are_reduced_and_long_ones_cut_on_a_sheet(tmp_path):
    Image.new("RGB", (3000, 300), "red").save(tmp_path / "wide.png")
    (explanation,) = explain(loaded(tiny()), tmp_path / "wide.png", **QUIET)
    assert explanation.view.picture.shape == (3, 102, 1020)
    assert explanation.view.seen == pytest.approx((459, 0, 561, 102), abs=1)
    (panel,) = explanation.panels()
    assert [tile.pixels.shape for tile in panel.tiles] == [(3, 102, 204)] * 2
    assert explanation.view.within(2).seen == pytest.approx((51, 0, 153, 102), abs=1)


def test_a_part_that_cannot_be_told_is_not_guessed(tmp_path, own_data):
    """A network that sees a mirrored photograph gets the picture that it sees."""
    transform = [v2.Resize((16, 16)), v2.RandomHorizontalFlip(p=1.0)]
    network = replace(loaded(tiny()), preprocessing=transform_preprocessing(transform, (0, 0, 0), (1, 1, 1)))
    (explanation,) = explain(network, own_data[0] / "train/cat/0.png", data=own_data[1], **QUIET)
    assert torch.equal(explanation.view.picture, explanation.picture)
    assert explanation.view.outline is None
    assert explanation.label == "cat"


def test_boxes_masks_and_labels_of_the_data_are_shown(own_data, tmp_path):
    root, data = own_data
    picture(7).save(tmp_path / "other.png")
    images = [root / "train/cat/0.png", root / "train/dog/1.png", root / "train/=cow/2.png", tmp_path / "other.png"]
    explanations = explain(loaded(tiny(), class_names=["=x", "y", "z"]), images, "grad_cam", data=data, **QUIET)
    cat, dog, cow, other = explanations
    assert cat.view.outline.boxes_at(40, 60).tolist() == [[12, 4, 40, 30]]
    assert cat.view.outline.mask is None
    assert int(dog.view.outline.mask.sum()) == 15 * 20
    assert (cow.view.outline, other.view.outline) == (None, None)
    assert [each.label for each in explanations] == ["cat", "dog", "=cow", None]
    assert [tile.outline for tile in cat.panels()[0].tiles] == [cat.view.outline] * 2
    assert cat.panels()[0].tiles[0].title == "0.png\nlabel: cat"
    saved = explanations.save(tmp_path / "out")
    with saved.table_file.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [str(path) for path in images]
    assert [row["label"] for row in rows] == ["cat", "dog", "'=cow", ""]
    for row, each in zip(rows, explanations, strict=True):
        assert row["prediction"] == row["explained"] == ("'=x" if each.prediction == "=x" else each.prediction)
        assert float(row["probability"]) == pytest.approx(each.score, abs=1e-6)
        assert (row["method"], row["question"]) == ("grad_cam", "predicted class")
        assert (tmp_path / "out" / row["file"]).is_file()
    green = (np.asarray(Image.open(tmp_path / "out/0.grad_cam.png")) == OUTLINE_COLOR).all(axis=2)
    assert green.sum() > 500
    assert not (np.asarray(Image.open(tmp_path / "out/2.grad_cam.png")) == OUTLINE_COLOR).all(axis=2).any()


def test_all_classes_of_an_image_are_named(own_data):
    root, data = own_data
    path = root / "train/cat/0.png"

    class Several:
        class_names = data.class_names

        def samples(self, split):
            return ImageFileSamples([ImageFile(path, label=0, classes=(0, 2))], num_classes=3)

    (explanation,) = explain(loaded(tiny()), path, data=Several(), **QUIET)
    assert explanation.label == f"{data.class_names[0]}; {data.class_names[2]}"


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_boxes_and_masks_turn_with_their_photograph(own_data, orientation):
    root, _ = own_data
    data = ImageFolderData(
        str(root), 16, boxes_csv=str(root / "boxes.csv"), masks_root=str(root / "masks"), annotation_pixels="stored"
    )
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for name, (left, top, right, bottom) in (("cat/0", (12, 4, 40, 30)), ("dog/1", (10, 5, 30, 20))):
        image = Image.new("RGB", (60, 40))
        image.paste("white", (left, top, right, bottom))
        image.save(root / f"train/{name}.png", exif=exif)
        (explanation,) = explain(loaded(tiny()), root / f"train/{name}.png", data=data, **QUIET)
        view = explanation.view
        drawn = torch.zeros(view.picture.shape[1:], dtype=torch.bool)
        if name == "cat/0":
            ((x0, y0, x1, y1),) = view.outline.boxes.int().tolist()
            drawn[y0:y1, x0:x1] = True
        else:
            drawn = view.outline.mask
        assert torch.equal(drawn, view.picture[0] > 0.5)


def test_objects_that_cannot_be_read_are_named_and_the_image_is_explained(own_data):
    root, data = own_data
    (root / "masks/train/dog/1.png").write_bytes(b"no image")
    with pytest.warns(CamtrainWarning, match=r"boxes and mask of .*1\.png are not drawn: cannot read"):
        (explanation,) = explain(loaded(tiny()), root / "train/dog/1.png", data=data, **QUIET)
    assert (explanation.label, explanation.view.outline) == ("dog", None)
    (root / "boxes.csv").write_text("path,x0\n")
    data = ImageFolderData(str(root), image_size=16, boxes_csv=str(root / "boxes.csv"))
    with pytest.warns(CamtrainWarning, match="labels, boxes and masks are not shown: .*expected the header") as caught:
        explanations = list(explain(loaded(tiny()), root / "train", data=data, **QUIET))
    assert len(explanations) == 3
    assert len(caught) == 1


def test_all_methods_fit_on_a_sheet_that_can_be_read(tmp_path):
    """18 methods and the image in rows of five: a sheet 8 + 5 · 200 pixels wide, whose rows have titles."""
    explanations = explain(loaded(tiny(), 4), picture(size=4), "all", num_channels=1, max_batch=64, **QUIET)
    tiles = len(explanations[0].by_method) + 1
    saved = explanations.save(tmp_path)
    assert [path.name for path in saved.sheets] == ["contact_sheet.png"]
    with Image.open(saved.sheets[0]) as sheet:
        assert sheet.width == 8 + 5 * 200
        assert -(-tiles // 5) * 216 < sheet.height < -(-tiles // 5) * 250
    rows = explanations[0].sheet_rows()[""]
    assert rows[0].title == f"image 0\npredicted class: {explanations[0].question.title}"
    assert {tile.title for tile in rows[1:]} <= {"", "(flat map)", "(zero)"}


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_table_of_what_was_saved_fits(own_data, tmp_path, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    deep = tmp_path / "a long name of a folder" / "and one more with some words"
    deep.mkdir(parents=True)
    picture(1).save(deep / "a photograph with a long name.png")
    names = ["the name of a class that is too long for any table"] * 3
    methods = "grad_cam,layer_cam,eigen_cam"
    saved = explain(loaded(tiny(), class_names=names), deep, methods, counterfactual=True, **QUIET).save(
        tmp_path / "out"
    )
    lines = str(saved).replace(str(tmp_path), "").splitlines()
    assert max(map(len, lines)) <= width
    assert "a long name.png" in lines[2]
