"""Maps in `.npy` files: written, read, and scored without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from camtrain import Batch, EvaluationSettings, compare, evaluate, read_score_map, score_maps, write_score_map
from camtrain.data import ImageFolderData
from camtrain.evaluation.image_ids import image_id
from camtrain.messages import CamtrainWarning, DataError
from camtrain.methods import image_maps
from camtrain.metrics import LocalizationAccuracy, PixelAveragePrecision
from camtrain.networks import CIFARResNet


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=3, width=4).eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    masks = torch.zeros(5, 16, 16, dtype=torch.bool)
    masks[:4, 3:12, 2:9] = True
    ignored = torch.zeros_like(masks)
    ignored[:, 13:] = True
    boxes = [torch.tensor([[2.0, 3.0, 9.0, 12.0]])] * 4 + [torch.zeros(0, 4)]
    return Batch(torch.randn(5, 3, 16, 16, generator=generator), torch.tensor([0, 1, 2, 0, 1]), boxes, masks, ignored)


def quietly(network, batch, **how):
    with pytest.warns(CamtrainWarning, match="1 of 5 images have no"):
        return evaluate(network, [batch], progress=False, num_resamples=10, **how)


# Files -------------------------------------------------------------------------------------------


def test_a_map_comes_back(tmp_path):
    cam = torch.rand(7, 5, dtype=torch.float64)
    path = write_score_map(tmp_path, "val2/0/1.jpeg", cam)
    assert path == tmp_path / "val2" / "0" / "1.jpeg.npy"
    array = np.load(path)
    assert (array.dtype, array.shape) == (np.float32, (7, 5))
    assert torch.equal(read_score_map(tmp_path, "val2/0/1.jpeg"), cam.float())


def test_maps_of_other_code_are_read(tmp_path):
    """Its file may be called after the image without its ending, and hold numbers of another type."""
    np.save(tmp_path / "1.npy", np.eye(3, dtype=np.float64))
    np.save(tmp_path / "2.jpg.npy", np.eye(3, dtype=np.uint8))
    assert torch.equal(read_score_map(tmp_path, "1.jpg"), torch.eye(3))
    assert torch.equal(read_score_map(tmp_path, "2.jpg"), torch.eye(3))


@pytest.mark.parametrize("name", ["../1.jpg", "/etc/1.jpg", "a/../../1.jpg", ""])
def test_a_name_that_leads_elsewhere(tmp_path, name):
    with pytest.raises(ValueError, match="`image_id`: expected a path below the folder of all images"):
        write_score_map(tmp_path / "maps", name, torch.zeros(2, 2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 2, 1)), r"should be an array \(H, W\) of numbers, got float64 \(2, 2, 1\)"),
        (np.zeros((2, 2), dtype=complex), "of numbers, got complex128"),
        (np.zeros((0, 2)), r"of numbers, got float64 \(0, 2\)"),
        (np.full((2, 2), 1.5), "should hold numbers from 0 to 1, got 1.5 to 1.5"),
        (np.full((2, 2), np.nan), "should hold numbers from 0 to 1, got nan to nan"),
        (np.array([[object()]]), "cannot read the map"),
        (b"no array", "cannot read the map"),
        (b"", "cannot read the map"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "1.jpg.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(DataError, match=message) as error:
        read_score_map(tmp_path, "1.jpg")
    assert str(path) in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no map of a/1.jpg: expected .*a/1.jpg.npy or 1.npy"):
        read_score_map(tmp_path, "a/1.jpg")


@pytest.mark.parametrize("cam", [torch.zeros(1, 2, 2), torch.full((2, 2), 2.0), torch.full((2, 2), torch.nan)])
def test_bad_maps(tmp_path, cam):
    with pytest.raises(ValueError, match="`cam`: expected"):
        write_score_map(tmp_path, "1", cam)
    with pytest.raises(TypeError, match="`cam`: expected"):
        write_score_map(tmp_path, "1", cam.numpy())


def test_names_of_images(fake_image_folder):
    data = ImageFolderData(root=str(fake_image_folder / "images"), image_size=16)
    data_set = data.data_set("test")
    assert image_id(data_set, 0, data.root) == "test/circle/0.png"
    assert image_id(torch.utils.data.Subset(data_set, [7]), 0, data.root) == "test/square/1.png"
    assert image_id(data_set, 0, "/elsewhere") == "0.png"
    assert image_id([0, 0], 1, data.root) == "000001"


# Written by an evaluation ------------------------------------------------------------------------


def test_an_evaluation_writes_its_maps(network, batch, tmp_path):
    how = {"methods": "grad_cam,layer_cam", "metrics": "pixel_average_precision", "num_panel_maps": 0}
    quietly(network, batch, folder=tmp_path, write_maps=True, batch_size=2, **how)
    for method in ("grad_cam", "layer_cam"):
        assert len(list((tmp_path / "maps" / method).iterdir())) == 5
        for index, cam in enumerate(image_maps(network, batch.images, method)):
            torch.testing.assert_close(read_score_map(tmp_path / "maps" / method, f"{index:06d}"), cam)


def test_images_of_one_name_in_a_loader_have_their_own_maps(network, fake_image_folder, tmp_path):
    """A loader knows no folder of all images: `circle/0.png` and `square/0.png` are told apart all the same."""
    data = ImageFolderData(root=str(fake_image_folder / "images"), image_size=16, batch_size=4, num_workers=0)
    data.setup("test")
    loader = data.test_dataloader()
    how = {"methods": "grad_cam", "metrics": "average_drop", "num_panel_maps": 0, "progress": False}
    evaluate(network, loader, folder=tmp_path, write_maps=True, **how)
    count = len(loader.dataset)
    assert len({path.name for path in (tmp_path / "maps").rglob("*.npy")}) < count
    assert len(list((tmp_path / "maps").rglob("*.npy"))) == count
    images = torch.stack([loader.dataset[index]["image"] for index in range(count)])
    for index, cam in enumerate(image_maps(network, images, "grad_cam")):
        name = image_id(loader.dataset, index, fake_image_folder / "images" / "test")
        torch.testing.assert_close(read_score_map(tmp_path / "maps" / "grad_cam", name), cam)


def test_an_image_that_shows_no_class_has_no_file(network, tmp_path):
    labels = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 1, 1]])
    batch = Batch(torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)), labels)
    how = {"methods": "grad_cam", "metrics": "average_drop", "num_panel_maps": 0, "progress": False}
    for _ in range(2):  # the second call finds all files that there should be
        with pytest.warns(CamtrainWarning, match="none of the classes"):
            evaluate(
                network, [batch], settings=EvaluationSettings("label"), folder=tmp_path, write_maps=True, **how
            )  # fmt: skip
        assert {path.name for path in (tmp_path / "maps" / "grad_cam").iterdir()} == {"000000.npy", "000002.npy"}


def test_a_map_that_is_gone_is_written_again(network, batch, tmp_path):
    how = {"methods": "grad_cam", "metrics": "pixel_average_precision", "num_panel_maps": 0, "batch_size": 2}
    quietly(network, batch, folder=tmp_path, write_maps=True, **how)
    first, third = (tmp_path / "maps" / "grad_cam" / f"00000{index}.npy" for index in (0, 2))
    before = first.stat().st_mtime_ns
    third.unlink()
    quietly(network, batch, folder=tmp_path, write_maps=True, **how)
    assert third.is_file()
    assert first.stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="holds an evaluation with write_maps"):
        evaluate(network, [batch], folder=tmp_path, num_resamples=10, **how)


@pytest.mark.filterwarnings("ignore:1 of 5 images have no masks")
def test_no_map_is_written_of_an_image_that_is_left_out(network, batch, tmp_path):
    batch.images[2] = torch.nan
    how = {"methods": "grad_cam", "metrics": "pixel_average_precision", "num_panel_maps": 0, "folder": tmp_path}
    for _ in range(2):  # the second call goes on from the first one
        with pytest.warns(CamtrainWarning, match="the network says nothing of 1 of 5 images"):
            evaluate(network, [batch], progress=False, num_resamples=10, write_maps=True, **how)
    names = sorted(path.stem for path in (tmp_path / "maps" / "grad_cam").iterdir())
    assert names == ["000000", "000001", "000003", "000004"]


def test_maps_are_forgotten_with_their_evaluation(network, batch, tmp_path):
    how = {"methods": "grad_cam", "metrics": "pixel_average_precision", "num_panel_maps": 0, "folder": tmp_path}
    quietly(network, batch, write_maps=True, **how)
    mine = tmp_path / "maps" / "my_own" / "1.npy"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    quietly(network, batch, fresh=True, **how)
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["my_own"]


def test_both_networks_of_a_comparison_write_their_maps(network, batch, tmp_path):
    other = CIFARResNet(depth=8, num_classes=3, width=4).eval()
    how = {"controls": "none", "num_resamples": 10, "num_panel_maps": 0, "progress": False, "write_maps": True}
    with pytest.warns(CamtrainWarning, match="1 of 5 images"):
        compare(network, other, [batch], "grad_cam", "pixel_average_precision", folder=tmp_path, **how)
    assert len(list(tmp_path.rglob("*.npy"))) == 10


def test_maps_need_a_folder(network, batch):
    with pytest.raises(ValueError, match="`write_maps`: expected a `folder` to write the maps to, got none"):
        evaluate(network, [batch], write_maps=True)


# Scored ------------------------------------------------------------------------------------------


@pytest.fixture
def cams(tmp_path):
    cams = torch.rand(5, 16, 16, generator=torch.Generator().manual_seed(2))
    for index, cam in enumerate(cams):
        write_score_map(tmp_path / "theirs", f"{index:06d}", cam)
    return cams


def test_scores_are_those_of_the_metrics(batch, cams, tmp_path):
    names = ["gt_known_localization", "pixel_average_precision"]
    table = score_maps(
        tmp_path / "theirs", [batch], names, batch_size=2, settings=EvaluationSettings(box_threshold=0.1)
    )
    assert [(each.method, each.metric, each.num_images) for each in table] == [("theirs", name, 4) for name in names]
    pxap, localization = PixelAveragePrecision(), LocalizationAccuracy(threshold=0.1)
    pxap.update(cams, batch.masks, batch.ignored)
    localization.update(cams, batch.boxes)
    assert table[0].value == pytest.approx(float(localization.compute()))
    assert table[1].value == pytest.approx(float(pxap.compute()))
    assert table[1].interval.low < table[1].value < table[1].interval.high
    assert "PxAP" in table.table()


def test_a_group_stands_for_what_can_be_used(batch, cams, tmp_path):
    found = {each.metric for each in score_maps(tmp_path / "theirs", [batch], num_resamples=10)}
    assert {"localization_iou_25", "max_box_accuracy_v2", "pointing_game", "gt_known_localization"} <= found
    assert not {"top_1_localization", "average_drop"} & found
    for name in ("average_drop", "top_1_localization", "sanity", "gradient_noise"):
        with pytest.raises(ValueError, match=r"`metrics`: expected metrics of maps and annotation alone .*got"):
            score_maps(tmp_path / "theirs", [batch], name)


def test_a_map_of_another_size_is_interpolated(batch, tmp_path):
    for index in range(5):
        write_score_map(tmp_path, f"{index:06d}", batch.masks[index, ::2, ::2].float())
    (score,) = score_maps(tmp_path, [batch], "localization_iou_50")
    assert 0.7 < score.value < 1


class OneQuestion(list):
    """Batches of a data set with a single class: the question of a single logit."""

    num_classes = 1


def test_a_single_question_has_two_classes_as_in_an_evaluation(batch, tmp_path):
    """Three images say yes, with two hits; two say no, of which one has no box, and the other one is missed."""
    labels = torch.tensor([1.0, 1, 1, 0, 0]).unsqueeze(1)
    data = OneQuestion([Batch(batch.images, labels, batch.boxes)])
    for index, (row, column) in enumerate([(5, 5), (8, 4), (0, 15), (15, 15), (0, 0)]):
        cam = torch.zeros(16, 16)
        cam[row, column] = 1
        write_score_map(tmp_path / "mine", f"{index:06d}", cam)
    settings = EvaluationSettings(tolerance=0)
    (score,) = score_maps(tmp_path / "mine", data, "pointing_game", settings=settings)
    assert score.value == pytest.approx((2 / 3 + 0) / 2)
    network = CIFARResNet(depth=8, num_classes=1, width=4).eval()
    how = {"metrics": "pointing_game", "settings": settings, "progress": False, "num_resamples": 10}
    with pytest.warns(CamtrainWarning, match="1 of 5 images have no boxes"):
        found = evaluate(network, data, "grad_cam", folder=tmp_path / "theirs", write_maps=True, **how)
    again = score_maps(tmp_path / "theirs" / "maps" / "grad_cam", data, "pointing_game", settings=settings)
    assert again[0].value == pytest.approx(found.score("grad_cam", "pointing_game").value)


def test_images_without_labels(batch, cams, tmp_path):
    unlabeled = Batch(batch.images, None, batch.boxes, batch.masks, batch.ignored)
    for name in ("gt_known_localization", "pointing_game"):
        first, second = (score_maps(tmp_path / "theirs", [each], name)[0] for each in (batch, unlabeled))
        assert second.num_images == 4
        if name != "pointing_game":  # which is averaged over classes
            assert first.value == second.value


def test_a_missing_map_and_a_missing_folder(batch, cams, tmp_path):
    (tmp_path / "theirs" / "000003.npy").unlink()
    with pytest.raises(FileNotFoundError, match="there is no map of 000003"):
        score_maps(tmp_path / "theirs", [batch])
    with pytest.raises(FileNotFoundError, match=r"`maps`: expected the folder .*none, which does not exist"):
        score_maps(tmp_path / "none", [batch])
    assert Path(tmp_path, "theirs").is_dir()


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"split": "train"}, ValueError, '`split`: expected "test" or "val", got \'train\''),
        ({"batch_size": 0}, ValueError, "`batch_size`: expected a positive integer, got 0"),
        ({"num_images": -5}, ValueError, "`num_images`: expected a positive integer, got -5"),
        ({"num_resamples": 0}, ValueError, "`num_resamples`: expected a positive integer, got 0"),
        ({"settings": {"annotation": "masks"}}, TypeError, "`settings`: expected EvaluationSettings"),
    ],
)
def test_arguments_are_checked_before_a_map_is_read(batch, tmp_path, how, error, message):
    with pytest.raises(error, match=message):
        score_maps(tmp_path, [batch], **how)
