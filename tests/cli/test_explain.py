"""`camtrain explain` from end to end, as a user sees it."""

from __future__ import annotations

import shutil
import sys
import warnings
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from camtrain.cli import explain as command
from camtrain.cli import main
from camtrain.explanation import RUNNER_UP
from camtrain.gradients import Against
from camtrain.loading import load_network
from camtrain.methods import METHODS, method_named, normalized_maps
from camtrain.pictures import gradient_picture, overlay, shown_pixels
from tests import small_networks

RED = ["--images", "a.png", "--network", "my_code.Red"]
PLAIN = ["--mean", "0", "0", "0", "--std", "1", "1", "1"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder, with networks of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    Path("my_code.py").write_text(Path(small_networks.__file__).read_text())
    return tmp_path


@pytest.fixture
def explain(capsys):
    """Runs `camtrain explain <words>`; the exit status, what it printed and what it said on stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        status = 0
        try:
            main(["explain", *words])
        except SystemExit as stop:
            status = stop.code
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def photo(name: str, size=(32, 32), seed=0) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def square_photo(name: str) -> torch.Tensor:
    """A red square at rows 4 to 9 and columns 20 to 29 of a black image, with some green elsewhere; (3, 32, 32)."""
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    pixels[4:10, 20:30, 0] = 255
    pixels[20:24, 2:8, 1] = 255
    Image.fromarray(pixels).save(name)
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


def pixels_of(path: str) -> np.ndarray:
    return np.asarray(Image.open(path))


def tile_of(path: str, column: int = 0, row: int = 0, tile: int = 224) -> np.ndarray:
    """The tile of a sheet."""
    top, left = 40 + row * (16 + tile + 8) + 16, 8 + column * (tile + 8)
    return pixels_of(path)[top : top + tile, left : left + tile]


def sheet_tile(path: str, column: int, columns: int, tile: int = 192) -> np.ndarray:
    """The tile of the last row of a sheet: below it there is a gap, and the titles above may take several lines."""
    pixels = pixels_of(path)
    assert pixels.shape[1] == 8 + columns * (tile + 8)
    left = 8 + column * (tile + 8)
    return pixels[-8 - tile : -8, left : left + tile]


def written(folder: str = "explained") -> set[str]:
    """The pictures; the table beside them has a test of its own."""
    assert (Path(folder) / "explanations.csv").is_file()
    return {path.name for path in Path(folder).iterdir()} - {"explanations.csv"}


def test_an_overlay_is_where_the_map_is(explain):
    picture = square_photo("a.png")
    network = ["--network", "my_code.Red", "--size", "32", *PLAIN]
    status, out, err = explain("--images", "a.png", *network, "--methods", "grad_cam,input_x_gradient")
    assert status == 0
    assert "warning" not in err
    expected = shown_pixels(overlay(picture, picture[0]), 224)
    np.testing.assert_array_equal(tile_of("explained/a.grad_cam.png"), expected)
    hot = expected[7 * 6, 7 * 25].astype(int), expected[7 * 22, 7 * 4].astype(int)
    assert hot[0][0] > hot[1][0] + 20  # red on the square, and not elsewhere, be it green or not
    assert hot[0][2] < hot[1][2] - 20
    # The gradient times the image is the red channel too; it has a sign, and is a map like others.
    np.testing.assert_array_equal(tile_of("explained/a.input_x_gradient.png"), expected)
    sheet = "explained/contact_sheet.png"
    np.testing.assert_array_equal(sheet_tile(sheet, 0, 3), shown_pixels(picture, 192))
    np.testing.assert_array_equal(sheet_tile(sheet, 1, 3), shown_pixels(overlay(picture, picture[0]), 192))
    assert written() == {"a.grad_cam.png", "a.input_x_gradient.png", "contact_sheet.png"}
    (line,) = [line for line in out.splitlines() if line.startswith("a.png")]
    probability = torch.tensor([60 / 1024, 0.2 * 24 / 1024]).softmax(0)[0]
    assert line.split() == ["a.png", "class", "0", f"{100 * probability:.1f}", "%", "a.*.png", "(2)"]


def test_maps_as_arrays(explain):
    picture = square_photo("a.png")
    network = ["--network", "my_code.Red", "--size", "32", *PLAIN]
    status, out, _ = explain("--images", "a.png", *network, "--methods", "grad_cam", "--class", "0", "--arrays")
    assert status == 0
    assert written() == {"a.grad_cam.png", "a.grad_cam.npy", "contact_sheet.png"}
    assert "(1)" in out
    np.testing.assert_allclose(np.load("explained/a.grad_cam.npy"), picture[0].numpy(), atol=1e-6)
    Path("explained/a.grad_cam.npy").unlink()
    assert explain("--images", "a.png", *network, "--methods", "grad_cam")[0] == 0
    assert written() == {"a.grad_cam.png", "contact_sheet.png"}


def test_all_methods(explain, folder):
    photo("a.png", (8, 8))
    words = [
        "--network",
        "my_code.tiny",
        "--size",
        "8",
        *PLAIN,
        "--seed",
        "5",
        "--max_batch",
        "64",
        "--num_channels",
        "2",
    ]
    status, _, err = explain("--images", "a.png", *words, "--methods", "all")
    assert status == 0
    assert "cannot be used" not in err
    # The network has no attention head; that its map is not there is no failure where all are asked for.
    names = [name for name in METHODS if name != "attention_map"]
    assert written() == {"contact_sheet.png", *(f"a.{name}.png" for name in names)}
    loaded = load_network(name="my_code.tiny")
    picture = torch.from_numpy(pixels_of("a.png").copy()).permute(2, 0, 1) / 255
    for name in names:
        if name not in ("cam", "x_grad_cam", "layer_cam", "score_cam", "guided_grad_cam", "smooth_grad"):
            continue
        method = method_named(name, loaded.network, seed=5, num_channels=2)
        if "cam" in name and name != "guided_grad_cam":
            expected = overlay(picture, normalized_maps(method, picture[None])[0])
        else:
            expected = gradient_picture(method(picture[None])[0])
        found = tile_of(f"explained/a.{name}.png").astype(int)
        # The last bit of a sum may round a color the other way.
        assert abs(found - shown_pixels(expected, 224)).max() <= 2, name


def test_the_map_of_an_attention_head(explain):
    photo("a.png", (16, 16))
    words = ["--images", "a.png", "--size", "16", *PLAIN, "--methods"]
    status, _, _ = explain(*words, "all", "--network", "my_code.attended", "--num_channels", "2")
    assert status == 0
    # All but the one that takes its linear layer for that of the average of what it attends.
    assert written() == {"contact_sheet.png", *(f"a.{name}.png" for name in METHODS if name != "cam")}
    network = load_network(name="my_code.attended").network
    picture = torch.from_numpy(pixels_of("a.png").copy()).permute(2, 0, 1) / 255
    expected = overlay(picture, normalized_maps(method_named("attention_map", network), picture[None])[0])
    found = tile_of("explained/a.attention_map.png").astype(int)
    assert abs(found - shown_pixels(expected, 224)).max() <= 2
    # Asked for by its name where there is none, it is a failure that says what to do.
    status, _, err = explain(*words, "attention_map", "--network", "my_code.tiny")
    assert status == 1
    assert "attention map cannot be used here: `network`: CIFARResNet has no attention head" in err


def test_questions(explain):
    photo("a.png", (16, 16))
    words = ["--network", "my_code.tiny", "--size", "16", *PLAIN]
    status, _, _ = explain(
        "--images", "a.png", *words, "--methods", "grad_cam,input_gradient", "--top_k", "2", "--counterfactual",
        "--contrast",
    )  # fmt: skip
    assert status == 0
    names = ["", ".top_2", ".against", ".contrast"]
    overlays = {f"a.{method}{name}.png" for method in ("grad_cam", "input_gradient") for name in names}
    sheets = {"contact_sheet.png", "contact_sheet_grad_cam.png", "contact_sheet_input_gradient.png"}
    assert written() == overlays | sheets
    loaded = load_network(name="my_code.tiny")
    picture = torch.from_numpy(pixels_of("a.png").copy()).permute(2, 0, 1) / 255
    ranked = loaded.network(picture[None])[0].argsort(descending=True)
    grad_cam = method_named("grad_cam", loaded.network)
    asked = {"": ranked[0], ".top_2": ranked[1], ".against": Against(int(ranked[0]))}
    for column, (name, class_idx) in enumerate(asked.items(), start=1):
        class_idx = class_idx if isinstance(class_idx, Against) else int(class_idx)
        expected = overlay(picture, normalized_maps(grad_cam, picture[None], class_idx)[0])
        found = sheet_tile(f"explained/a.grad_cam{name}.png", 0, 1, tile=224).astype(int)
        assert abs(found - shown_pixels(expected, 224)).max() <= 2
        found = sheet_tile("explained/contact_sheet_grad_cam.png", column, 5).astype(int)
        assert abs(found - shown_pixels(expected, 192)).max() <= 2


def test_a_contrast_with_the_class_itself_says_so(explain):
    square_photo("a.png")
    words = ["--network", "my_code.Red", "--size", "32", *PLAIN, "--contrast", "0"]
    status, _, _ = explain("--images", "a.png", *words)
    assert status == 0
    assert written() == {"a.grad_cam.png", "contact_sheet.png", "contact_sheet_grad_cam.png"}
    note = sheet_tile("explained/contact_sheet_grad_cam.png", 2, 3)
    assert (note == 217).all(axis=2).mean() > 0.6
    assert note.min() < 100


def test_a_method_that_cannot_be_used_is_named(explain):
    photo("a.png", (16, 16))
    words = ["--images", "a.png", "--network", "my_code.flat_head", "--size", "16", *PLAIN]
    status, out, err = explain(*words, "--methods", "cam,grad_cam,guided_backprop")
    assert status == 0
    assert "warning: CAM cannot be used here: --target_layer: expected a layer with 784 channels" in err
    (line,) = [line for line in err.splitlines() if "guided backprop cannot be used here" in line]
    assert "no ReLU-like activation" in line
    assert written() == {"a.grad_cam.png", "contact_sheet.png"}
    for column, has_map in ((1, False), (2, True), (3, False)):
        gray = (sheet_tile("explained/contact_sheet.png", column, 4) == 217).all(axis=2).mean()
        assert (gray < 0.1) == has_map
    status, out, err = explain(*words, "--methods", "cam", "--out", "other")
    assert status == 1
    assert "error: CAM cannot be used here" in err
    assert "a.*.png (0)" in out


def test_unreadable_files_are_named_and_the_others_done(explain):
    photo("photos/good.png")
    Path("photos/bad.jpg").write_bytes(b"no image")
    words = ["--network", "my_code.Red", "--size", "16", *PLAIN]
    status, out, err = explain("--images", "photos", "absent.png", *words)
    assert status == 1
    assert "cannot read the image photos/bad.jpg" in err
    assert "error: no such image: absent.png" in err
    assert written() == {"good.grad_cam.png", "contact_sheet.png"}
    assert "photos/good.png" in out
    status, out, err = explain("--images", "photos/bad.jpg", *words, "--out", "nothing")
    assert status == 1
    assert err.splitlines()[-1].startswith("camtrain explain: error: cannot read the image photos/bad.jpg")
    assert not out
    Path("empty").mkdir()
    status, _, err = explain("--images", "empty", *words)
    assert status == 1
    assert "error: no image in the folder empty" in err
    assert not Path("nothing").exists()


def test_files_of_one_name_have_different_outputs_and_others_stay(explain):
    for number, name in enumerate(("one/a.png", "two/a.png", "two/b.jpg")):
        photo(name, seed=number)
    Path("out").mkdir()
    Path("out/mine.txt").write_text("kept")
    Path("out/b.grad_cam.png").write_bytes(b"of an earlier run")
    status, _, _ = explain("--images", "one", "two", "--network", "my_code.Red", "--size", "16", *PLAIN, "--out", "out")
    assert status == 0
    assert written("out") == {
        "one-a.grad_cam.png", "two-a.grad_cam.png", "b.grad_cam.png", "contact_sheet.png", "mine.txt",
    }  # fmt: skip
    assert Path("out/mine.txt").read_text() == "kept"
    assert tile_of("out/b.grad_cam.png").shape == (224, 224, 3)
    assert not np.array_equal(tile_of("out/one-a.grad_cam.png"), tile_of("out/two-a.grad_cam.png"))
    again = ["--images", "out", "--network", "my_code.Red", "--out", "out"]
    assert "--out: expected another folder" in explain(*again)[2]


@pytest.mark.parametrize("name", ["contact_sheet.png", "a.grad_cam.png"])
def test_a_photo_is_never_overwritten(explain, name):
    content = photo("a.png").read_bytes(), photo(name).read_bytes()
    words = ["--images", "a.png", name, "--network", "my_code.Red", "--out", "."]
    status, _, err = explain(*words)
    assert status == 2
    assert f"--out: {name} would be overwritten" in err
    assert (Path("a.png").read_bytes(), Path(name).read_bytes()) == content


def test_many_images_have_several_sheets(explain, monkeypatch):
    monkeypatch.setattr("camtrain.explanation.contact_sheets.ROWS", 2)
    for number in range(3):
        photo(f"photos/{number:02}.png", seed=number)
    explain("--images", "photos", "--network", "my_code.Red", "--size", "16", *PLAIN)
    assert {"contact_sheet.png", "contact_sheet_page_2.png"} < written()
    first, second = (pixels_of(f"explained/contact_sheet{page}.png") for page in ("", "_page_2"))
    assert first.shape[1] == second.shape[1] == 8 + 2 * 200
    assert 200 < first.shape[0] - second.shape[0] < 300, "one row more"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run of `camtrain fit` of one step."""
    folder = tmp_path_factory.mktemp("fit")
    (folder / "small.yaml").write_text("""
model: {network: {class_path: camtrain.networks.CIFARResNet, init_args: {depth: 8, width: 4, stem_stride: 2}}}
data: {class_path: DecoyDigits, init_args: {batch_size: 4, mean: [0.3, 0.2, 0.1]}}
trainer: {max_epochs: 1, limit_train_batches: 1, limit_val_batches: 1, accelerator: cpu, enable_progress_bar: false}
run: {wandb: disabled, test: false}
cam_logger: {num_images: 0}
""")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["fit", "--config", "small.yaml"]
        patch.setattr(sys, "argv", ["camtrain", *words])
        main()
    return folder / "runs/small/version_0"


def test_a_run_of_camtrain_fit(explain, run_folder):
    photo("a.jpg", (100, 80))
    status, out, err = explain("--images", "a.jpg", "--checkpoint", str(run_folder / "checkpoints/last.ckpt"))
    assert status == 0
    assert "warning" not in err
    loaded = load_network(run_folder / "checkpoints/last.ckpt")
    assert tuple(loaded.preprocessing.mean) == (0.3, 0.2, 0.1)
    image = loaded.input(Image.open("a.jpg"))
    assert image.shape == (1, 3, 64, 64)
    probabilities = loaded.probabilities(image)
    (line,) = [line for line in out.splitlines() if line.startswith("a.jpg")]
    assert line.split()[1:4] == [str(int(probabilities.argmax())), f"{100 * float(probabilities.max()):.1f}", "%"]
    expected = normalized_maps(method_named("grad_cam", loaded.network), image)[0]
    # Over the photograph at its own size, three times as large: 80 columns and the middle 80 of 100 rows.
    picture = torch.from_numpy(pixels_of("a.jpg").copy()).permute(2, 0, 1) / 255
    cam = torch.nn.functional.interpolate(expected[None, None], size=(80, 80), mode="bilinear")[0, 0]
    found = pixels_of("explained/a.grad_cam.png")[-8 - 300 : -8, 8 : 8 + 240].astype(int)
    assert abs(found[30:270] - shown_pixels(overlay(picture[:, 10:90], cam), 224)).max() <= 2


def test_a_checkpoint_that_was_moved_and_its_configuration(explain, run_folder):
    photo("a.png")
    shutil.copy(run_folder / "checkpoints/last.ckpt", "moved.ckpt")
    status, _, err = explain("--images", "a.png", "--checkpoint", "moved.ckpt")
    assert status == 0
    assert "warning: nothing says how images are normalized" in err
    config = str(run_folder / "config.yaml")
    status, _, err = explain("--images", "a.png", "--checkpoint", "moved.ckpt", "--config", config, "--class", "7")
    assert status == 0
    assert "warning" not in err


def test_a_torchvision_network_with_its_weights_and_names(explain, monkeypatch, folder):
    # What torchvision would download, from its cache.
    weights = models.ShuffleNet_V2_X0_5_Weights.DEFAULT
    torch.manual_seed(0)
    network = models.shufflenet_v2_x0_5()
    (folder / "checkpoints").mkdir()
    torch.save(network.state_dict(), folder / "checkpoints" / Path(weights.url).name)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder))
    photo("a.jpg", (300, 260))
    words = ["--images", "a.jpg", "--network", "shufflenet_v2_x0_5", "--weights", "DEFAULT", "--methods", "cam"]
    status, out, err = explain(*words)
    assert status == 0
    assert "warning" not in err
    with torch.no_grad():
        probabilities = network.eval()(weights.transforms()(Image.open("a.jpg"))[None]).softmax(dim=1)[0]
    (line,) = [line for line in out.splitlines() if line.startswith("a.jpg")]
    assert weights.meta["categories"][int(probabilities.argmax())] in line
    assert f"{100 * float(probabilities.max()):.1f} %" in line
    status, _, err = explain(*words, "--class", "tabby", "--contrast", "golden retriever")
    assert status == 0
    assert {"a.cam.png", "a.cam.contrast.png"} < written()
    assert "did you mean" in explain(*words, "--class", "tabbi")[2]


