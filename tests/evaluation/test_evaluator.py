"""The evaluator against loops over images with one pass at a time; what it shares, and what it leaves behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from camtrain.batch import Batch
from camtrain.blurred import blurred
from camtrain.cams import normalize
from camtrain.evaluation import (
    METRICS,
    NETWORK,
    ComparisonNeed,
    EvaluationPlan,
    EvaluationSettings,
    Evaluator,
    GradientNeed,
    MapNeed,
    MetricSpec,
    ProbabilityNeed,
    metric_names,
    what_is_missing,
)
from camtrain.evaluation.imputed import removed_and_imputed
from camtrain.evaluation.masked_image import masked_images
from camtrain.evaluation.randomized_layers import randomized_layers
from camtrain.evaluation.removal_path import path_images, removal_ranks
from camtrain.gradients import guided_gradient, input_gradient
from camtrain.methods import method_named, normalized_maps, resized_maps
from camtrain.metrics import AdditiveScore, adcc, area_under_curve, coherency, complexity, drop, map_similarity, road
from camtrain.networks import CIFARResNet

pytestmark = pytest.mark.usefixtures("double_by_default")

SETTINGS = EvaluationSettings(num_steps=5, removed_shares=(0.2, 0.6), num_stages=3, num_classes=4)
NAMES = ["grad_cam", "input_gradient", "layer_cam"]


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = CIFARResNet(depth=8, num_classes=4, width=4)
    network(torch.randn(16, 3, 16, 16))
    with torch.no_grad():
        network.fc.weight *= 8  # sure enough that scores move
    return network.eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    boxes = [torch.tensor([[2.0, 3.0, 9.0, 12.0]])] * 4 + [torch.zeros(0, 4)]
    masks = torch.zeros(5, 16, 16, dtype=torch.bool)
    masks[:4, 3:12, 2:9] = True
    return Batch(torch.randn(5, 3, 16, 16, generator=generator), torch.tensor([0, 1, 2, 3, 0]), boxes, masks)


def methods(network, names=NAMES, **options):
    return {name: method_named(name, network, "layer2", **options) for name in names}


@torch.no_grad()
def probability(network, image, class_idx):
    return network(image).softmax(dim=1)[0, class_idx]


def score_by_hand(network, method, image, class_idx, name):
    """The score of one image, with one pass at a time."""
    cam = normalized_maps(method, image, class_idx)
    score, masked = probability(network, image, class_idx), probability(network, masked_images(image, cam), class_idx)
    ranks = removal_ranks(cam)

    def curve(start, end):
        return torch.stack([probability(network, one, class_idx) for one in path_images(start, end, ranks, 5)])

    match name:
        case "average_drop":
            return float(drop(score[None], masked[None]))
        case "insertion_auc":
            return float(area_under_curve(curve(blurred(image), image)))
        case "deletion_auc":
            return float(area_under_curve(curve(image, torch.zeros_like(image))))
        case "road":
            ways = [probability(network, one, class_idx) for one in removed_and_imputed(image, ranks, (0.2, 0.6))]
            return float(road(torch.stack(ways[:2])[None], torch.stack(ways[2:])[None]))
        case "adcc":
            again = normalized_maps(method, masked_images(image, cam), class_idx)
            return float(adcc(coherency(cam, again), complexity(cam), drop(score[None], masked[None])))
        case "class_sensitivity":
            other = normalized_maps(method, image, int(network(image).argmin()))
            return float(1 - map_similarity(cam, other).clamp(min=0))
        case "parameter_randomization":
            scores = [
                1 - map_similarity(cam, normalized_maps(method, image, class_idx)).clamp(min=0)
                for _ in randomized_layers(network, 3)
            ]
            return float(torch.stack(scores).mean())


@pytest.mark.parametrize(
    "name",
    ["average_drop", "insertion_auc", "deletion_auc", "road", "adcc", "class_sensitivity", "parameter_randomization"],
)
@pytest.mark.parametrize("max_batch", [3, 64])
def test_scores_are_those_of_one_image_and_one_pass_at_a_time(network, batch, name, max_batch):
    evaluator = Evaluator(network, methods(network), [name], SETTINGS, max_batch)
    found = evaluator(batch)
    for method in NAMES:
        scores = evaluator.metric(name).image_scores(found.rows[method, name])
        expected = [
            score_by_hand(network, evaluator.methods[method], image[None], int(network(image[None]).argmax()), name)
            for image in batch.images
        ]
        assert scores.tolist() == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_substrates_may_be_exchanged(network, batch):
    names = ["insertion_auc", "deletion_auc"]
    settings = replace(SETTINGS, insertion_start="zeros", deletion_end="blur")
    evaluator = Evaluator(network, methods(network, ["grad_cam"]), names, settings)
    rows = evaluator(batch).rows
    for index, image in enumerate(batch.images):
        image, class_idx = image[None], int(network(image[None]).argmax())
        ranks = removal_ranks(normalized_maps(evaluator.methods["grad_cam"], image, class_idx))
        ways = (torch.zeros_like(image), image), (image, blurred(image))
        for name, (start, end) in zip(names, ways, strict=True):
            curve = [probability(network, one, class_idx) for one in path_images(start, end, ranks, 5)]
            assert rows["grad_cam", name][index, :-1].tolist() == pytest.approx([float(one) for one in curve], abs=1e-5)


def test_localization_scores_are_those_of_the_metrics(network, batch):
    evaluator = Evaluator(network, methods(network), ["localization"], SETTINGS)
    rows = evaluator(batch).rows
    for name, method in evaluator.methods.items():
        raw = resized_maps(method, batch.images)
        cams = normalize(raw)
        arguments = {
            "localization_iou_25": (cams, batch.boxes),
            "energy_pointing_game": (raw.relu(), batch.boxes),
            "pointing_game": (cams, batch.boxes, batch.labels),
            "max_box_accuracy_v2": (cams, batch.boxes),
            "pixel_average_precision": (cams, batch.masks),
        }
        for metric, each in arguments.items():
            expected = evaluator.metric(metric).rows(*each)
            torch.testing.assert_close(rows[name, metric], expected.double(), rtol=1e-5, atol=1e-6)


NAMES_OF_LABEL = ["top_1_localization", "top_5_localization", "gt_known_localization"]


def test_localization_of_the_label(network, batch):
    settings = replace(SETTINGS, class_of="label", box_threshold=0.05)
    evaluator = Evaluator(network, methods(network, ["grad_cam"]), NAMES_OF_LABEL, settings)
    right = torch.tensor([True, True, True, False, True])
    labels = (network(batch.images).argmax(dim=1) + ~right) % 4
    batch = replace(batch, labels=labels, boxes=[torch.tensor([[0.0, 0.0, 16.0, 16.0]])] * 4 + batch.boxes[4:])
    found = evaluator(batch)
    cams = normalize(resized_maps(evaluator.methods["grad_cam"], batch.images, batch.labels))
    hits = evaluator.metric("gt_known_localization").rows(cams, batch.boxes)
    torch.testing.assert_close(found.rows["grad_cam", "gt_known_localization"], hits)
    assert hits[3, 12]  # at 0.05 of 255: the image that is classified wrongly
    assert torch.equal(found.rows["grad_cam", "top_5_localization"], hits)  # the network has four classes
    hits[~right, :-1] = 0
    torch.testing.assert_close(found.rows["grad_cam", "top_1_localization"], hits)
    top_1 = evaluator.metric("top_1_localization")
    assert top_1.image_scores(hits).tolist()[:4] == [*hits[:3, 12].tolist(), 0.0]


def test_a_setting_that_is_new_is_kept_only_where_it_is_set():
    """The folder of an earlier evaluation, and the hash of an earlier study, are known again."""
    for threshold in (None, 0.25):
        plan = EvaluationPlan(settings=EvaluationSettings(box_threshold=threshold))
        assert plan.as_json()["settings"].get("box_threshold", "absent") == (threshold or "absent")
        assert EvaluationPlan.from_json(plan.as_json()) == plan


def test_metrics_of_the_label_need_its_map(network, batch):
    assert set(NAMES_OF_LABEL) <= set(metric_names("localization", "label"))
    assert metric_names(NAMES_OF_LABEL) == NAMES_OF_LABEL
    assert not set(NAMES_OF_LABEL) & set(metric_names("all", "prediction"))
    assert not set(NAMES_OF_LABEL) & set(Evaluator(network, methods(network), ["localization"], SETTINGS).metrics)
    with pytest.raises(ValueError, match='`class_of`: expected "label", since top_1_localization is about the map of'):
        Evaluator(network, methods(network), ["top_1_localization"], SETTINGS)
    # A callback goes on with the prediction where labels turn out to be unknown: then nothing is counted.
    evaluator = Evaluator(network, methods(network), NAMES_OF_LABEL, replace(SETTINGS, class_of="label"))
    evaluator.settings = SETTINGS
    assert not any(rows.any() for rows in evaluator(replace(batch, labels=None)).rows.values())


def test_ignored_pixels_are_left_out(network, batch):
    ignored = torch.zeros_like(batch.masks)
    ignored[:, 12:] = True
    evaluator = Evaluator(network, methods(network, ["grad_cam"]), ["pixel_average_precision"], SETTINGS)
    rows = evaluator(replace(batch, ignored=ignored)).rows["grad_cam", "pixel_average_precision"]
    cams = normalize(resized_maps(evaluator.methods["grad_cam"], batch.images))
    expected = evaluator.metric("pixel_average_precision").rows(cams[:, :12], batch.masks[:, :12])
    torch.testing.assert_close(rows, expected)
    assert rows.sum(dim=1).tolist() == [12 * 16] * 4 + [0]


def test_masks_may_take_the_place_of_boxes(network, batch):
    settings = EvaluationSettings(annotation="masks")
    masked = Evaluator(network, methods(network), ["localization_iou_25"], settings)
    boxed = Evaluator(network, methods(network), ["localization_iou_25", "max_box_accuracy_v1"])
    only_masks = Batch(batch.images, batch.labels, None, batch.masks)
    expected = boxed(batch).rows
    # The masks are the boxes, here.
    assert torch.equal(
        masked(batch).rows["grad_cam", "localization_iou_25"], expected["grad_cam", "localization_iou_25"]
    )
    for pair, rows in boxed(only_masks).rows.items():
        assert torch.equal(rows, expected[pair])


def test_gradients_are_each_image_s_own(network, batch):
    evaluator = Evaluator(network, methods(network), ["gradient"])
    rows = evaluator(batch).rows
    assert set(rows) == {(NETWORK, "gradient_noise"), (NETWORK, "guided_agreement")}
    expected = []
    for image in batch.images:
        image = image[None].clone().requires_grad_()
        logits = network(image)
        loss = nn.functional.cross_entropy(logits, logits.argmax(dim=1))
        guided = guided_gradient(loss, image)
        (gradient,) = torch.autograd.grad(loss, image)
        expected.append(float(nn.functional.cosine_similarity(gradient.flatten(), guided.flatten(), dim=0)))
    agreement = evaluator.metric("guided_agreement").image_scores(rows[NETWORK, "guided_agreement"])
    assert agreement.tolist() == pytest.approx(expected, abs=1e-4)


def test_a_network_without_gates_still_has_gradient_noise(batch):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)
    ).eval()
    evaluator = Evaluator(network, {"grad_cam": method_named("grad_cam", network)}, ["gradient"])
    rows = evaluator(batch).rows
    assert int(rows[NETWORK, "gradient_noise"][:, 1].sum()) == 5
    assert not rows[NETWORK, "guided_agreement"].any()
    assert "ReLU" in evaluator.reasons[NETWORK]


class Rooted(nn.Module):
    """Its gradient is NaN for an image that is zero everywhere, and what it says is not."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, bias=False)
        self.head = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, images):
        return self.head(self.convolution(images).square().mean(dim=(2, 3)).sqrt())


