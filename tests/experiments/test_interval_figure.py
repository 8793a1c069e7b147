"""The figure of intervals: where marks lie, and which are hollow."""

from __future__ import annotations

import pytest

from camtrain.report import Estimate
from camtrain.report.figure_style import write_figure
from experiments.interval_figure import Panel, write_intervals

POINTS, LOSS, MORE = Panel("gain"), Panel("L_R", "L_R", scale=1), Panel("accuracy")
CERTAIN, UNCERTAIN, ALONE = (Estimate.of(values) for values in ([0.1, 0.11], [0.1, -0.2], [0.3]))


@pytest.fixture
def axes(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "experiments.interval_figure.write_figure",
        lambda figure, path: drawn.append(figure) or write_figure(figure, path),
    )
    rows = {
        "one": {POINTS: {"": CERTAIN}, LOSS: {"": ALONE}},
        "two": {POINTS: {"": UNCERTAIN}, MORE: {"": CERTAIN}},
        "three": {POINTS: {"": ALONE}},
    }
    write_intervals(rows, [POINTS, LOSS, MORE], tmp_path / "figure")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    return drawn[0].axes


def marks(panel):
    return [container.lines[0] for container in panel.containers]


def test_a_mark_lies_at_its_mean_in_its_own_unit(axes):
    assert [line.get_xdata()[0] for line in marks(axes[0])] == pytest.approx([10.5, -5.0, 30.0])
    assert [line.get_ydata()[0] for line in marks(axes[0])] == [0, 1, 2]
    assert [line.get_xdata()[0] for line in marks(axes[1])] == pytest.approx([0.3])


def test_a_bar_is_the_interval_of_students_t(axes):
    _, _, (bars,) = axes[0].containers[0]
    # Two seeds: 12.706 standard errors, each half of the distance of the two.
    assert bars.get_segments()[0][:, 0] == pytest.approx([10.5 - 6.353, 10.5 + 6.353], abs=1e-3)


def test_hollow_is_a_change_that_is_not_certain(axes):
    # 10.5 ± 6.4 excludes 0; −5 ± 191 does not; one seed has no interval.
    assert [line.get_markerfacecolor() == "white" for line in marks(axes[0])] == [False, True, True]
    assert [line.get_markerfacecolor() == "white" for line in marks(axes[1])] == [True]


def test_panels_of_the_same_unit_share_their_scale(axes):
    gain, loss, more = axes
    assert more.get_xlim() == gain.get_xlim() != loss.get_xlim()


def test_the_legend_says_what_hollow_is(axes):
    (legend,) = axes[0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["hollow: the interval includes 0, or there is one seed"]