def test_random_weights_are_not_explained_without_a_word(explain):
    photo("a.png")
    status, _, err = explain("--images", "a.png", "--network", "cifar_resnet8")
    assert status == 0
    assert "warning: cifar_resnet8 has random weights, so that its maps mean nothing" in err
    first = pixels_of("explained/a.grad_cam.png")
    explain("--images", "a.png", "--network", "cifar_resnet8", "--out", "again")
    np.testing.assert_array_equal(pixels_of("again/a.grad_cam.png"), first)
    explain("--images", "a.png", "--network", "cifar_resnet8", "--out", "other", "--seed", "1")
    assert not np.array_equal(pixels_of("other/a.grad_cam.png"), first)


def test_warnings_and_maps_that_are_not_finite_are_named(explain, monkeypatch):
    photo("a.png", (16, 16))

    def combine(_self, activations, _gradients):
        warnings.warn("that is odd", stacklevel=2)
        return activations.sum(dim=1) / 0

    monkeypatch.setattr(METHODS["grad_cam"], "combine", combine)
    words = ["--network", "my_code.tiny", "--size", "16", *PLAIN, "--methods", "grad_cam"]
    status, _, err = explain("--images", "a.png", *words)
    assert status == 1
    assert "warning: a.png, Grad-CAM: that is odd" in err
    assert "error: Grad-CAM cannot be used here: the map is not finite" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--images: expected, and not given"),
        (["--images", "a.png"], "--checkpoint: expected a checkpoint, or --network with or without --weights"),
        (["--images", "a.png", "--network", "resnet81"], "did you mean 'resnet18'"),
        ([*RED, "--methods", "gradcam"], "--methods: none is called 'gradcam'"),
        ([*RED, "--target-layer", "9"], "no module is called '9'"),
        ([*RED, "--class", "5"], "--class: expected classes from 0 to 1, got 5"),
        ([*RED, "--contrast", "5"], "--contrast: expected classes from 0 to 1, got 5"),
        ([*RED, "--top-k", "0"], "--top_k: expected a positive integer, got 0"),
        (
            [*RED, "--std", "1", "0", "1"],
            "--std: expected positive, finite numbers",
        ),
        ([*RED, "--device", "abacus"], "--device: cannot use 'abacus'"),
        (
            [*RED, "--network", "my_code.flat_head", "--size", "9"],
            "--size: my_code.flat_head cannot be run on images of 9×9",
        ),
        (["--images", "a.png", "--checkpoint", "absent.ckpt"], "--checkpoint: no such file: absent.ckpt"),
        (
            [*RED, "--out", "photos", "--images", "photos"],
            "--out: expected another folder than one of images, got photos",
        ),
        ([*RED, "--out", "a.png", "--images", "a.png"], "--out: expected a folder, got the file a.png"),
        ([*RED, "--images", ""], "--images: expected a value, got an empty word"),
        (["--images", "a.png", "--checkpoint", "x.yaml"], "expected a checkpoint, got the configuration x.yaml; pass"),
    ],
)
def test_wrong_arguments_are_named_in_two_lines_before_anything_is_written(explain, words, message):
    photo("a.png")
    photo("photos/a.png")
    status, out, err = explain(*words)
    assert (status, out) == (2, "")
    *warnings, error, hint = err.splitlines()
    assert all(line.startswith("camtrain explain: warning: ") for line in warnings)
    assert error.startswith("camtrain explain: error: ")
    assert message in error
    assert "`" not in error
    assert hint == "`camtrain explain --help` explains all options"
    assert not Path("explained").exists()