def test_a_gradient_that_is_not_finite_costs_its_image_alone(batch):
    torch.manual_seed(0)
    network = Rooted().eval()
    evaluator = Evaluator(network, {"eigen_cam": method_named("eigen_cam", network)}, ["gradient"])
    expected = evaluator(batch).rows
    assert evaluator.reasons == {}
    batch.images[2] = 0
    rows = evaluator(batch).rows
    assert evaluator.reasons == {NETWORK: "the input gradient is not finite"}
    for name in evaluator.metrics:
        assert rows[NETWORK, name][:, 1].tolist() == [1, 1, 0, 1, 1]
        assert torch.equal(rows[NETWORK, name][[0, 1, 3, 4]], expected[NETWORK, name][[0, 1, 3, 4]])
        assert not rows[NETWORK, name][2].any()


def test_an_image_s_rows_do_not_depend_on_the_batch(network, batch):
    names = [*NAMES, "smooth_grad", "score_cam"]
    evaluator = Evaluator(network, methods(network, names, num_samples=3, seed=0), ["all"], SETTINGS)
    together = evaluator(batch).rows
    for index in range(5):
        one = slice(index, index + 1)
        alone = Batch(batch.images[one], batch.labels[one], batch.boxes[one], batch.masks[one])
        for pair, rows in evaluator(alone).rows.items():
            if pair[1] == "map_leakage":  # an image alone has no other one to lay its map over
                continue
            torch.testing.assert_close(rows, together[pair][one], rtol=2e-3, atol=1e-4, msg=str(pair))


