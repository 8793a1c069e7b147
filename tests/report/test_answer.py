"""The rule that names the best point, against values done by hand."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from scipy import stats

from camtrain import regularizers
from camtrain.evaluation import METRICS, EvaluationPlan
from camtrain.report import Rule, answer_of, answered
from camtrain.report.pareto_plane import pareto_front
from camtrain.report.points import Estimate, PointRuns, points_of
from camtrain.report.score_columns import ScoreColumn
from camtrain.report.trained_scores import trained_scores
from camtrain.study import Study, Trial
from tests.report.studies import WEIGHT, made_up, simple, unfinished


def test_interval_is_that_of_scipy():
    values = [0.1, 0.4, 0.35, 0.2]
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert Estimate.of(values).interval == pytest.approx((low, high))
    assert Estimate.of(values).std == pytest.approx(np.std(values, ddof=1))


def test_gain_by_hand(tmp_path):
    """Drop falls by 0.1 and 0.2, insertion rises by 0.04 and 0.02: gains of 0.07 and 0.11, seed by seed."""
    rows = [
        simple(0, 0, 0.9, 0.5, 0.60),
        simple(0, 1, 0.8, 0.7, 0.50),
        simple(0.1, 0, 0.895, 0.4, 0.64),
        simple(0.1, 1, 0.799, 0.5, 0.52),
    ]
    answer = answered(points_of(made_up(tmp_path, rows)), Rule(0.01))
    assert answer.best.gain.mean == pytest.approx(0.09)
    assert answer.best.gain.std == pytest.approx(0.04 / 2**0.5)
    assert answer.best.accuracy.mean == pytest.approx(-0.003)
    # t(0.975, 1) = 12.706, standard error 0.02
    assert answer.best.gain.interval == pytest.approx((0.09 - 0.25412, 0.09 + 0.25412), abs=1e-4)
    assert answer.sentence == (
        "λ = 0.1 leads, but may do so by chance: the mean over 2 scores of its maps gains +9.00 points (95 % interval "
        "−16.41 to +34.41, 2 seeds) against λ = 0. Accuracy changes by −0.30 points (95 % interval −2.84 to +2.24, "
        "2 seeds); 2 seeds cannot tell whether it stays within 1 point (about 4 would be needed). The gain is not "
        "certain: 2 seeds cannot tell (about 3 would be needed)."
    )


def test_the_largest_gain_within_the_margin(tmp_path):
    most, less, least = (float(np.float32(accuracy)) for accuracy in (0.6, 0.59, 0.58))  # as they are logged
    assert most - less > 0.01
    rows = [
        row
        for seed in range(3)
        for row in (
            simple(0, seed, most, 0.5 + 0.01 * seed, 0.6),
            simple(0.01, seed, most, 0.48 + 0.011 * seed, 0.6),
            simple(0.1, seed, less, 0.40 + 0.011 * seed, 0.6),
            simple(1, seed, least, 0.10 + 0.011 * seed, 0.6),
        )
    ]
    points = points_of(made_up(tmp_path, rows))
    assert answered(points, Rule(0.0)).best.runs.point == {WEIGHT: 0.01}
    assert answered(points, Rule(0.01)).best.runs.point == {WEIGHT: 0.1}  # a loss of exactly the margin is within it
    assert answered(points, Rule(0.02)).best.runs.point == {WEIGHT: 1}
    sentence = answered(points, Rule(0.01)).sentence
    assert sentence.startswith("λ = 0.1 is best: the mean over 2 scores of its maps gains +4.95 points (95 % interval ")
    assert "chance" not in sentence


def test_nothing_is_better(tmp_path):
    rows = [simple(0, 0, 0.9, 0.5, 0.6), simple(0.1, 0, 0.9, 0.6, 0.6), simple(1, 0, 0.5, 0.1, 0.9)]
    points = points_of(made_up(tmp_path, rows))
    assert answered(points, Rule(0.01)).best is None
    expected = "Nothing is better than λ = 0: within 1 point of its accuracy the best, λ = 0.1, changes"
    assert answered(points, Rule(0.01)).sentence.startswith(expected)
    assert answered(points[::2], Rule(0.01)).sentence == (
        "No point keeps its accuracy within 1 point of the baseline's with one seed, which has no spread to judge by."
    )
    assert answered(points[:1], Rule(0.01)).sentence.startswith("Only the baseline is finished")


def test_without_a_plain_point_the_baseline_is_of_the_present_grid(tmp_path):
    """A grid that was stopped, or is of no interest any more, comes first in the order of values."""
    epochs = "trainer.max_epochs"
    rows = [({epochs: count}, 0, simple(0, 0, 0.9, drop, 0.6)[2]) for count, drop in ((20, 0.5), (40, 0.4))]
    study = made_up(tmp_path, rows)
    for number, finished in ((1, False), (2, True)):
        trial = Trial({epochs: number}, 0, {"earlier": number})
        study = Study(tmp_path, study.plan, study.trials, [*study.earlier, trial])
        study.write()
        if finished:
            study.write_row(trial, simple(0, 0, 0.9, 0.9, 0.6)[2])
    answer = answered(points_of(study), Rule())
    assert answer.best.runs.label == "max_epochs = 40"
    assert answer.best.baseline.label == "max_epochs = 20"
    assert answer.best.gain.mean == pytest.approx(0.05)


def test_a_point_that_loses_accuracy_on_test_images_is_not_called_the_best(tmp_path):
    kept = {"val/accuracy": 0.8, "validated/insertion_auc/grad_cam": 0.5}
    better = {"val/accuracy": 0.8, "validated/insertion_auc/grad_cam": 0.6}
    rows = []
    for seed in range(3):
        rows.append(simple(0, seed, 0.9, None, 0.5 + 0.001 * seed, **kept))
        rows.append(simple(0.1, seed, 0.85 + 0.001 * seed, None, 0.6, **better))
    sentence = answered(points_of(made_up(tmp_path, rows)), Rule()).sentence
    assert sentence.startswith("λ = 0.1, chosen by validation images, leads, but loses accuracy: on test images")


def test_scores_that_judge_nothing_by_themselves_are_not_denied(tmp_path):
    rows = [
        ({WEIGHT: weight}, 0, {"test/accuracy": 0.9, "evaluated/map_leakage/grad_cam": 0.1}) for weight in (0.0, 1.0)
    ]
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert answer.sentence.startswith("The maps have no score of faithfulness or localization")
    assert answer.rule == ""
    rows = [(point, seed, {"test/accuracy": 0.9}) for point, seed, _ in rows]
    assert answered(points_of(made_up(tmp_path / "other", rows)), Rule()).sentence.startswith("No maps were scored")


def test_seeds_that_only_one_has_are_not_compared(tmp_path):
    rows = [simple(0, 0, 0.9, 0.5, 0.6), simple(0, 1, 0.1, 0.9, 0.1), simple(0.1, 0, 0.9, 0.4, 0.6)]
    best = answered(points_of(made_up(tmp_path, rows)), Rule()).best
    assert (best.gain.mean, best.gain.count) == (pytest.approx(0.05), 1)


def test_each_point_has_the_baseline_of_its_other_settings(tmp_path):
    distance = "model.regularizer.distance"
    rows = []
    for (weight, name), drop in zip(itertools.product((0, 0.1), ("cosine", "mae")), (0.5, 0.3, 0.4, 0.28), strict=True):
        point, seed, scores = simple(weight, 0, 0.9, drop, 0.6)
        rows.append(({**point, distance: name}, seed, scores))
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert [each.gain.mean for each in answer.compared] == pytest.approx([0, 0, 0.05, 0.01])
    assert answer.best.runs.label == "λ = 0.1, distance = cosine"


def test_no_other_point_takes_the_place_of_a_missing_baseline(tmp_path):
    rows = [simple(weight, 0, 0.9, 0.5 - weight / 10, 0.6) for weight in (0, 0.1, 1)]
    answer = answered(points_of(unfinished(made_up(tmp_path, rows), 0)), Rule())
    assert answer.best is None
    assert [each.runs.label for each in answer.compared] == ["λ = 0.1", "λ = 1"]
    assert not any(each.is_baseline or each.gain.count or each.accuracy.count for each in answer.compared)
    assert answer.sentence == (
        "Nothing can be compared yet. Left out: λ = 0.1; λ = 1 (the baseline λ = 0 has no finished run)."
    )


def test_no_other_point_takes_the_place_of_an_unfinished_baseline_of_an_earlier_plan(tmp_path):
    rows = [simple(weight, 0, 0.9, 0.5 - weight / 10, 0.6) for weight in (0, 0.1, 1)]
    whole = unfinished(made_up(tmp_path, rows), 0)
    study = Study(tmp_path, whole.plan, whole.trials[2:], whole.trials[:2])
    assert answered(points_of(study), Rule()).sentence == answered(points_of(whole), Rule()).sentence


def test_a_missing_baseline_leaves_the_others_alone(tmp_path):
    """λ = 0.1 gains 0.025 over λ = 0 with the cosine; with the other distance there is nothing to compare it with."""
    distance = "model.regularizer.distance"
    rows = []
    for (weight, name), drop in zip(itertools.product((0, 0.1), ("cosine", "mae")), (0.5, 0.3, 0.45, 0.2), strict=True):
        point, seed, scores = simple(weight, 0, 0.9, drop, 0.6)
        rows.append(({**point, distance: name}, seed, scores))
    answer = answered(points_of(unfinished(made_up(tmp_path, rows), 1)), Rule())
    assert [each.gain.mean for each in answer.compared] == pytest.approx([0, 0.025, np.nan], nan_ok=True)
    assert answer.best.runs.label == "λ = 0.1, distance = cosine"
    assert answer.sentence.endswith(
        "Left out: λ = 0.1, distance = mae (the baseline λ = 0, distance = mae has no finished run)."
    )


def test_points_need_no_trials():
    """Points that were read from a table."""
    rows = {weight: {0: simple(weight, 0, 0.9, 0.5 - weight, 0.6)[2]} for weight in (0, 0.1)}
    finished = [PointRuns({WEIGHT: weight}, {}, by_seed) for weight, by_seed in rows.items()]
    assert answered(finished, Rule()).best.gain.mean == pytest.approx(0.05)
    missing = [PointRuns({WEIGHT: 0}, {}, {}), finished[1]]
    assert "the baseline λ = 0 has no finished run" in answered(missing, Rule()).sentence


def test_a_score_that_only_one_point_has_does_not_count(tmp_path):
    """Drop falls by 0.1 and insertion rises by 0.02, so the gain is 0.06."""
    more = {"evaluated/average_drop/layer_cam": 0.2}
    rows = [simple(0, 0, 0.9, 0.5, 0.6), simple(0.1, 0, 0.9, 0.4, 0.62, **more), simple(1, 0, 0.9, 0.49, 0.6)]
    points = points_of(made_up(tmp_path, rows))
    answer = answered(points, Rule())
    assert (answer.best.gain.mean, answer.best.scores, len(answer.scores)) == (pytest.approx(0.06), 2, 3)
    assert "λ = 0.1 leads, but may do so by chance: the mean over 2 of 3 scores of its maps gains +6" in answer.sentence
    assert [row[5] for row in answer.table.rows] == [
        "baseline",
        "+6.00, 2 of 3 scores",
        "+0.50, 2 of 3 scores",
    ]
    of_one = answered(points, Rule(score="average_drop")).sentence
    assert "average_drop, the mean over 1 of 2 methods gains +10.00 points (1 seed)" in of_one


def test_changes_have_their_interval_beside_them(tmp_path):
    """The drop falls by 8, 10 and 12 points; half of the interval is 4.30265 · 2 / √3."""
    rows = []
    for seed, drop in enumerate((0.42, 0.4, 0.38)):
        rows.append(with_controls(0, seed, 0.5, 0.6, 0.7, 0.5, 0.05))
        rows.append(with_controls(0.1, seed, drop, 0.6, 0.7, 0.5, 0.05 + seed / 100))
    table = answered(points_of(made_up(tmp_path, rows)), Rule()).table
    cells = dict(zip(table.headings, table.rows[1], strict=True))
    assert cells["gain of the maps, points"] == "+5.00 (+2.52 to +7.48)"  # insertion does not change
    assert cells["gain beyond control, points"] == "+5.00 (+2.52 to +7.48)"
    assert cells["leakage, points"] == "+1.00 (−1.48 to +3.48)"


def test_a_score_that_one_seed_lacks_counts_for_no_seed(tmp_path):
    """Drop is null in one of three seeds, so the gain is insertion alone, over three seeds like the accuracy."""
    rows = [simple(0, seed, 0.9, 0.5, 0.6) for seed in range(3)]
    rows += [simple(0.1, seed, 0.895, None if seed == 2 else 0.1, 0.63 + seed / 100) for seed in range(3)]
    best = answered(points_of(made_up(tmp_path, rows)), Rule()).best
    assert (best.gain.mean, best.gain.count, best.scores) == (pytest.approx(0.04), 3, 1)
    assert (best.accuracy.mean, best.accuracy.count) == (pytest.approx(-0.005), 3)


def test_what_cannot_be_compared_is_no_loser(tmp_path):
    """Three points are left out, each for another reason; a fourth is compared and loses."""
    rows = [
        simple(0, 0, 0.9, 0.5, 0.6),
        simple(0.1, 1, 0.9, 0.1, 0.9),
        simple(0.2, 0, 0.9, None, None),
        simple(0.3, 0, None, 0.1, 0.9),
        simple(1, 0, 0.9, 0.6, 0.6),
    ]
    points = points_of(made_up(tmp_path, rows))
    reasons = (
        "Left out: λ = 0.1 (no run of the same seed is finished for the baseline λ = 0); λ = 0.2 (no score in common "
        "with the baseline λ = 0 in every seed); λ = 0.3 (no accuracy in common with the baseline λ = 0)."
    )
    assert answered(points, Rule()).sentence == (
        "Nothing is better than λ = 0: within 1 point of its accuracy the best, λ = 1, changes the mean over 2 scores "
        f"of its maps by −5.00 points (1 seed). {reasons}"
    )
    assert answered(points[:4], Rule()).sentence == f"Nothing can be compared yet. {reasons}"


def test_one_score_may_be_what_counts(tmp_path):
    rows = [simple(0, 0, 0.9, 0.5, 0.6), simple(0.1, 0, 0.9, 0.4, 0.5), simple(1, 0, 0.9, 0.6, 0.7)]
    points = points_of(made_up(tmp_path, rows))
    assert answered(points, Rule(score="average_drop")).best.runs.point == {WEIGHT: 0.1}
    assert answered(points, Rule(score="insertion_auc/grad_cam")).best.runs.point == {WEIGHT: 1}
    with pytest.raises(ValueError, match="`score`: the study has no 'insertion'; did you mean 'insertion_auc'"):
        answered(points, Rule(score="insertion"))


def test_win_and_sanity_are_no_gain(tmp_path):
    more = {"evaluated/win/grad_cam": 0.0, "evaluated/class_sensitivity/grad_cam": 0.0, "evaluated/gradient_noise": 0.1}
    rows = [simple(0, 0, 0.9, 0.5, 0.6, **more), simple(0.1, 0, 0.9, 0.4, 0.6, **dict.fromkeys(more, 1.0))]
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert [score.metric for score in answer.scores] == ["average_drop", "insertion_auc"]


def test_the_accuracy_is_one_that_all_runs_have(tmp_path):
    """A grid that was widened without a test, whose older runs have one."""
    rows = [
        ({WEIGHT: 0}, 0, {"test/accuracy": 0.9, "val/accuracy": 0.8, "evaluated/insertion_auc/grad_cam": 0.5}),
        ({WEIGHT: 0.1}, 0, {"val/accuracy": 0.75, "evaluated/insertion_auc/grad_cam": 0.6}),
    ]
    answer = answered(points_of(made_up(tmp_path, rows)), Rule(0.1))
    assert answer.accuracy == "val/accuracy"
    assert answer.best.accuracy.mean == pytest.approx(-0.05)


def test_the_accuracy_is_that_of_the_split(tmp_path):
    """λ = 0.1 loses accuracy on the test images, λ = 1 on those of validation."""
    rows = [
        simple(0, 0, 0.9, 0.5, 0.6, **{"val/accuracy": 0.8}),
        simple(0.1, 0, 0.7, 0.4, 0.6, **{"val/accuracy": 0.795}),
        simple(1, 0, 0.895, 0.3, 0.6, **{"val/accuracy": 0.5}),
    ]
    points = points_of(made_up(tmp_path, rows))
    on_val, on_test = answered(points, Rule(), "val"), answered(points, Rule(), "test")
    assert (on_val.accuracy, on_val.best.runs.label) == ("val/accuracy", "λ = 0.1")
    assert (on_test.accuracy, on_test.best.runs.label) == ("test/accuracy", "λ = 1")
    assert on_val.best.accuracy.mean == pytest.approx(-0.005)
    with pytest.raises(ValueError, match="`split`: expected test or val, got 'train'"):
        answered(points, Rule(), "train")


def test_validation_stands_in_for_a_test_that_was_not_run_but_not_the_other_way_round(tmp_path):
    points = points_of(made_up(tmp_path / "val", [({WEIGHT: 0}, 0, {"val/accuracy": 0.8})]))
    assert answered(points, Rule(), "test").accuracy == "val/accuracy"
    points = points_of(made_up(tmp_path / "test", [({WEIGHT: 0}, 0, {"test/accuracy": 0.8})]))
    assert answered(points, Rule(), "val").accuracy == ""


def test_images_of_several_labels_are_judged_by_their_mean_average_precision(tmp_path):
    """λ = 0.1 loses it, while its accuracy, of which most answers are no, rises."""
    rows = [
        simple(0, 0, 0.9, 0.5, 0.6, **{"test/mean_average_precision": 0.8}),
        simple(0.1, 0, 0.95, 0.2, 0.6, **{"test/mean_average_precision": 0.7}),
        simple(1, 0, 0.85, 0.4, 0.6, **{"test/mean_average_precision": 0.798}),
    ]
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert (answer.accuracy, answer.best.runs.label) == ("test/mean_average_precision", "λ = 1")
    assert "Mean average precision changes by −0.2" in answer.sentence
    assert "whose mean average precision is at most 1 point below" in answer.rule
    assert answer.table.headings[2] == "mean average precision, %"
    assert "ccuracy" not in answer.sentence + answer.rule


@pytest.mark.parametrize(("margin", "got"), [(-0.01, "-0.01"), (1, "1"), (float("nan"), "nan"), (float("inf"), "inf")])
def test_a_margin_is_a_fraction(margin, got):
    expected = re.escape(f"`margin`: expected a fraction in [0, 1) such as 0.01, got {got}")
    with pytest.raises(ValueError, match=f"^{expected}$"):
        Rule(margin)


def test_the_answer_of_a_study_is_that_of_its_points_on_its_split(tmp_path):
    rows = [
        simple(0, 0, 0.9, 0.5, 0.6, **{"val/accuracy": 0.8}),
        simple(0.1, 0, 0.7, 0.4, 0.6, **{"val/accuracy": 0.795}),
        simple(1, 0, 0.895, 0.3, 0.6, **{"val/accuracy": 0.5}),
    ]
    study = made_up(tmp_path, rows)
    assert str(answer_of(study)) == str(answered(points_of(study), Rule()))
    assert answer_of(study).best.runs.label == "λ = 1"
    assert answer_of(study, Rule(0.3, "insertion_auc")).best is None
    on_val = made_up(
        tmp_path / "val", rows, evaluation=EvaluationPlan(metrics="average_drop,insertion_auc", split="val")
    )
    assert answer_of(on_val).best.runs.label == "λ = 0.1"
    with pytest.raises(ValueError, match=f"no run of {tmp_path} is finished"):
        answer_of(unfinished(study, 0, 1, 2))


def test_an_answer_prints_as_its_sentence_and_its_table(tmp_path):
    rows = [simple(0, 0, 0.9, 0.5, 0.6), simple("<b>", 0, 0.9, 0.4, 0.6), simple(1, 0, 0.9, 0.5, 0.6)]
    study = unfinished(made_up(tmp_path, rows), 2)
    answer = answer_of(study)
    sentence, title, *tables = str(answer).split("\n\n")
    assert repr(answer) == str(answer)
    assert sentence.replace("\n", " ") == answer.sentence
    assert title == answer.table.title
    for table in tables:
        assert [line.split("  ")[0] for line in table.splitlines()] == ["point", "-------", "λ = 0", "λ = <b>"]
    assert [row.split()[-1] for row in (table.splitlines()[3] for table in tables) if "+5.00" in row]
    assert max(map(len, str(answer).splitlines())) <= 80
    html = answer._repr_html_()
    assert html.count("<tr>") == 3
    assert html.count("λ = &lt;b&gt;") == 2  # in the sentence and in the table
    assert "<b>" not in html


def test_a_comparison_and_the_runs_of_a_point_print_in_a_line(tmp_path):
    rows = [
        row for seed in range(2) for row in (simple(0, seed, 0.9, 0.5, 0.6), simple(0.1, seed, 0.89, 0.4, 0.6 + seed))
    ]
    study = unfinished(made_up(tmp_path, rows), 2)
    baseline, better = answer_of(study).compared
    assert str(baseline) == "λ = 0: the baseline"
    assert repr(better) == (
        "λ = 0.1 against λ = 0: gain of the maps +5.00 points (1 seed), accuracy −1.00 points (1 seed)"
    )
    assert str(better.runs) == "λ = 0.1 (seeds 0, 1)"
    (without,) = (each for each in answer_of(unfinished(study, 0)).compared if not each.is_baseline)
    assert str(without) == "λ = 0.1: the baseline λ = 0 has no finished run"
    assert str(without.baseline) == "λ = 0 (no finished run)"


def test_pareto_front_is_that_of_all_pairs():
    generator = np.random.default_rng(0)
    for _ in range(50):
        values = [tuple(pair) for pair in generator.integers(0, 5, (8, 2)).tolist()]
        dominated = {
            place
            for place, (x, y) in enumerate(values)
            if any(a >= x and b >= y and (a, b) != (x, y) for a, b in values)
        }
        front = pareto_front(values)
        assert {values[place] for place in front} == {values[p] for p in range(8) if p not in dominated}


# Controls and leakage ----------------------------------------------------------------------------


def with_controls(weight, seed, drop, insertion, control_drop, control_insertion, leak, accuracy=0.9):
    more = {
        "evaluated/average_drop/shuffled_grad_cam": control_drop,
        "evaluated/insertion_auc/shuffled_grad_cam": control_insertion,
        "evaluated/average_drop/center": 0.9,  # another image's map comes first
        "evaluated/insertion_auc/center": 0.1,
        "evaluated/map_leakage/grad_cam": leak,
        "evaluated/map_leakage/shuffled_grad_cam": 0.9,
        "evaluated/normalized_insertion_auc/grad_cam": insertion * 5,
    }
    return simple(weight, seed, accuracy, drop, insertion, **more)


def test_the_gain_beyond_control_by_hand(tmp_path):
    rows = [with_controls(0, 0, 0.5, 0.6, 0.7, 0.5, 0.05), with_controls(0.1, 0, 0.3, 0.7, 0.6, 0.55, 0.06)]
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert [score.column.removeprefix("evaluated/") for score in answer.scores] == [
        "average_drop/grad_cam", "insertion_auc/grad_cam",
    ]  # fmt: skip
    assert answer.best.gain.mean == pytest.approx((0.2 + 0.1) / 2)
    # The control's drop falls by 0.1 as well, and its insertion rises by 0.05.
    assert answer.best.beyond.mean == pytest.approx((0.2 - 0.1 + 0.1 - 0.05) / 2)
    assert answer.best.leakage.mean == pytest.approx(0.01)
    assert "Beyond the scores of control maps, the gain is +7.50 points (1 seed)." in answer.sentence
    assert "Leakage changes by +1.00 points (1 seed)." in answer.sentence
    assert "leak at most 3 points more than the baseline's. A gain" in answer.rule
    table = str(answer.table)
    assert "gain beyond control, points" in table
    assert "+7.50" in table


def test_a_certain_loss_beyond_control_is_said(tmp_path):
    """The drop falls by 5 points, and that of another image's map by 15, in each of three seeds."""
    rows = []
    for seed, more in enumerate((0.0, 0.001, 0.002)):
        rows.append(with_controls(0, seed, 0.5, 0.6, 0.7, 0.5, 0.05))
        rows.append(with_controls(0.1, seed, 0.45 + more, 0.65 - more, 0.55, 0.65, 0.05))
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert answer.best.beyond.interval[1] < 0
    assert "λ = 0.1 leads, but not beyond control: " in answer.sentence
    assert "Beyond the scores of control maps, the gain is −10.1" in answer.sentence
    assert "Control maps gain more: the network has become robust to masks" in answer.sentence
    assert "cannot tell" not in answer.sentence