@pytest.fixture
def called(monkeypatch):
    """The arguments of the functions that the command calls, none of which does anything."""
    calls = {}

    def stub(name):
        original = getattr(command, name)

        @wraps(original)  # the parser reads its signature
        def function(*arguments, **options):
            calls[name] = arguments, options
            if name == "explain":
                raise ValueError("`left_out`: that is all")
            return name

        return function

    for name in ("load_network", "explain"):
        monkeypatch.setattr(command, name, stub(name))
    return calls


def test_options_reach_the_functions(explain, called):
    status, _, err = explain(
        "--images", "a.png", "photos", "--network", "resnet18", "--weights", "DEFAULT", "--config", "run.yaml",
        "--size", "64", "--mean", "0", "0.5", "1", "--std", "1", "1", "2", "--methods", "cam,grad_cam", "--out",
        "there", "--target_layer", "layer3", "--class", "cat", "--top_k", "3", "--counterfactual", "--contrast", "dog",
        "--max_batch", "6", "--num_channels", "12", "--device", "cpu", "--seed", "13",
    )  # fmt: skip
    assert (status, err.splitlines()[0]) == (2, "camtrain explain: error: --out: that is all")
    assert called["load_network"] == ((), {
        "checkpoint": None, "name": "resnet18", "weights": "DEFAULT", "config": "run.yaml", "size": 64,
        "mean": [0, 0.5, 1], "std": [1, 1, 2], "device": "cpu", "seed": 13,
    })  # fmt: skip
    assert called["explain"] == (("load_network",), {
        "images": ["a.png", "photos"], "methods": "cam,grad_cam", "class_": "cat", "top_k": 3, "counterfactual": True,
        "contrast": "dog", "target_layer": "layer3", "num_channels": 12, "max_batch": 6, "seed": 13, "on_error": "skip",
        "left_out": "there", "data": None,
    })  # fmt: skip


