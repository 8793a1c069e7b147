"""What is not finite is treated by every score alike: the image is left out, with its name, and never counted."""

from __future__ import annotations

import inspect
import math
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from camtrain import CamtrainWarning
from camtrain.batch import Batch
from camtrain.data import ImageFolderData
from camtrain.evaluation import EvaluationSettings, Evaluator, evaluate, metric_names
from camtrain.evaluation.evaluator import IMAGE
from camtrain.explanation import explain
from camtrain.methods import method_named, methods_named
from camtrain.networks import CIFARResNet
from tests.metrics.examples import NAMES, example

SETTINGS = EvaluationSettings(num_steps=4, removed_shares=(0.3,), num_stages=2, num_classes=4)
NAMED = ["average_drop", "localization_iou_0", "pointing_game", "gradient_noise"]
QUICK = {"progress": False, "num_resamples": 10, "num_panel_maps": 0}
BAD = 2  # the image that is not finite
# They look at other images of the batch.
OF_THE_BATCH = {"map_leakage"}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CIFARResNet(depth=8, num_classes=4, width=4).eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    masks = torch.zeros(5, 16, 16, dtype=torch.bool)
    masks[:, 3:12, 2:9] = True
    boxes = [torch.tensor([[2.0, 3.0, 9.0, 12.0]])] * 5
    return Batch(torch.randn(5, 3, 16, 16, generator=generator), torch.tensor([0, 1, 2, 3, 0]), boxes, masks)


class Changed(nn.Module):
    """A network whose logits a function of images and logits changes."""

    def __init__(self, network, change):
        super().__init__()
        self.network, self.change = network, change

    def forward(self, images):
        return self.change(images, self.network(images))


def evaluator(network, names="all", methods=("grad_cam", "input_gradient"), layer=None, **options):
    made = methods_named(list(methods), network, layer)
    return Evaluator(network, made, metric_names(names), replace(SETTINGS, **options))


def counted(evaluator, rows, pair):
    return evaluator.metric(pair[1]).image_scores(rows[pair]).isfinite()


@pytest.mark.parametrize(("value", "class_of"), [(math.nan, "label"), (-math.inf, "prediction")])
def test_an_image_that_is_not_finite_is_in_no_score_and_changes_no_other(network, batch, value, class_of):
    scorer = evaluator(network, class_of=class_of)
    whole = scorer(batch)
    broken = batch.subset(range(5))
    broken.images[BAD, 1, 4, 4] = value
    found = scorer(broken)
    others = torch.arange(5) != BAD
    assert set(found.rows) == set(whole.rows) == set(scorer.pairs)
    for pair, rows in found.rows.items():
        assert not rows[BAD].any(), pair
        assert rows.isfinite().all(), pair
        if pair[1] not in OF_THE_BATCH:
            torch.testing.assert_close(rows[others], whole.rows[pair][others], rtol=1e-4, atol=1e-5)
    assert scorer.reasons == {IMAGE: "the image holds NaN or infinity"}
    assert {name: which.tolist() for name, which in found.left_out.items()} == {IMAGE: (~others).tolist()}
    assert (found.predictions == -1).tolist() == (~others).tolist() == found.scores.isnan().tolist()


def test_an_image_of_which_the_network_says_nothing_finite_is_in_no_score(network, batch):
    marked = batch.images[BAD, 0, 0, 0].clone()

    def change(images, logits):
        bad = images[:, 0, 0, 0] == marked
        return torch.where(bad.unsqueeze(1), torch.nan, logits)

    scorer = evaluator(Changed(network, change), "fast", layer="network.layer3")
    found = scorer(batch)
    for pair, rows in found.rows.items():
        assert not rows[BAD].any(), pair
        assert counted(scorer, found.rows, pair)[torch.arange(5) != BAD].any(), pair
    assert scorer.reasons[IMAGE] == "its probabilities are not finite"


def test_a_probability_on_a_changed_image_that_is_not_finite_leaves_the_image_out_of_the_scores_that_need_it(
    network, batch
):
    originals = batch.images.clone()

    def change(images, logits):  # of the masked images, which are darker, and of no other
        distance = (images.unsqueeze(1) - originals).abs().amax(dim=(2, 3, 4))
        return torch.where((distance.amin(dim=1) > 0).unsqueeze(1), torch.nan, logits)

    names = ["average_drop", "win", "adcc", "insertion_auc", "localization_iou_0", "pointing_game"]
    scorer = evaluator(Changed(network, change), names, layer="network.layer3")
    found = scorer(batch)
    for pair in found.rows:
        expected = pair[1] in ("localization_iou_0", "pointing_game")
        assert bool(counted(scorer, found.rows, pair).any()) == expected, pair
    assert scorer.reasons["grad_cam/masked_scores"] == "a probability on a changed image is not finite"
    assert found.left_out["grad_cam/masked_scores"].all()