def test_a_point_that_leaks_is_refused(tmp_path):
    rows = [
        row
        for seed in range(2)
        for row in (
            with_controls(0, seed, 0.5, 0.6, 0.7, 0.5, 0.05),
            with_controls(0.1, seed, 0.4, 0.6, 0.7, 0.5, 0.08),  # by exactly the margin
            with_controls(1, seed, 0.1, 0.8, 0.7, 0.5, 0.20),
        )
    ]
    points = points_of(made_up(tmp_path, rows))
    answer = answered(points, Rule())
    assert answer.best.runs.point == {WEIGHT: 0.1}
    assert answer.sentence.endswith(
        "Refused, since the maps leak over 3 points more than the baseline's: λ = 1 (+15.00 points (95 % interval "
        "+15.00 to +15.00, 2 seeds))."
    )
    assert answered(points, Rule(leakage_margin=0.2)).best.runs.point == {WEIGHT: 1}
    alone = answered([points[0], points[2]], Rule())
    assert alone.best is None
    assert alone.sentence.startswith(
        "No point keeps its accuracy within 1 point of the baseline's without leaking too much. Refused, since"
    )
    with pytest.raises(ValueError, match="`leakage_margin`: expected a fraction"):
        Rule(leakage_margin=3)


def test_a_leakage_that_one_seed_lacks_counts_in_the_others(tmp_path):
    """By 55 points in two of three seeds: left out, it would refuse no point."""
    rows = []
    for seed, leak in enumerate((None, 0.6, 0.6)):
        rows.append(with_controls(0, seed, 0.5, 0.6, 0.7, 0.5, 0.05))
        rows.append(with_controls(1, seed, 0.2 + seed / 1000, 0.6, 0.7, 0.5, leak))
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert answer.best is None
    assert (answer.compared[1].leakage.mean, answer.compared[1].leakage.count) == (pytest.approx(0.55), 2)


