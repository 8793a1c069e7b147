"""The figure of intervals: where marks lie, and which are hollow."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from camtrain.report import Estimate
from camtrain.report.figure_style import write_figure
from experiments.interpretable_gradient.table import loss_change
from experiments.interval_figure import Panel, write_intervals

POINTS, LOSS = Panel("gain"), Panel("L_R", "L_R", is_change=False, scale=1)
CERTAIN, UNCERTAIN, ALONE = (Estimate.of(values) for values in ([0.1, 0.11], [0.1, -0.2], [0.3]))


@pytest.fixture
def panels(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "experiments.interval_figure.write_figure",
        lambda figure, path: drawn.append(figure) or write_figure(figure, path),
    )
    rows = {
        "one": {POINTS: {"": CERTAIN}, LOSS: {"": ALONE}},
        "two": {POINTS: {"": UNCERTAIN}},
        "three": {POINTS: {"": ALONE}},
    }
    write_intervals(rows, [POINTS, LOSS], tmp_path / "figure")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    return drawn[0].axes


def marks(panel):
    return [container.lines[0] for container in panel.containers]


def test_a_mark_lies_at_its_mean_in_its_own_unit(panels):
    assert [line.get_xdata()[0] for line in marks(panels[0])] == pytest.approx([10.5, -5.0, 30.0])
    assert [line.get_ydata()[0] for line in marks(panels[0])] == [0, 1, 2]
    assert [line.get_xdata()[0] for line in marks(panels[1])] == pytest.approx([0.3])


def test_a_bar_is_the_interval_of_students_t(panels):
    _, _, (bars,) = panels[0].containers[0]
    # Two seeds: 12.706 standard errors, each half of the distance of the two.
    assert bars.get_segments()[0][:, 0] == pytest.approx([10.5 - 6.353, 10.5 + 6.353], abs=1e-3)


def test_hollow_is_a_change_that_is_not_certain(panels):
    # 10.5 ± 6.4 excludes 0; −5 ± 191 does not; one seed has no interval.
    assert [line.get_markerfacecolor() == "white" for line in marks(panels[0])] == [False, True, True]
    assert [line.get_markerfacecolor() == "white" for line in marks(panels[1])] == [False]


def test_a_loss_is_compared_seed_by_seed():
    runs = SimpleNamespace(rows={0: {"test/loss_regularizer": 0.5}, 1: {"test/loss_regularizer": 0.75}, 2: {}})
    baseline = SimpleNamespace(rows={seed: {"test/loss_regularizer": 1.0} for seed in (0, 1, 2, 3)})
    compared = SimpleNamespace(runs=runs, against=SimpleNamespace(baseline=baseline))
    assert loss_change(compared) == Estimate.of([-0.5, -0.25])
