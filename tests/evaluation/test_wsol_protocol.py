"""The protocol of the benchmark of weakly supervised localization: the authors' own cases, and from images to scores.

The numbers of the first part are those of the unit tests in github.com/clovaai/wsolevaluation. Its boxes end on their
last pixel, ours after it.
"""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torchvision.ops import box_iou

from camtrain import Classifier, EvaluationSettings, evaluate, score_maps
from camtrain.data import WSOLData
from camtrain.metrics import PixelAveragePrecision, box_ious
from tests.data.wsol_trees import make_wsol

# The first images of its metadata, with their sizes (width, height) and boxes.
PUBLISHED = {
    ("CUB", "val"): [((560, 419), [(176, 136, 459, 291)]), ((576, 432), [(44, 183, 426, 254)]),
                     ((999, 587), [(437, 42, 834, 422)])],
    ("CUB", "test"): [((500, 335), [(60, 27, 385, 331)]), ((500, 347), [(14, 112, 402, 298)]),
                      ((500, 470), [(33, 53, 284, 448)])],
    ("ILSVRC", "val"): [((500, 375), [(156, 163, 318, 230)]), ((500, 375), [(143, 142, 394, 248)]),
                        ((500, 375), [(28, 94, 485, 303)])],
    ("ILSVRC", "test"): [((500, 375), [(111, 108, 441, 193)]), ((500, 375), [(45, 49, 499, 162), (2, 69, 437, 207)]),
                         ((500, 375), [(38, 19, 385, 373)])],
}  # fmt: skip
# The numbers of pixels of the object and of the background in its three masks of 224 × 224; the rest is ignored.
MASKS = [(43031, 7145), (833, 49342), (347, 13909)]


def tree(root, benchmark, split, lines, sizes):
    """A tree of one split with black images of these sizes, which are called 0.png, 1.png, ..."""
    folder, metadata = root / "dataset" / benchmark, root / "metadata" / benchmark / split
    folder.mkdir(parents=True)
    metadata.mkdir(parents=True)
    ids = [f"{index}.png" for index in range(len(sizes))]
    for image_id, size in zip(ids, sizes, strict=True):
        Image.new("RGB", size).save(folder / image_id)
    (metadata / "image_ids.txt").write_text("\n".join(ids))
    (metadata / "class_labels.txt").write_text("".join(f"{image_id},0\n" for image_id in ids))
    has_boxes = benchmark != "OpenImages"
    shapes = [f"{image_id},{width},{height}\n" for image_id, (width, height) in zip(ids, sizes, strict=True)]
    (metadata / "image_sizes.txt").write_text("".join(shapes) if has_boxes else "")
    (metadata / "localization.txt").write_text("\n".join(lines))
    return WSOLData(benchmark, str(root / "dataset"), str(root / "metadata"), batch_size=8)


@pytest.mark.parametrize(("benchmark", "split"), PUBLISHED)
def test_published_boxes_and_sizes(tmp_path, benchmark, split):
    images = PUBLISHED[benchmark, split]
    lines = [f"{index}.png,{','.join(map(str, box))}" for index, (_, boxes) in enumerate(images) for box in boxes]
    data = tree(tmp_path, benchmark, split, lines, [size for size, _ in images])
    samples = zip(data.samples(split), data.data_set(split), images, strict=True)
    for stored, squashed, ((width, height), boxes) in samples:
        assert stored["boxes"].canvas_size == (height, width)
        assert stored["boxes"].tolist() == [[x0, y0, x1 + 1, y1 + 1] for x0, y0, x1, y1 in boxes]
        assert squashed["boxes"].tolist() == [
            [x0 * 224 // width, y0 * 224 // height, x1 * 224 // width + 1, y1 * 224 // height + 1]
            for x0, y0, x1, y1 in boxes
        ]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([(1, 2, 5, 6)], [(3, 1, 4, 5)], [[8 / 27]]),
        ([(1, 1, 3, 3), (4, 4, 5, 5)], [(1, 1, 3, 3), (4, 4, 5, 5)], [[1, 0], [0, 1]]),
        ([(0, 0, 0, 0)] * 3, [(0, 0, 0, 0)] * 5, [[1] * 5] * 3),
    ],
)
def test_published_overlaps(first, second, expected):
    a, b = (torch.tensor(each).float() + torch.tensor([0.0, 0.0, 1.0, 1.0]) for each in (first, second))
    torch.testing.assert_close(box_iou(a, b), torch.tensor(expected).float())


def test_published_errors():
    with pytest.raises(ValueError, match="x0 ≤ x1"):
        box_ious(torch.rand(3, 3), torch.tensor([[1.0, 1.0, 0.0, 0.0]]), largest=True)
    with pytest.raises(ValueError, match="NaN"):
        PixelAveragePrecision().update(torch.full((1, 3, 3), torch.nan), torch.ones(1, 3, 3, dtype=torch.bool))
    # A map of zeros has the box of one pixel there, and none here.
    assert not bool(box_ious(torch.zeros(3, 3), torch.tensor([[0.0, 0.0, 3.0, 3.0]]), largest=False).any())
    # The published boxes of two maps at five thresholds are in `tests/metrics/test_max_box_accuracy.py`.