def test_a_study_without_leakage_or_controls_says_nothing_of_them(tmp_path):
    answer = answered(points_of(made_up(tmp_path, [simple(0, 0, 0.9, 0.5, 0.6), simple(1, 0, 0.9, 0.4, 0.6)])), Rule())
    assert "eak" not in answer.sentence + answer.rule
    assert "control" not in answer.sentence + answer.rule + str(answer.table)


def test_seeds_that_would_tell_by_hand():
    """At distance 1 and standard deviation 1: 2.571 / sqrt(6) = 1.05 is too wide, 2.447 / sqrt(7) = 0.92 is not."""
    estimate = Estimate(2.0, 1.0, 3)
    assert estimate.seeds_to_tell_from(1.0) == estimate.seeds_to_tell_from(3.0) == 7
    assert estimate.seeds_to_tell_from(2.0) is None
    assert Estimate.of([1.0]).seeds_to_tell_from(0.0) is None
    assert Estimate(1.0, 0.0, 2).seeds_to_tell_from(0.5) == 2


def of_accuracies(tmp_path, *, baseline, point):
    rows = [simple(0, seed, accuracy, 0.5, 0.6) for seed, accuracy in enumerate(baseline)]
    rows += [simple(0.1, seed, accuracy, 0.4 + 0.01 * seed, 0.6) for seed, accuracy in enumerate(point)]
    return points_of(made_up(tmp_path, rows))


