"""The plane of accuracy and gain."""

from __future__ import annotations

import pytest

from camtrain.report import Rule, answered
from camtrain.report.pareto_plane import pareto_plane
from camtrain.report.points import points_of
from tests.report.studies import made_up, simple


def test_the_legend_names_every_point_and_marks_are_where_they_belong(tmp_path):
    rows = [simple(0, 0, 0.9, 0.5, 0.6), simple(0.1, 0, 0.895, 0.4, 0.64), simple(1, 0, 0.7, 0.7, 0.6)]
    figure = pareto_plane(answered(points_of(made_up(tmp_path, rows)), Rule(0.01)))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "Pareto front", "λ = 0 (baseline)", "λ = 0.1 (best)", "λ = 1",
    ]  # fmt: skip
    (axes,) = figure.axes
    marks = [container.lines[0].get_xydata()[0] for container in axes.containers]
    shapes = [container.lines[0].get_marker() for container in axes.containers]
    assert [handle.get_marker() for handle in legend.legend_handles[1:]] == shapes  # and no bars over them
    assert len(set(shapes)) == 3
    # Drop falls by 0.1 and insertion rises by 0.04; drop rises by 0.2.
    assert marks == [pytest.approx((0, 0)), pytest.approx((-0.5, 7)), pytest.approx((-20, -10))]