def test_passes_are_counted_and_shared(network, batch):
    run = [0]
    network.register_forward_pre_hook(lambda module, inputs: run.__setitem__(0, run[0] + len(inputs[0])))
    evaluator = Evaluator(
        network, methods(network), ["insertion_auc", "deletion_auc", "average_drop", "road"], SETTINGS
    )
    for method in evaluator.methods.values():
        method(batch.images, 0)
    maps, run[0] = run[0], 0
    evaluator(batch)
    # One pass with the images, one with what is blurred, one with zeros; then for each method the masked images, the
    # steps in between, and two orders of two shares.
    assert dict(evaluator.passes) == {
        "image": 5,
        "insertion_curve": 5 * (1 + 3 * 4),
        "deletion_curve": 5 * (1 + 3 * 4),
        "masked_scores": 5 * 3,
        "removal_curves": 5 * 3 * 4,
    }
    assert run[0] == maps + sum(evaluator.passes.values())
    assert evaluator.images == 5


def test_labels_may_be_explained(network, batch):
    settings = EvaluationSettings(class_of="label")
    found = Evaluator(network, methods(network), ["average_drop"], settings)(batch)
    assert torch.equal(found.class_idx, batch.labels)
    expected = network(batch.images).softmax(dim=1).gather(1, batch.labels[:, None])[:, 0].detach()
    torch.testing.assert_close(found.scores, expected)
    with pytest.raises(ValueError, match='`class_of`: expected "prediction" where labels are unknown'):
        Evaluator(network, methods(network), ["average_drop"], settings)(Batch(batch.images))