def test_a_loss_that_seeds_cannot_tell_is_not_called_a_loss(tmp_path):
    """Differences of 3.8 and -6.8 points: mean -1.5, standard deviation 7.5; (1.963 × 7.495 / 0.5)² is 866."""
    points = of_accuracies(tmp_path, baseline=(0.478, 0.478), point=(0.516, 0.410))
    answer = answered(points, Rule(0.01))
    assert answer.compared[1].accuracy_verdict(0.01) == "open"
    assert answer.best is None
    assert answer.sentence == (
        "No point keeps its accuracy within 1 point of the baseline's on the mean over seeds. The nearest that may "
        "still do so is λ = 0.1: accuracy changes by −1.50 points (95 % interval −68.84 to +65.84, 2 seeds), and 2 "
        "seeds cannot tell (about 866 would be needed)."
    )


def test_a_loss_that_seeds_can_tell_is_one(tmp_path):
    points = of_accuracies(tmp_path, baseline=(0.90, 0.90, 0.90), point=(0.80, 0.81, 0.79))
    answer = answered(points, Rule(0.01))
    assert answer.compared[1].accuracy_verdict(0.01) == "lost"
    assert answer.compared[1].accuracy_verdict(0.2) == "kept"
    assert answer.sentence == "No point keeps its accuracy within 1 point of the baseline's."
    assert "3 seeds), within the margin of 20 points." in answered(points, Rule(0.2)).sentence