def test_former_names_of_options_work(explain, called):
    words = ["--channels", "12", "--max-batch=6", "--target-layer", "layer3", "--top-k", "3", "--contrast"]
    explain("--images", "a.png", "--network", "resnet18", *words)
    how = called["explain"][1]
    names = ("num_channels", "max_batch", "target_layer", "top_k", "contrast")
    assert [how[name] for name in names] == [12, 6, "layer3", 3, RUNNER_UP]


def test_noise_follows_the_seed(explain):
    photo("a.png", (16, 16))
    words = ["--images", "a.png", "--network", "my_code.tiny", "--size", "16", *PLAIN, "--methods", "smooth_grad"]
    for seed in ("0", "1", "1"):
        explain(*words, "--seed", seed, "--out", f"seed_{seed}")
    first, second = (pixels_of(f"seed_{seed}/a.smooth_grad.png") for seed in (0, 1))
    assert not np.array_equal(first, second)
    explain(*words, "--out", "usual")
    np.testing.assert_array_equal(pixels_of("usual/a.smooth_grad.png"), first)


def test_the_help_describes_every_option_and_has_examples(explain):
    status, out, _ = explain("--help")
    assert status == 0
    parser = command.explain_parser()
    options = [action for action in parser._actions if action.option_strings and action.dest != "help"]
    assert len(options) > 15
    text = " ".join(out.split())
    for action in options:
        assert f"\n  {action.option_strings[0]}" in out
        assert action.help
        assert " ".join(action.help.split())[:60] in text
    for word in ("smooth_grad_cam_plus_plus", "exit status", "camtrain explain --images photo.jpg --network resnet50"):
        assert word in out
