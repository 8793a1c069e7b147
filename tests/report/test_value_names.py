"""The names of points are short and distinct, also in figures."""

from __future__ import annotations

import html

import numpy as np
import pytest
from PIL import Image

from camtrain.report import Rule, answered, write_report
from camtrain.report.map_sheets import map_sheets
from camtrain.report.points import points_of
from camtrain.report.removal_curves import removal_curves
from camtrain.report.score_curves import score_curves
from camtrain.report.value_names import value_names
from tests.report.studies import WEIGHT, made_up, simple, with_pictures


def made(name, **arguments):
    return {"class_path": name, "init_args": arguments}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ((0, 0.0075, None, "cosine"), ["0", "0.0075", "null", "cosine"]),
        ((0.1, 0.1000000001), ["0.1", "0.1000000001"]),
        ((1, 1.0), ["1", "1.0"]),
        (("1", 1), ['"1"', "1"]),
        (("null", None), ['"null"', "null"]),
        ((made("a.L1", k=0), made("b.L2", k=0)), ["L1", "L2"]),
        ((made("a.L1", k=0, m="x.y"), made("a.L1", k=0, m="z.y"), None), ["L1(k=0, m=x.y)", "L1(k=0, m=z.y)", "null"]),
        ((made("a.L1", of=made("b.M", k=0)), made("a.L1", of=made("b.M", k=1))), ["L1(of=M(k=0))", "L1(of=M(k=1))"]),
        (({"class_path": "a.L1"}, {"class_path": "b.L1"}), ['{"class_path": "a.L1"}', '{"class_path": "b.L1"}']),
    ],
)
def test_no_two_values_have_one_name(values, names):
    assert list(value_names(values).values()) == names


@pytest.fixture
def study(tmp_path):
    """Three points of one class with other arguments: accuracy 0.9, 0.8, 0.7."""
    rows = [
        ({"model.regularizer": made("camtrain.MapL1", a=a)}, 0, simple(0, 0, 0.9 - a / 10, 0.5, 0.6)[2])
        for a in range(3)
    ]
    return with_pictures(made_up(tmp_path, rows))


def test_every_point_is_in_every_figure(study):
    points = points_of(study)
    labels = [f"regularizer = MapL1(a={a})" for a in range(3)]
    assert [runs.label for runs in points] == labels
    assert [line.get_label() for line in removal_curves(study, points).axes[0].lines] == labels
    panel = score_curves(points, answered(points, Rule())).axes[0]
    (line, _, _) = panel.containers[0].lines
    assert line.get_ydata() == pytest.approx([90, 80, 70])
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["MapL1(a=0)", "MapL1(a=1)", "MapL1(a=2)"]
    with Image.open(map_sheets(study, points, study.folder).paths["grad_cam"]) as sheet:
        assert sheet.size[0] == 8 + 4 * (192 + 8)


def test_every_line_of_the_scores_is_one_point_beside_the_weight(tmp_path):
    """Two networks of the same last name are two lines."""
    networks = ("resnet18.a1_in1k", "resnet50.a1_in1k")
    rows = [
        ({WEIGHT: weight, "model.network": network}, 0, {"test/accuracy": accuracy})
        for network, accuracy in zip(networks, (0.5, 0.9), strict=True)
        for weight in (0, 1)
    ]
    points = points_of(made_up(tmp_path, rows))
    figure = score_curves(points, answered(points, Rule()))
    drawn = [container.lines[0].get_ydata() for container in figure.axes[0].containers]
    assert np.array(drawn) == pytest.approx(np.array([[50, 50], [90, 90]]))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"network = {network}" for network in networks]


@pytest.mark.usefixtures("no_figures")
def test_the_page_says_what_was_asked(study):
    text = html.unescape(write_report(study, Rule()).page.read_text())
    assert "<dt>regularizer</dt><dd>MapL1(a=0), MapL1(a=1), MapL1(a=2)</dd>" in text


def test_dollar_signs_are_no_mathematics(tmp_path):
    roots = ("/d/$\\frac$", "$HOME/$a_/x")
    rows = [({"data.root": root}, 0, simple(0, 0, 0.9, 0.5, 0.6 + 0.1 * place)[2]) for place, root in enumerate(roots)]
    write_report(with_pictures(made_up(tmp_path, rows)), Rule())
    for name in ("score_curves", "pareto_plane", "removal_curves"):
        drawn = (tmp_path / f"figures/{name}.svg").read_text()
        assert all(root in drawn for root in roots), name