def test_what_was_trained_is_named_first_and_apart(tmp_path):
    """Energy gains 8 points, drop loses 2 and insertion gains 0: -1 on the mean of the two, 2 on that of the three."""
    rows = [
        simple(weight, seed, 0.9, 0.5 + 0.02 * bool(weight), 0.6, **{"evaluated/energy_pointing_game/grad_cam": energy})
        for weight, energy in ((0, 0.766), (1, 0.846))
        for seed in range(2)
    ]
    inside = {"class_path": "camtrain.regularizers.EnergyInside", "init_args": {"method": "grad_cam"}}
    points = points_of(made_up(tmp_path, rows, model={"regularizer": inside}))
    answer = answered(points, Rule())
    assert [score.metric for score in answer.best.trained] == ["energy_pointing_game"]
    assert answer.best.of_trained.mean == pytest.approx(0.08)
    assert answer.best.of_others.mean == pytest.approx(-0.01)
    assert answer.best.gain.mean == pytest.approx(0.02)
    assert re.match(
        r"λ = 1 is best: energy, which its regularizer trains, gains \+8\.00 points \(.*?\), the other 2 "
        r"scores change by −1\.00 points \(.*?\), and the mean over 3 scores of its maps gains \+2\.00 points",
        answer.sentence,
    )