def masks_of_published_sizes(root):
    """OpenImages whose masks have as many pixels as the published ones, each in two files."""
    folder = root / "dataset" / "OpenImages"
    lines = []
    for index, (on, beside) in enumerate(MASKS):
        places = torch.arange(224 * 224).view(224, 224)
        # The ignored mask covers the object too, as the boxes of objects that nobody outlined may.
        parts = {"a": places < on // 2, "b": (places >= on // 2) & (places < on), "ignored": places >= on + beside}
        parts["ignored"] |= places < 100
        for name, part in parts.items():
            path = folder / f"{index}_{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(part.to(torch.uint8).mul(255).numpy()).save(path)
        lines += [f"{index}.png,{index}_a.png,{index}_ignored.png", f"{index}.png,{index}_b.png,"]
    return lines


@pytest.fixture(scope="module")
def open_images(tmp_path_factory):
    root = tmp_path_factory.mktemp("open_images")
    lines = masks_of_published_sizes(root / "masks")
    data = tree(root, "OpenImages", "val", lines, [(300, 200)] * 3)
    data.masks_folder = root / "masks" / "dataset" / "OpenImages"
    return next(iter(data.val_dataloader()))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_published_scores_of_constant_maps(open_images, value):
    for index, (on, beside) in enumerate(MASKS):
        metric = PixelAveragePrecision(100)
        one = open_images.subset([index])
        metric.update(torch.full((1, 224, 224), value), one.masks, one.ignored)
        assert float(metric.compute()) == pytest.approx(on / (on + beside), abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_published_scores_of_perfect_maps(open_images, value):
    """They score 1, whatever their values on ignored pixels."""
    for index in range(3):
        metric = PixelAveragePrecision(100)
        one = open_images.subset([index])
        metric.update(torch.where(one.ignored, value, one.masks.float()), one.masks, one.ignored)
        assert float(metric.compute()) == 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_published_scores_of_constant_masks(value):
    """A mask that is true everywhere scores 1. One that is true nowhere is an error there, and not counted here."""
    everywhere = torch.ones(1, 8, 8, dtype=torch.bool)
    assert float(PixelAveragePrecision()(torch.full((1, 8, 8), value), everywhere)) == 1
    assert PixelAveragePrecision()(torch.full((1, 8, 8), value), ~everywhere).isnan()


# From images to scores -------------------------------------------------------------------------------


@pytest.mark.parametrize("benchmark", ["CUB", "ILSVRC", "OpenImages"])
def test_an_epoch_of_training_and_the_scores_of_the_protocol(tmp_path, benchmark):
    make_wsol(tmp_path, benchmark, images_per_class=6)
    data = WSOLData(benchmark, str(tmp_path / "dataset"), str(tmp_path / "metadata"), image_size=56, batch_size=4)
    torch.manual_seed(0)
    module = Classifier("cifar_resnet8", 2, optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1, 0.9))
    settings = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, default_root_dir=tmp_path, **settings)
    trainer.fit(module, datamodule=data)
    published = "pixel_average_precision" if benchmark == "OpenImages" else "max_box_accuracy_v2"
    metrics = [published, "top_1_localization", "gt_known_localization"]
    how = {"methods": "grad_cam", "metrics": metrics, "progress": False, "num_resamples": 20, "num_panel_maps": 0}
    validated = evaluate(module.network, data, split="val", settings=EvaluationSettings(class_of="label"), **how)
    threshold = validated.box_thresholds["grad_cam"]["gt_known_localization"]
    chosen = EvaluationSettings(class_of="label", box_threshold=threshold)
    folder = tmp_path / "evaluated"
    tested = evaluate(module.network, data, split="test", settings=chosen, folder=folder, write_maps=True, **how)
    scores = {each.metric: each.value for each in tested}
    assert 0 < scores[published] < 1
    assert 0 <= scores["top_1_localization"] <= scores["gt_known_localization"] <= 1
    assert tested.box_thresholds["grad_cam"]["gt_known_localization"] == threshold
    # Other code that scores the files finds the same.
    again = score_maps(folder / "maps" / "grad_cam", data, [published, "gt_known_localization"], settings=chosen)
    for each in again:
        assert each.value == pytest.approx(scores[each.metric], abs=1e-6)
        assert each.num_images == 12
    written = {path.relative_to(folder / "maps" / "grad_cam").as_posix() for path in folder.rglob("*.npy")}
    assert written == {f"{image_id}.npy" for image_id in data.samples("test").image_ids}