def test_a_method_without_a_map_is_noted_and_not_counted(network, batch):
    class Broken:
        def __call__(self, images, class_idx=None):
            raise ValueError("no map today")

    class Infinite:
        def __call__(self, images, class_idx=None):
            return torch.full((len(images), 4, 4), torch.inf)

    evaluator = Evaluator(network, {**methods(network), "broken": Broken(), "infinite": Infinite()}, ["all"], SETTINGS)
    rows = evaluator(batch).rows
    assert evaluator.reasons == {"broken": "no map today", "infinite": "the map is not finite"}
    assert not any(rows[method, name].any() for method, name in evaluator.pairs if method in ("broken", "infinite"))
    alone = Evaluator(network, methods(network), ["win"])(batch).rows
    for method in NAMES:
        assert torch.equal(rows[method, "win"], alone[method, "win"])


def test_the_network_is_left_as_found_also_in_inference_mode(network, batch):
    network.train()
    network.bn1.eval()
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    evaluator = Evaluator(network, methods(network), ["all"], SETTINGS)
    torch.manual_seed(5)
    generator = torch.get_rng_state()
    with torch.inference_mode():
        made = Batch(batch.images + 0, batch.labels + 0, batch.boxes, batch.masks)
        inside = evaluator(made).rows
    outside = evaluator(batch).rows
    assert all(torch.equal(inside[pair], outside[pair]) for pair in inside)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert not any(rows.requires_grad for rows in outside.values())