def on_both(weight, seed, *, val, test, accuracies=(0.9, 0.9)):
    """A row with insertion on validation and on test images."""
    scores = {"val/accuracy": accuracies[0], "validated/insertion_auc/grad_cam": val}
    point, seed, more = simple(weight, seed, accuracies[1], None, test)
    return point, seed, more | scores


def test_validation_images_choose_and_test_images_judge(tmp_path):
    """λ = 1 gains more on test images, λ = 0.1 on validation images, where λ = 2 loses its accuracy."""
    rows = [
        on_both(0, 0, val=0.5, test=0.5),
        on_both(0.1, 0, val=0.7, test=0.52),
        on_both(1, 0, val=0.6, test=0.9),
        on_both(2, 0, val=0.9, test=0.95, accuracies=(0.8, 0.9)),
    ]
    points = points_of(made_up(tmp_path, rows))
    answer = answered(points, Rule())
    assert answer.on_validation
    assert answer.best.runs.label == "λ = 0.1"
    assert answer.best.gain.mean == pytest.approx(0.02)
    assert "chosen by validation images. The figures quoted are of test images" in answer.rule
    told = "λ = 0.1, chosen by validation images, leads, but may do so by chance: on test images the mean"
    assert answer.sentence.startswith(told)
    assert "the largest gain in the mean over 1 score of its maps on validation images" in answer.rule
    assert "no part in the choice. The trainings are the same ones" in answer.rule
    on_val = answered(points, Rule(), "val")
    assert not on_val.on_validation


