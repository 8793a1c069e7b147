"""Scores of controls, scores beyond control, and map leakage."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from camtrain.batch import Batch
from camtrain.controls import donors
from camtrain.evaluation import (
    METRICS,
    EvaluationPlan,
    EvaluationSettings,
    Evaluator,
    combined_interval,
    compare,
    evaluate,
    resampling_weights,
)
from camtrain.evaluation.foreign_content import noise_images, other_images
from camtrain.evaluation.masked_image import masked_images
from camtrain.methods import method_named, methods_named, normalized_maps
from camtrain.metrics import adcc, coherency, complexity, drop
from camtrain.networks import CIFARResNet

SETTINGS = EvaluationSettings(num_steps=3, removed_shares=(0.2, 0.6), num_stages=2)
METRICS_OF_IMAGES = ["average_drop", "win", "insertion_auc", "adcc", "map_leakage", "class_sensitivity"]


def network_of(seed):
    torch.manual_seed(seed)
    network = CIFARResNet(depth=8, num_classes=4, width=4)
    network(torch.randn(16, 3, 16, 16))
    with torch.no_grad():
        network.fc.weight *= 8
    return network.eval()


@pytest.fixture
def network():
    return network_of(0)


@pytest.fixture
def batch():
    return Batch(torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 3, 0]))


@torch.no_grad()
def probabilities(network, images, class_idx):
    return network(images).softmax(dim=1).gather(1, class_idx[:, None])[:, 0]


def test_controls_change_no_score_and_cost_their_own_passes(network, batch):
    methods = methods_named("grad_cam,layer_cam", network, "layer2")
    alone = Evaluator(network, methods, METRICS_OF_IMAGES, SETTINGS)
    expected = alone(batch).rows
    controls = methods_named("center,shuffled_grad_cam", network, "layer2")
    evaluator = Evaluator(network, methods, METRICS_OF_IMAGES, SETTINGS, controls=controls)
    found = evaluator(batch)
    for pair, rows in expected.items():
        torch.testing.assert_close(found.rows[pair], rows, rtol=1e-4, atol=1e-5, msg=str(pair))
    scored = [name for method, name in evaluator.pairs if method == "center"]
    assert scored == ["average_drop", "insertion_auc", "adcc", "map_leakage"]
    assert set(found.cams) == set(methods)
    assert dict(alone.passes) == {"image": 5, "masked_scores": 10, "insertion_curve": 25, "content_scores": 25}
    assert dict(evaluator.passes) == {"image": 5, "masked_scores": 20, "insertion_curve": 45, "content_scores": 45}
    assert evaluator.reasons == {}


def test_scores_of_controls_by_hand(network, batch):
    methods = methods_named("grad_cam", network, "layer2")
    controls = methods_named("uniform,center,shuffled_grad_cam", network, "layer2")
    evaluator = Evaluator(network, methods, ["average_drop", "map_leakage"], SETTINGS, controls=controls)
    found = evaluator(batch)
    given = probabilities(network, batch.images, found.class_idx)
    y, x = torch.meshgrid(torch.arange(16) - 7.5, torch.arange(16) - 7.5, indexing="ij")
    maps = {
        "uniform": torch.ones(5, 16, 16),
        "center": torch.exp(-(y**2 + x**2) / (2 * 4**2)).expand(5, 16, 16),
        "shuffled_grad_cam": found.cams["grad_cam"][donors(found.class_idx)],
    }
    for name, cams in maps.items():
        masked = probabilities(network, masked_images(batch.images, cams), found.class_idx)
        scores = evaluator.metric("average_drop").image_scores(found.rows[name, "average_drop"])
        torch.testing.assert_close(scores.float(), drop(given, masked), rtol=1e-3, atol=1e-4)
    assert float(found.rows["uniform", "average_drop"][:, 0].max()) < 1e-5
    assert not found.rows["uniform", "map_leakage"][:, 0].any()  # the content as it is, to the bit


def test_the_maps_of_a_method_are_not_made_again_to_be_shuffled(network, batch):
    calls = []
    method = method_named("grad_cam", network, "layer2")

    class Counting(type(method)):
        def __call__(self, images, class_idx=None):
            calls.append(len(images))
            return super().__call__(images, class_idx)

    method.__class__ = Counting
    control = method_named("shuffled_grad_cam", network, "layer2")
    control.method.__class__ = Counting
    Evaluator(network, {"grad_cam": method}, ["average_drop"], controls={"shuffled_grad_cam": control})(batch)
    assert calls == [5]
    found = Evaluator(network, {"shuffled_grad_cam": control}, ["average_drop"])(batch)
    assert calls == [5, 5]
    cams = Evaluator(network, {"grad_cam": method}, ["average_drop"])(batch).cams["grad_cam"]
    torch.testing.assert_close(found.cams["shuffled_grad_cam"], cams[donors(found.class_idx)])


def test_one_image_has_no_other_and_is_not_counted_for_the_control(network, batch):
    methods = methods_named("grad_cam", network)
    controls = methods_named("shuffled_grad_cam", network)
    evaluator = Evaluator(network, methods, ["average_drop", "map_leakage"], controls=controls)
    rows = evaluator(batch.subset([0])).rows
    assert rows["grad_cam", "average_drop"][:, 1].tolist() == [1]
    assert rows["grad_cam", "map_leakage"][:, 1].tolist() == [1]  # over noise alone
    assert rows["shuffled_grad_cam", "average_drop"].tolist() == [[0, 0]]
    assert "expected at least two" in evaluator.reasons["shuffled_grad_cam"]


def test_a_map_that_is_not_finite_is_lent_to_no_image(network, batch):
    method = method_named("grad_cam", network, "layer2")

    class OneBad(type(method)):
        def __call__(self, images, class_idx=None):
            cams = super().__call__(images, class_idx).clone()
            cams[1] = torch.nan
            return cams

    method.__class__ = OneBad
    controls = {"shuffled_grad_cam": method_named("shuffled_grad_cam", network, "layer2")}
    found = Evaluator(network, {"grad_cam": method}, ["average_drop"], SETTINGS, controls=controls)(batch)
    assert found.rows["grad_cam", "average_drop"][:, 1].tolist() == [1, 0, 1, 1, 1]
    counted = donors(found.class_idx) != 1
    assert counted.tolist().count(False) == 1
    assert found.rows["shuffled_grad_cam", "average_drop"][:, 1].bool().tolist() == counted.tolist()


def test_the_further_map_of_a_shuffled_control_is_the_methods_own(network, batch):
    methods, controls = (methods_named(name, network, "layer2") for name in ("grad_cam", "shuffled_grad_cam"))
    evaluator = Evaluator(network, methods, ["adcc"], SETTINGS, controls=controls)
    found = evaluator(batch)
    cams = found.cams["grad_cam"][donors(found.class_idx)]
    masked = masked_images(batch.images, cams)
    again = normalized_maps(methods["grad_cam"], masked, found.class_idx)
    dropped = drop(*(probabilities(network, images, found.class_idx) for images in (batch.images, masked)))
    expected = adcc(coherency(cams, again), complexity(cams), dropped)
    scores = evaluator.metric("adcc").image_scores(found.rows["shuffled_grad_cam", "adcc"])
    torch.testing.assert_close(scores.float(), expected, rtol=1e-3, atol=1e-4)


def test_the_seed_decides_whose_map_is_lent(network):
    ((images, _labels),) = data()
    lent = set()
    for seed in range(3):
        found = evaluated(network, metrics=["average_drop"], controls="shuffled", settings=replace(SETTINGS, seed=seed))
        class_idx = found.found.class_idx
        others = donors(class_idx, seed)
        lent.add(tuple(others.tolist()))
        cams = normalized_maps(method_named("grad_cam", network), images, class_idx)[others]
        given, masked = (probabilities(network, each, class_idx) for each in (images, masked_images(images, cams)))
        rows = found.found.rows["shuffled_grad_cam", "average_drop"]
        scores = found.evaluator.metric("average_drop").image_scores(rows)
        torch.testing.assert_close(scores.float(), drop(given, masked), rtol=1e-3, atol=1e-4)
    assert len(lent) == 3


# Beyond control ----------------------------------------------------------------------------------


def data():
    generator = torch.Generator().manual_seed(2)
    return [(torch.randn(12, 3, 16, 16, generator=generator), torch.arange(12) % 4)]


def evaluated(network, **options):
    given = {"metrics": ["average_drop", "insertion_auc", "win"], "settings": SETTINGS, "controls": "shuffled,center"}
    return evaluate(network, data(), "grad_cam,layer_cam", progress=False, **given | options)


def test_beyond_control_is_the_paired_difference_of_method_and_control(network):
    found = evaluated(network)
    weights = resampling_weights(12)
    for control, names in {
        "shuffled": ("shuffled_grad_cam", "shuffled_layer_cam"), "center": ("center", "center")
    }.items():  # fmt: skip
        beyond = found.beyond(control)
        assert {(each.method, each.metric) for each in beyond} == {
            (method, metric) for method in ("grad_cam", "layer_cam") for metric in ("average_drop", "insertion_auc")
        }
        for method, name in zip(("grad_cam", "layer_cam"), names, strict=True):
            for metric in ("average_drop", "insertion_auc"):
                score = beyond.score(method, metric)
                difference = found.score(method, metric).value - found.score(name, metric).value
                assert score.value == pytest.approx(difference)
                rows = found.found.rows
                signed = [(-1, rows[name, metric]), (1, rows[method, metric])]
                expected = combined_interval(found.evaluator.metric(metric), signed, weights)
                assert score.interval == pytest.approx(expected)
                # The sign is not turned round: of a drop, less is better.
                assert score.higher_is_better == (metric == "insertion_auc")
                assert score.num_images == 12
    assert "minus shuffled maps" in str(found.beyond())
    assert [each.method for each in found if each.metric == "win"] == ["grad_cam", "layer_cam"]


def test_the_difference_of_two_differences_has_one_bootstrap(network):
    first, second = evaluated(network), evaluated(network_of(1))
    table = second.beyond().minus(first.beyond())
    for each in table:
        name = f"shuffled_{each.method}"
        four = [
            other.evaluator.metric(each.metric).image_scores(other.found.rows[method, each.metric])
            for other in (second, first)
            for method in (each.method, name)
        ]
        # Both metrics are means over images, so that the four scores of an image may be put together first.
        one = four[0] - four[1] - four[2] + four[3]
        assert each.value == pytest.approx(float(one.mean()))
        means = resampling_weights(12) @ one / 12
        low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        assert each.interval[1:] == pytest.approx((low, high))
    assert len(table) == 4
    with pytest.raises(ValueError, match="`other`: expected scores beyond shuffled maps, got beyond center maps"):
        second.beyond().minus(first.beyond("center"))
    fewer = evaluate(network, data(), settings=SETTINGS, metrics="average_drop", controls="shuffled", num_images=8,
                     progress=False)  # fmt: skip
    with pytest.raises(ValueError, match="`other`: expected an evaluation of the same images"):
        second.beyond().minus(fewer.beyond())


def test_a_control_that_was_not_scored_is_named(network):
    found = evaluate(network, data(), metrics="average_drop", progress=False)
    with pytest.raises(ValueError, match="`control`: 'shuffled' was not scored"):
        found.beyond()
    with pytest.raises(ValueError, match="`controls`: none is called 'grad_cam'"):
        found.beyond("grad_cam")
    with pytest.raises(ValueError, match="`controls`: none is called 'suffled'; did you mean 'shuffled'"):
        evaluate(network, data(), controls="suffled", progress=False)


def test_images_that_do_not_count_for_the_control_are_left_out(network):
    # Of the parts of 12 images, the last one has one image.
    found = evaluate(network, data(), metrics="average_drop", controls="shuffled", batch_size=12, progress=False)
    with pytest.warns(UserWarning, match=r"shuffled Grad-CAM made no map of 1 of 12 images \(image 11\)"):
        parted = evaluate(network, data(), metrics="average_drop", controls="shuffled", batch_size=11, progress=False)
    assert found.beyond().score("grad_cam", "average_drop").num_images == 12
    score = parted.beyond().score("grad_cam", "average_drop")
    assert (score.num_images, parted.score("grad_cam", "average_drop").num_images) == (11, 12)
    rows = {name: parted.found.rows[name, "average_drop"][:11, 0].mean() for name in ("grad_cam", "shuffled_grad_cam")}
    assert score.value == pytest.approx(float(rows["grad_cam"] - rows["shuffled_grad_cam"]))


def test_a_comparison_is_beyond_control_by_default(network, tmp_path):
    other = network_of(1)
    given = {"metrics": "average_drop", "progress": False}
    found = compare(network, other, data(), folder=tmp_path / "both", **given)
    assert list(found.beyond) == ["shuffled"]
    expected = found.second.beyond().minus(found.first.beyond())
    assert [each.interval for each in found.beyond["shuffled"]] == [each.interval for each in expected]
    assert "beyond shuffled maps" in str(found)
    assert (tmp_path / "both/differences_beyond_shuffled.csv").is_file()
    plain = compare(network, other, data(), controls=(), folder=tmp_path / "plain", **given)
    assert not plain.beyond
    for one, two in zip(plain.differences, found.differences, strict=False):
        assert (one.method, one.value) == (two.method, pytest.approx(two.value))
    # The folder of an evaluation without controls is as it was before there were any.
    assert "controls" not in plain.first.identity
    compare(network, other, data(), folder=tmp_path / "both", controls="center", fresh=True, **given)
    assert not (tmp_path / "both/differences_beyond_shuffled.csv").exists()


def test_a_plan_knows_its_controls():
    plan = EvaluationPlan("grad_cam", "average_drop,win", controls="shuffled,center")
    assert plan.controls == ("shuffled", "center")
    assert EvaluationPlan.from_json(plan.as_json()) == plan
    assert plan.score_names == [
        "average_drop", "win", "average_drop/grad_cam", "win/grad_cam", "average_drop/shuffled_grad_cam",
        "average_drop/center",
    ]  # fmt: skip
    before = EvaluationPlan().as_json()
    del before["controls"]
    assert EvaluationPlan.from_json(before) == EvaluationPlan()
    assert "controls=shuffled, center" in str(plan)


# Leakage -----------------------------------------------------------------------------------------


class ReadsTheShape(nn.Module):
    """Says class k if only quadrant k of the image holds anything, and class 4 if all of them do."""

    def forward(self, images):
        energy = torch.stack([part.abs().mean(dim=(1, 2, 3)) for part in quadrants(images)], dim=1)
        logits = 50 * (2 * energy - energy.sum(dim=1, keepdim=True))
        return torch.cat([logits, torch.zeros(len(images), 1)], dim=1)


class ReadsTheColor(nn.Module):
    """Says the class of the strongest channel, wherever it is strong."""

    def forward(self, images):
        mean = images.mean(dim=(2, 3))
        sure = 40 * mean / mean.norm(dim=1, keepdim=True).clamp_min(0.02)
        return torch.cat([sure, torch.full((len(images), 1), 20.0)], dim=1)


def quadrants(images):
    return [part for half in images.chunk(2, dim=2) for part in half.chunk(2, dim=3)]


class Quadrant:
    """The map of class k is 1 on quadrant k."""

    def __call__(self, images, class_idx=None):
        cams = torch.zeros(len(images), *images.shape[2:])
        for cam, place in zip(cams, class_idx.tolist(), strict=True):
            quadrants(cam[None, None])[place % 4].fill_(1)
        return cams


def leakage(network, images, labels):
    evaluator = Evaluator(network, {"quadrant": Quadrant()}, ["map_leakage"], EvaluationSettings(class_of="label"))
    rows = evaluator(Batch(images, labels)).rows["quadrant", "map_leakage"]
    return evaluator.metric("map_leakage").image_scores(rows)


def test_a_network_that_reads_the_class_from_the_shape_of_its_map_leaks_and_another_does_not():
    labels = torch.arange(12) % 3
    colors = 2.0 * torch.eye(3)[labels][:, :, None, None].expand(12, 3, 16, 16)
    assert float(leakage(ReadsTheShape().eval(), colors, labels).min()) > 0.95
    assert float(leakage(ReadsTheColor().eval(), colors, labels).max()) < 0.05


@pytest.mark.parametrize("seed", [0, 5])
def test_leakage_by_a_loop(network, batch, seed):
    settings = EvaluationSettings(class_of="label", seed=seed)
    evaluator = Evaluator(network, methods_named("layer_cam", network, "layer2"), ["map_leakage"], settings)
    found = evaluator(batch)
    others, foreign = other_images(found.class_idx, batch.labels, seed)
    expected = []
    for index, (image, cam, wanted) in enumerate(
        zip(batch.images, found.cams["layer_cam"], found.class_idx, strict=True)
    ):
        contents = [batch.images[others[index]][None]] if foreign[index] else []
        contents.append(noise_images(image[None], seed))
        gains = []
        for content in contents:
            plain, masked = (probabilities(network, one, wanted[None]) for one in (content, content * cam))
            gains.append(max(0.0, float(masked - plain)))
        expected.append(sum(gains) / len(gains))
    scores = evaluator.metric("map_leakage").image_scores(found.rows["layer_cam", "map_leakage"])
    assert scores.tolist() == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert max(expected) > 0
    # One pass for the noise, one for the map over each content; the other images were classified anyway.
    assert evaluator.passes["content_scores"] == 5 * 3


@pytest.mark.parametrize("with_method", [True, False])
def test_the_map_that_an_image_was_lent_never_lies_over_the_image_that_it_is_of(network, with_method):
    """There it would keep what shows the other class: the control would seem to leak less than chance."""
    images, labels = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(4)), torch.arange(12) % 3
    names = ["layer_cam"] * with_method + ["shuffled_layer_cam"]
    evaluator = Evaluator(
        network, methods_named(names, network, "layer2"), ["map_leakage"], EvaluationSettings(class_of="label")
    )
    found = evaluator(Batch(images, labels))
    cams, lenders, noise = found.cams["shuffled_layer_cam"], donors(labels), noise_images(images)
    own = normalized_maps(method_named("layer_cam", network, "layer2"), images, labels)
    torch.testing.assert_close(cams, own[lenders])
    others, foreign = other_images(labels, labels, lenders=lenders)
    assert foreign.all()
    assert not bool(((others == lenders) | (labels[others] == labels)).any())
    gains = []
    for content in (images[others], noise):
        plain, masked = (probabilities(network, each, labels) for each in (content, content * cams.unsqueeze(1)))
        gains.append((masked - plain).clamp(min=0))
    scores = evaluator.metric("map_leakage").image_scores(found.rows["shuffled_layer_cam", "map_leakage"])
    torch.testing.assert_close(scores.float(), torch.stack(gains).mean(dim=0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [[0, 1, 1, 2], [0, 1, 2, 3], [3, 1, 0, 2, 2, 0, 1, 3, 3, 1, 0, 2, 2]], ids=len)
def test_another_image_is_found_beside_the_one_that_lent_its_map(classes, seed):
    classes = torch.tensor(classes)
    lenders = donors(classes, seed)
    others, foreign = other_images(classes, None, seed, lenders)
    assert not bool((others == lenders).any())
    assert foreign.all()  # no class has more than half of the images
    assert not bool((classes[others] == classes).any())
    # An image that is lent the map of a third one keeps its content.
    elsewhere = lenders.roll(1)
    kept = other_images(classes, None, seed, elsewhere)[0]
    assert torch.equal(kept[lenders != elsewhere], lenders[lenders != elsewhere])
    # Two images alone: there is no third one.
    assert not other_images(torch.tensor([0, 1]), None, seed, torch.tensor([1, 0]))[1].any()


def test_content_that_shows_the_class_is_left_out(network, batch):
    settings = EvaluationSettings(class_of="label")
    evaluator = Evaluator(network, methods_named("layer_cam", network, "layer2"), ["map_leakage"], settings)
    found = evaluator(Batch(batch.images, torch.zeros(5, dtype=torch.long)))
    noise, cams = noise_images(batch.images), found.cams["layer_cam"]
    plain, masked = (probabilities(network, each, found.class_idx) for each in (noise, noise * cams.unsqueeze(1)))
    scores = evaluator.metric("map_leakage").image_scores(found.rows["layer_cam", "map_leakage"])
    torch.testing.assert_close(scores.float(), (masked - plain).clamp(min=0), rtol=1e-3, atol=1e-5)


def test_other_content_does_not_show_the_class():
    classes, labels = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 2, 1, 0, 2, 1])
    others, foreign = other_images(classes, labels)
    assert torch.equal(foreign, (classes[others] != classes) & (labels[others] != classes))
    assert not bool((others == torch.arange(6)).any())
    assert other_images(classes, None)[1].all()
    lonely, none = other_images(classes[:1], None)
    assert lonely.tolist() == [0]
    assert none.tolist() == [False]
    assert not other_images(torch.zeros(3, dtype=torch.long), None)[1].any()


def test_noise_is_standard_and_its_own_for_each_image():
    images = torch.rand(4, 3, 32, 32)
    noise = noise_images(images)
    assert float(noise.mean()) == pytest.approx(0, abs=0.05)
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
    assert torch.equal(noise[[2]], noise_images(images[[2]]))
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise, noise_images(images, seed=1))


# What takes another one's curves or rows ----------------------------------------------------------


def test_normalized_scores_take_no_further_passes(network, batch):
    names = ["insertion_auc", "deletion_auc"]
    raw = Evaluator(network, methods_named("grad_cam", network), names, SETTINGS)
    both = Evaluator(
        network, methods_named("grad_cam", network), [*names, *(f"normalized_{name}" for name in names)], SETTINGS
    )
    raw(batch)
    found = both(batch)
    assert raw.passes == both.passes
    for name in names:
        curves: Tensor = found.rows["grad_cam", name]
        assert torch.equal(found.rows["grad_cam", f"normalized_{name}"], curves)
        area = torch.trapezoid(curves[:, :-1].mean(dim=0)) / 3
        metric = both.metric(f"normalized_{name}")
        value = float(metric.value(found.rows["grad_cam", f"normalized_{name}"].sum(dim=0)))
        assert value == pytest.approx(float(area / found.scores.mean()), rel=1e-5)


def test_scores_that_restate_others():
    assert [name for name, spec in METRICS.items() if spec.restates] == [
        "normalized_insertion_auc", "normalized_deletion_auc", "energy_beyond_area",
        "top_1_localization", "top_5_localization", "gt_known_localization",
    ]  # fmt: skip