def test_metrics_by_name_and_group():
    assert metric_names(["all"], "label") == list(METRICS)
    assert set(METRICS) - set(metric_names(["fast"], "label")) == {"road", "parameter_randomization"}
    assert set(METRICS) - set(metric_names(["all"])) == set(NAMES_OF_LABEL)
    assert metric_names(["gradient", "gradient_noise"]) == ["gradient_noise", "guided_agreement"]
    with pytest.raises(ValueError, match="`metrics`: none is called 'average_dorp'; did you mean 'average_drop'"):
        metric_names(["average_dorp"])


@pytest.mark.parametrize(
    "settings",
    [
        {"class_of": "truth"},
        {"annotation": "polygons"},
        {"annotation": None},
        {"num_steps": 0},
        {"insertion_start": "noise"},
        {"deletion_end": "black"},
        {"num_stages": 0},
        {"removed_shares": (0.5, 1.0)},
        {"removed_shares": ()},
        {"tolerance": -1},
        {"box_threshold": 1.0},
    ],
)
def test_bad_settings_are_named(settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
        EvaluationSettings(**settings)


def test_there_is_a_method(network):
    with pytest.raises(ValueError, match="`methods`: expected at least one, got none"):
        Evaluator(network, {})


def test_a_map_that_is_not_finite_costs_its_image_alone(network, batch):
    class OneBad:
        def __call__(self, images, class_idx=None):
            cams = torch.rand(len(images), 4, 4, generator=torch.Generator().manual_seed(0))
            cams[0] = torch.nan
            return cams

    evaluator = Evaluator(network, {"one_bad": OneBad()}, ["average_drop", "localization_iou_25"])
    rows = evaluator(batch).rows
    assert rows["one_bad", "average_drop"][:, 1].tolist() == [0, 1, 1, 1, 1]
    assert rows["one_bad", "localization_iou_25"][:, 1].tolist() == [0, 1, 1, 1, 0]  # the last one has no box


class FailsAgain:
    """A method that makes maps when it is called for the first time, and then no more, or bad ones."""

    def __init__(self, bad):
        self.bad, self.calls = bad, 0

    def __call__(self, images, class_idx=None):
        self.calls += 1
        cams = torch.rand(len(images), 4, 4, generator=torch.Generator().manual_seed(self.calls))
        if self.calls > 1 and self.bad == "none":
            raise ValueError("once is enough")
        if self.calls > 1:
            cams[1] = torch.nan
        return cams


@pytest.mark.parametrize(
    ("name", "need", "what"),
    [
        ("adcc", "masked_cams", "the masked image"),
        ("class_sensitivity", "other_cams", "another class"),
        ("parameter_randomization", "randomized_cams", "the randomized network"),
    ],
)
@pytest.mark.parametrize("bad", ["none", "nan"])
def test_a_further_map_that_fails_costs_only_the_score_that_needs_it(network, batch, name, need, what, bad):
    metrics = ["average_drop", "win", "insertion_auc", "localization", name]
    both = {"again": FailsAgain(bad), **methods(network, ["grad_cam"])}
    evaluator = Evaluator(network, both, metrics, SETTINGS)
    rows = evaluator(batch).rows
    expected = Evaluator(network, {**both, "again": FailsAgain(bad)}, metrics[:-1], SETTINGS)(batch).rows
    assert all(torch.equal(rows[pair], each) for pair, each in expected.items())
    counted = evaluator.metric(name).image_scores(rows["again", name]).isfinite().tolist()
    assert counted == ([False] * 5 if bad == "none" else [True, False, True, True, True])
    assert rows["grad_cam", name].any(dim=1).all()
    reason = "once is enough" if bad == "none" else "the map is not finite"
    assert evaluator.reasons == {f"again/{need}": reason}
    assert what_is_missing(f"grad_cam/{need}").startswith(f"Grad-CAM made no map of {what} for some images")


def test_the_other_class_is_another_one(network, batch):
    least = network(batch.images).argmin(dim=1)
    settings = EvaluationSettings(class_of="label")
    evaluator = Evaluator(network, methods(network, ["grad_cam"]), ["class_sensitivity"], settings)
    rows = evaluator(Batch(batch.images, least)).rows["grad_cam", "class_sensitivity"]
    assert float(rows[:, 0].sum()) > 0  # of the same class twice it would be 0


class MeanValue(AdditiveScore):
    """The mean over images of the mean of whatever a need has measured."""

    def __init__(self):
        super().__init__(row_length=2)

    def rows(self, values):
        means = values.flatten(1).mean(dim=1)
        return torch.stack([means, torch.ones_like(means)], dim=1)

    def value(self, total):
        return total[..., 0] / total[..., 1]


def add_metric(monkeypatch, need, group="faithfulness"):
    spec = MetricSpec(
        "made up",
        group,
        lambda settings: MeanValue(),
        lambda measured: (measured.further[need.name],),
        needs=(need,),
    )
    monkeypatch.setitem(METRICS, "made_up", spec)


def test_a_new_need_of_probabilities_is_one_object(network, batch, monkeypatch):
    # The fall of the probability from the image in half its contrast to the image in the inverse of its map.
    need = ProbabilityNeed(
        name="inverted_scores",
        shared=lambda batch: [batch.images / 2],
        variants=lambda batch, measured: [batch.images * (1 - measured.cams).unsqueeze(1)],
        assembled=lambda measured, shared, own: (shared[0] - own[0]).unsqueeze(1),
    )
    add_metric(monkeypatch, need)
    sizes = []
    network.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    evaluator = Evaluator(network, methods(network, ["grad_cam", "layer_cam"]), ["made_up", "average_drop"], SETTINGS)
    rows = evaluator(batch).rows
    assert dict(evaluator.passes) == {"image": 5, "inverted_scores": 5 + 2 * 5, "masked_scores": 2 * 5}
    assert sizes.count(25) == 1, "the variants of both needs and both methods share one pass"
    for method in evaluator.methods:
        for index, image in enumerate(batch.images):
            class_idx = int(network(image[None]).argmax())
            cam = normalized_maps(evaluator.methods[method], image[None], class_idx)
            half = probability(network, image[None] / 2, class_idx)
            inverted = probability(network, image[None] * (1 - cam), class_idx)
            assert float(rows[method, "made_up"][index, 0]) == pytest.approx(float(half - inverted), abs=1e-5)


@pytest.mark.parametrize("bad", ["none", "nan"])
def test_a_new_need_of_maps_is_one_object(network, batch, monkeypatch, bad):
    need = MapNeed(
        name="mirrored_cams",
        of="the mirrored image",
        question=lambda batch, measured: (batch.images.flip(3), batch.class_idx),
    )
    add_metric(monkeypatch, need, "sanity")
    both = {"again": FailsAgain(bad), **methods(network, ["grad_cam"])}
    evaluator = Evaluator(network, both, ["made_up", "average_drop"], SETTINGS)
    found = evaluator(batch)
    mirrored = normalized_maps(evaluator.methods["grad_cam"], batch.images.flip(3), found.class_idx)
    torch.testing.assert_close(
        found.rows["grad_cam", "made_up"][:, 0], mirrored.flatten(1).mean(dim=1).double(), rtol=1e-4, atol=1e-6
    )
    assert found.rows["again", "made_up"][:, 1].tolist() == ([0] * 5 if bad == "none" else [1, 0, 1, 1, 1])
    assert found.rows["again", "average_drop"][:, 1].tolist() == [1] * 5
    assert list(evaluator.reasons) == ["again/mirrored_cams"]
    assert what_is_missing("layer_cam/mirrored_cams").startswith("LayerCAM made no map of the mirrored image for some")


def test_a_new_need_of_maps_may_change_the_network(network, batch, monkeypatch):
    def stages(batch):
        weight = batch.network.fc.weight
        before = weight.detach().clone()
        for factor in (1, -1):
            with torch.no_grad():
                weight.copy_(factor * before)
            yield
        with torch.no_grad():
            weight.copy_(before)

    def check(network, settings):
        if not hasattr(network, "fc"):
            raise ValueError("`network`: expected a layer called fc")

    need = MapNeed(
        name="negated_cams",
        of="the negated network",
        question=lambda batch, measured: (batch.images, batch.class_idx),
        stages=stages,
        check=check,
    )
    spec = MetricSpec(
        "made up",
        "sanity",
        lambda settings: MeanValue(),
        lambda measured: ((measured.further["negated_cams"] - measured.cams.unsqueeze(1)).abs().flatten(2).mean(2),),
        needs=(need,),
    )
    monkeypatch.setitem(METRICS, "made_up", spec)
    evaluator = Evaluator(network, methods(network, ["grad_cam"]), ["made_up"])
    found = evaluator(batch)
    cams = found.cams["grad_cam"]
    with torch.no_grad():
        network.fc.weight.neg_()
    negated = normalized_maps(evaluator.methods["grad_cam"], batch.images, found.class_idx)
    # The first stage leaves the maps as they are; the mean over both stages is half of what the second one changes.
    expected = (negated - cams).abs().flatten(1).mean(dim=1) / 2
    assert float(expected.min()) > 0.01
    torch.testing.assert_close(found.rows["grad_cam", "made_up"][:, 0], expected.double(), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="`network`: expected a layer called fc"):
        Evaluator(nn.Identity(), {"own": FailsAgain("none")}, ["made_up"])


def test_a_new_need_that_compares_methods_is_one_object(network, batch, monkeypatch):
    def broken(images, class_idx=None):
        raise ValueError("no map today")

    need = ComparisonNeed(
        name="number_of_maps",
        compared=lambda batch, methods: (
            torch.tensor([[each is not None for each in methods]] * len(batch.images)) * 1.0
        ),
    )
    add_metric(monkeypatch, need)
    evaluator = Evaluator(network, {"broken": broken, **methods(network)}, ["made_up"])
    rows = evaluator(batch).rows
    assert rows["grad_cam", "made_up"][:, 0].tolist() == [0.75] * 5
    assert not rows["broken", "made_up"].any()


@pytest.mark.parametrize("gradient", ["missing", "nan"])
def test_a_new_need_of_a_gradient_is_one_object(network, batch, monkeypatch, gradient):
    def squared(loss, images):
        if gradient == "missing":
            raise ValueError("no gradient today")
        found = input_gradient(loss, images).square()
        found[3] = torch.nan
        return found

    add_metric(monkeypatch, GradientNeed(name="squared", what="the squared gradient", gradient=squared), "gradient")
    evaluator = Evaluator(network, methods(network, ["grad_cam"]), ["made_up", "gradient_noise"])
    rows = evaluator(batch).rows
    assert rows[NETWORK, "gradient_noise"][:, 1].tolist() == [1] * 5
    if gradient == "missing":
        assert not rows[NETWORK, "made_up"].any()
        assert evaluator.reasons == {NETWORK: "no gradient today"}
        return
    assert evaluator.reasons == {NETWORK: "the squared gradient is not finite"}
    image = batch.images[:1].clone().requires_grad_()
    logits = network(image)
    (expected,) = torch.autograd.grad(nn.functional.cross_entropy(logits, logits.argmax(dim=1)), image)
    assert float(rows[NETWORK, "made_up"][0, 0]) == pytest.approx(float(expected.square().mean()), rel=1e-4)
    assert rows[NETWORK, "made_up"][:, 1].tolist() == [1, 1, 1, 0, 1]


def test_two_needs_of_one_name_are_an_error(network, monkeypatch):
    need = ProbabilityNeed(
        name="masked_scores",
        variants=lambda batch, measured: [],
        assembled=lambda measured, shared, own: measured.batch.scores,
    )
    add_metric(monkeypatch, need)
    with pytest.raises(ValueError, match="`needs`: expected one need called 'masked_scores', got another one"):
        Evaluator(network, methods(network), ["average_drop"])


def test_the_order_of_the_metrics_plays_no_part(network, batch):
    names = ["road", "deletion_auc", "insertion_auc", "adcc", "average_drop"]
    found = {}
    for order in (names, names[::-1]):
        evaluator = Evaluator(network, methods(network), order, SETTINGS, max_batch=12)
        found[order[0]] = evaluator(batch).rows
        assert next(iter(evaluator.needs)) == "masked_scores"
    assert all(torch.equal(rows, found["average_drop"][pair]) for pair, rows in found["road"].items())


def test_any_annotation_is_the_mask_of_an_image_that_has_one_and_else_its_boxes(network):
    """Four images of 4 × 4 pixels: a mask of the first column, a box of half the first row, both, and neither."""

    class Ramp:
        """The raw map 1, 2, 4, 8 from left to right, in each row."""

        def __call__(self, images, class_idx=None):
            return torch.tensor([1.0, 2.0, 4.0, 8.0]).expand(len(images), 4, 4)

    row, none = torch.tensor([[0.0, 0.0, 4.0, 1.0]]), torch.zeros(0, 4)
    masks = torch.zeros(4, 4, 4, dtype=torch.bool)
    masks[[0, 2], :, 0] = True
    boxes = [none, torch.tensor([[0.0, 0.0, 2.0, 1.0]]), row, none]
    batch = Batch(torch.randn(4, 3, 4, 4), None, boxes, masks)
    energy = {
        # The energy of a map is 4 · 15. The first column holds 4 of it, the box of the second image 1 + 2.
        "any": [4 / 60, 3 / 60, 4 / 60, None],
        # The tight box around the first column is the first column. The box of the third image holds a row, 15.
        "boxes": [4 / 60, 3 / 60, 15 / 60, None],
        "masks": [4 / 60, None, 4 / 60, None],
    }
    for kind, expected in energy.items():
        evaluator = Evaluator(network, {"ramp": Ramp()}, ["energy_pointing_game"], EvaluationSettings(annotation=kind))
        found = evaluator(batch)
        (truth,) = evaluator.truths
        assert truth == {"any": "boxes or masks"}.get(kind, kind)
        assert found.annotated[truth].tolist() == [each is not None for each in expected]
        scores = evaluator.metric("energy_pointing_game").image_scores(found.rows["ramp", "energy_pointing_game"])
        assert scores.nan_to_num(-1).tolist() == pytest.approx([-1 if each is None else each for each in expected])
        for index in range(4):  # the neighbors of an image do not matter
            alone = evaluator(batch.subset([index])).rows["ramp", "energy_pointing_game"]
            assert torch.equal(alone[0], found.rows["ramp", "energy_pointing_game"][index])


@pytest.mark.parametrize("known", ["boxes", "masks", "nothing"])
def test_any_annotation_where_the_batch_has_one_kind_only(network, batch, known):
    part = replace(batch, **{name: None for name in ("boxes", "masks") if name != known})
    rows = {}
    for kind in ("any", "boxes"):
        evaluator = Evaluator(network, methods(network), ["localization_iou_25"], EvaluationSettings(annotation=kind))
        rows[kind] = evaluator(part).rows["grad_cam", "localization_iou_25"]
    assert torch.equal(rows["any"], rows["boxes"])  # in these images, the masks are the boxes
    assert int(rows["any"][:, 1].sum()) == (0 if known == "nothing" else 4)