def test_the_rule_says_where_other_scores_choose_than_judge(tmp_path):
    """Test images may have boxes, and validation images none."""
    rows = [on_both(weight, 0, val=0.5 + weight, test=0.5 + weight) for weight in (0, 0.1)]
    for _, _, scores in rows:
        scores["evaluated/energy_pointing_game/grad_cam"] = 0.5
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert answer.on_validation
    assert "the largest gain in the mean over 1 score of its maps on validation images" in answer.rule
    assert (
        "had no part in the choice; their gain is that in the mean over 2 scores of its maps. The trainings"
        in answer.rule
    )


def test_the_choice_may_fail_on_test_images(tmp_path):
    rows = [on_both(0, 0, val=0.5, test=0.5), on_both(0.1, 0, val=0.7, test=0.45), on_both(1, 0, val=0.6, test=0.9)]
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert answer.best is None
    assert answer.sentence.startswith(
        "λ = 0.1 is best on validation images, and no better than λ = 0 on test images: there the mean over 1 score"
    )


def test_a_choice_that_test_images_cannot_judge_has_no_gain(tmp_path):
    """Some seed of it was not scored on test images, where the others were."""
    rows = [on_both(0, 0, val=0.5, test=0.5), on_both(0.1, 0, val=0.7, test=0.6), on_both(1, 0, val=0.9, test=None)]
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert answer.best is None
    told = "λ = 1 is best on validation images, and cannot be compared on test images. Left out: λ = 1 ("
    assert answer.sentence.startswith(told)
    assert "nan" not in answer.sentence


def test_without_validation_scores_of_all_points_test_images_choose(tmp_path):
    rows = [on_both(0, 0, val=0.5, test=0.5), on_both(0.1, 0, val=0.7, test=0.6), simple(1, 0, 0.9, None, 0.9)]
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert not answer.on_validation
    assert answer.best.runs.label == "λ = 1"
    assert "its estimate is optimistic" in answer.rule


def test_a_chosen_point_that_leaks_on_test_images_is_not_called_the_best(tmp_path):
    """Validation images choose it, since there it does not leak."""
    rows = []
    for seed, more in enumerate((0.0, 0.001, 0.002)):
        for weight, drop, leak in ((0, 0.5, 0.05), (0.1, 0.3, 0.13)):
            point, seed, row = with_controls(weight, seed, drop + more, 0.6, 0.7, 0.5, leak)
            validated = {"validated/average_drop/grad_cam": drop, "validated/map_leakage/grad_cam": 0.05}
            rows.append((point, seed, row | validated | {"val/accuracy": 0.9}))
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert answer.sentence.startswith("λ = 0.1, chosen by validation images, leads, but its maps leak: ")
    told = "Leakage changes by +8.00 points (95 % interval +8.00 to +8.00, 3 seeds), more than the margin of 3 points."
    assert f"{told} If the network reads the class from the shape of its maps" in answer.sentence


def test_an_accuracy_of_validation_images_is_said_to_be_one(tmp_path):
    """In a study that trains without a test, and scores maps of test images."""
    rows = []
    for seed in (0, 1):
        for weight, drop in ((0, 0.5), (0.1, 0.3 + seed / 1000)):
            point, _, row = simple(weight, seed, None, drop, 0.6)
            validated = {"validated/average_drop/grad_cam": drop, "validated/insertion_auc/grad_cam": 0.6}
            rows.append((point, seed, row | validated | {"val/accuracy": 0.9}))
    answer = answered(points_of(made_up(tmp_path, rows)), Rule())
    assert "Validation accuracy changes by +0.00 points" in answer.sentence
    assert "among those whose validation accuracy is at most 1 point below the baseline's" in answer.rule
    assert "The figures quoted, except for validation accuracy, are of test images" in answer.rule
    assert "validation accuracy, %" in answer.table.headings
    of_validation = answered(points_of(made_up(tmp_path / "val", rows)), Rule(), "val")
    assert "alidation accuracy" not in of_validation.sentence + of_validation.rule


def test_the_accuracy_and_leakage_of_a_point_that_validation_images_chose(tmp_path):
    """Leakage changes by 0, 4 and 8 points; accuracy by -5.0, -5.1 and -5.2."""
    rows = []
    for seed, leak in enumerate((0.05, 0.09, 0.13)):
        for weight, accuracy, drop, leaked in ((0, 0.9, 0.5, 0.05), (0.1, 0.85 - seed / 1000, 0.3, leak)):
            point, _, row = with_controls(weight, seed, drop, 0.6, 0.7, 0.5, leaked, accuracy)
            validated = {"validated/average_drop/grad_cam": drop, "validated/map_leakage/grad_cam": 0.05}
            rows.append((point, seed, row | validated | {"val/accuracy": 0.9}))
    sentence = answered(points_of(made_up(tmp_path, rows)), Rule()).sentence
    assert "Accuracy changes by −5.10 points (95 % interval −5.35 to −4.85, 3 seeds), more than the margin" in sentence
    # (2.08 · 4 / 1)² is 70: at distance 1 from the margin, standard deviation 4.
    told = "−5.94 to +13.94, 3 seeds), more than the margin of 3 points on average; 3 seeds cannot tell (about "
    assert told in sentence


def test_a_point_that_perhaps_loses_accuracy_on_test_images_is_not_the_best(tmp_path):
    """Test accuracy changes by -2, -9 and -8 points: more than the margin on the mean, and not for certain."""
    rows = []
    for seed, lost in enumerate((0.02, 0.09, 0.08)):
        rows.append(on_both(0, seed, val=0.5, test=0.5))
        rows.append(on_both(1, seed, val=0.6, test=0.7 + seed / 1000, accuracies=(0.9, 0.9 - lost)))
    sentence = answered(points_of(made_up(tmp_path, rows)), Rule()).sentence
    assert sentence.startswith("λ = 1, chosen by validation images, leads, but perhaps loses accuracy: ")


