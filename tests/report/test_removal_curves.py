"""The figure of insertion and deletion."""

from __future__ import annotations

from camtrain.report.points import points_of
from camtrain.report.removal_curves import removal_curves
from tests.report.studies import made_up, simple, with_pictures


def test_the_legend_names_a_point_without_the_first_method(tmp_path):
    rows = [simple(weight, 0, 0.9, 0.5, 0.6) for weight in (0, 0.1, 1)]
    study = with_pictures(made_up(tmp_path, rows), ("grad_cam", "layer_cam"))
    path = study.evaluation_of(study.trials[1]) / "curves.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith("grad_cam")))
    figure = removal_curves(study, points_of(study))
    assert [len(panel.lines) for panel in figure.axes] == [2, 3, 2, 3]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["λ = 0", "λ = 0.1", "λ = 1"]
    drawn = {line.get_label(): line.get_color() for line in figure.axes[1].lines}
    assert [line.get_color() for line in legend.get_lines()] == list(drawn.values())