class BrokenMap:
    """Grad-CAM with one map of other values."""

    def __init__(self, network, values):
        self.inner, self.values = method_named("grad_cam", network), values

    def __call__(self, images, class_idx=None):
        cams = self.inner(images, class_idx).clone()
        if len(cams) > BAD:
            cams[BAD] = self.values.view(2, 1).expand(-1, cams[BAD].numel() // 2).reshape(cams[BAD].shape)
        return cams


@pytest.mark.parametrize("values", [(math.nan, 0.0), (math.inf, 1.0), (0.0, -math.inf), (3.4e38, -3.4e38)])
def test_a_map_that_is_not_finite_or_has_no_finite_range_is_in_no_score_of_its_method(network, batch, values):
    methods = {"broken": BrokenMap(network, torch.tensor(values)), "grad_cam": method_named("grad_cam", network)}
    scorer = Evaluator(network, methods, metric_names("fast"), SETTINGS)
    found = scorer(batch)
    for (method, name), rows in found.rows.items():
        kept = counted(scorer, found.rows, (method, name))
        assert bool(rows[BAD].any()) == bool(kept[BAD]) == (method != "broken" and name != "win"), (method, name)
    assert set(found.left_out) == {"broken"}


def test_no_method_wins_against_one_of_which_nothing_finite_is_known(network, batch):
    def change(images, logits):  # of black images, as the first method makes them
        return torch.where((images == 0).flatten(1).all(dim=1, keepdim=True), torch.nan, logits)

    changed = Changed(network, change)
    grad_cam = method_named("grad_cam", changed, "network.layer3")
    methods = {"black": lambda images, class_idx=None: torch.zeros_like(images[:, 0]), "grad_cam": grad_cam}
    found = Evaluator(changed, methods, ["win", "average_drop"], SETTINGS)(batch)
    assert not found.rows["black", "average_drop"].any()
    assert found.rows["grad_cam", "average_drop"].any()
    assert not found.rows["grad_cam", "win"].any()


def test_evaluate_names_the_images_that_it_leaves_out(network, batch, tmp_path):
    broken = batch.subset(range(5))
    broken.images[BAD] = math.nan
    with pytest.warns(CamtrainWarning, match=r"nothing of 1 of 5 images \(image 2\), which are no part of"):
        found = evaluate(network, [broken], metrics=NAMED, settings=SETTINGS, folder=tmp_path, **QUICK)
    assert {each.num_images for each in found} == {4}
    assert found.found.left_out == {IMAGE: [BAD]}
    rest = batch.subset([0, 1, 3, 4])
    assert found.accuracy == evaluate(network, [rest], metrics="average_drop", **QUICK).accuracy
    line = next(line for line in (tmp_path / "images.csv").read_text().splitlines() if line.startswith(f"{BAD},"))
    # Its index, its label, the method, and no score.
    assert [cell for cell in line.split(",") if cell] == [str(BAD), "2", "grad_cam"]
    # The same call goes on where it was, with the same warning.
    with pytest.warns(CamtrainWarning, match=r"nothing of 1 of 5 images \(image 2\)"):
        again = evaluate(network, [broken], metrics=NAMED, settings=SETTINGS, folder=tmp_path, **QUICK)
    assert again.table() == found.table()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", NAMES)
def test_metrics_refuse_what_is_not_finite(name, value):
    metric, arguments = example(name)
    for place, parameter in enumerate(list(inspect.signature(type(metric).update).parameters)[1:][: len(arguments)]):
        given = arguments[place]
        if not isinstance(given, torch.Tensor) or not given.is_floating_point():
            continue
        if parameter == "compared_probabilities" and math.isnan(value):
            continue  # where a method has no map
        broken = given.clone()
        broken.view(-1)[-1] = value
        with pytest.raises(ValueError, match=f"`{parameter}`: expected"):
            metric.update(*arguments[:place], broken, *arguments[place + 1 :])
        assert not metric.total.any()


def test_explain_refuses_an_image_that_is_not_finite(network):
    images = torch.zeros(2, 3, 16, 16)
    images[1, 0, 0, 0] = math.inf
    explanations = explain(network, images, on_error="skip", progress=False)
    assert len(list(explanations)) == 1
    assert explanations.problems == ["image 1 cannot be explained: the image holds NaN or infinity"]


def test_the_file_of_an_image_is_named(fake_image_folder, network):
    class Broken(v2.Transform):
        def transform(self, image, params):
            dark = isinstance(image, torch.Tensor) and image.dtype == torch.uint8 and image.dim() == 3
            return image.float() / 0 if dark else image

    data = ImageFolderData(str(fake_image_folder / "images"), image_size=40, eval_transform=[Broken()], batch_size=4)
    with pytest.raises(ValueError, match=r"circle/0.png holds NaN or infinity after its transforms"):
        next(iter(data.val_dataloader()))


@pytest.mark.filterwarnings("error")
def test_finite_images_are_no_news(network, batch):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = evaluate(network, [batch], metrics=NAMED, settings=SETTINGS, **QUICK)
    assert (found.found.left_out, found.found.reasons, caught) == ({}, {}, [])