def test_scores_of_validation_images_are_counted_where_these_choose(tmp_path):
    rows = []
    for weight, val in ((0, 0.5), (1, 0.4)):
        point, seed, row = on_both(weight, 0, val=val, test=0.5)
        rows.append((point, seed, row | {"validated/energy_pointing_game/grad_cam": val}))
    sentence = answered(points_of(made_up(tmp_path, rows)), Rule()).sentence
    assert "changes the mean over 2 scores of its maps by −10.00 points (1 seed) on validation images" in sentence


def test_one_seed_is_not_blamed_where_several_tell(tmp_path):
    rows = [simple(0, seed, 0.9, 0.5, 0.6) for seed in range(3)]
    rows += [simple(0.1, seed, 0.8 - seed / 1000, 0.4, 0.6) for seed in range(3)] + [simple(1, 0, 0.8, 0.4, 0.6)]
    sentence = answered(points_of(made_up(tmp_path, rows)), Rule(0.01)).sentence
    assert sentence.startswith("No point keeps its accuracy within 1 point of the baseline's.")


def test_a_gain_beyond_control_that_seeds_cannot_tell_is_said(tmp_path):
    """Beyond control 10, 5 and 1.25 points: standard deviation 4.39, and 4.303 × 4.39 / √3 is 10.91."""
    rows = []
    for seed, control in enumerate((0.0, 0.1, 0.175)):
        rows.append(with_controls(0, seed, 0.5, 0.6, 0.7, 0.5, 0.05))
        rows.append(with_controls(0.1, seed, 0.3, 0.6 + seed / 1000, 0.7 - control, 0.5 + seed / 1000, 0.05))
    sentence = answered(points_of(made_up(tmp_path, rows)), Rule()).sentence
    assert sentence.startswith("λ = 0.1 leads, but perhaps not beyond control: the mean over ")
    assert "Beyond the scores of control maps, the gain is +5.42 points (95 % interval −5.49 to +16.32, " in sentence
    assert sentence.endswith("The gain beyond control is not certain: 3 seeds cannot tell (about 6 would be needed).")


def test_the_first_control_that_all_runs_have_counts_and_scores_without_one_do_not(tmp_path):
    rows = []
    for seed in (0, 1):
        for weight, drop, center in ((0, 0.5, 0.7), (0.1, 0.3, 0.6)):
            more = {"evaluated/average_drop/center": center}
            if (weight, seed) != (0.1, 1):
                more["evaluated/average_drop/shuffled_grad_cam"] = 0.9
            rows.append(simple(weight, seed, 0.9, drop, 0.6 + weight, **more))
    best = answered(points_of(made_up(tmp_path, rows)), Rule()).best
    assert best.beyond.mean == pytest.approx(0.2 - 0.1)  # of the drop alone: no control of insertion was scored
    assert best.beyond.count == 2


def test_beyond_a_uniform_map_nothing_is_gained_by_scores_of_hidden_pixels(tmp_path):
    """It hides no pixel: a network that is merely robust to hidden ones would gain all that it has."""
    rows = []
    for seed in (0, 1):
        for weight, drop, energy in ((0, 0.5, 0.2), (0.1, 0.3, 0.25)):
            more = {"evaluated/average_drop/uniform": 0.0, "evaluated/energy_pointing_game/uniform": 0.15}
            more |= {"evaluated/energy_pointing_game/grad_cam": energy}
            rows.append(simple(weight, seed, 0.9, drop, 0.6 + weight, **more))
    best = answered(points_of(made_up(tmp_path, rows)), Rule()).best
    assert best.beyond.mean == pytest.approx(0.05)  # of the energy alone


def test_each_term_of_a_sum_trains_its_own_scores():
    def of(name, **settings):
        return {"class_path": f"camtrain.regularizers.{name}", "init_args": settings}

    terms = [
        {"regularizer": of("MapL1"), "weight": 1},
        {"regularizer": of("EnergyInside", method="layer_cam"), "weight": 0},
        {
            "class_path": "camtrain.regularizers.Term",
            "init_args": {"regularizer": of("SoftInsertionDeletion", method="layer_cam"), "weight": 1},
        },
    ]
    metrics = ("energy_pointing_game", "localization_iou_25", "insertion_auc")
    scores = [ScoreColumn(metric, method) for metric in metrics for method in ("grad_cam", "layer_cam")]
    found = trained_scores({"model": {"regularizer": of("Sum", terms=terms)}}, scores)
    of_map_l1 = {(metric, "grad_cam") for metric in regularizers.MapL1.trained_metrics if metric in metrics}
    assert of_map_l1
    assert {(each.metric, each.method) for each in found} == {*of_map_l1, ("insertion_auc", "layer_cam")}


def test_what_regularizers_say_that_they_train_are_metrics():
    for name in regularizers.__all__:
        assert {*getattr(getattr(regularizers, name), "trained_metrics", ())} <= {*METRICS}, name


@pytest.mark.parametrize(("weight", "count"), [(None, 1), (0.1, 1), (0, 0), (0.0, 0)])
def test_no_weight_is_the_default_weight_and_zero_trains_nothing(weight, count):
    inside = {"class_path": "camtrain.regularizers.EnergyInside", "init_args": {"method": "grad_cam"}}
    model = {"regularizer": inside, "regularizer_weight": weight}
    scores = [ScoreColumn("energy_pointing_game", "grad_cam")]
    assert len(trained_scores({"model": model}, scores)) == count
