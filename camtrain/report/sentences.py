"""The answer of a study and the rule behind it, in words."""

from __future__ import annotations

from collections.abc import Sequence

from camtrain.report.point_comparison import PointComparison
from camtrain.report.points import Estimate
from camtrain.report.score_columns import ScoreColumn


def rule_sentence(scores: Sequence[ScoreColumn], margin: float, chosen: str | None) -> str:
    """What makes a point the best.

    Args:
        scores: that the gain is the mean of.
        margin: accuracy that may be lost, as a fraction.
        chosen: what the rule names as its score, if it does.
    """
    what = _what(len(scores), len(scores), chosen)
    return (
        f"The best point is the one with the largest gain in {what}, on the mean over seeds, among those whose "
        f"accuracy is at most {_points(margin)} below the baseline's. Gains are differences to the baseline in "
        "points of percent, counted so that more is better, seed by seed, over the scores that all compared runs have; "
        "intervals are 95 % by Student's t over the seeds. The best of several was chosen for its gain, so its "
        "estimate is on the optimistic side."
    )


def _what(count: int, asked: int, chosen: str | None) -> str:
    """What a gain is of, where some scores may be missing."""
    number = str(count) if count == asked else f"{count} of {asked}"
    if chosen is not None:
        return chosen + (f", the mean over {number} methods" if asked > 1 else "")
    return f"the mean over {number} scores of its maps"


def answer_sentence(
    best: PointComparison | None,
    compared: Sequence[PointComparison],
    scores: Sequence[ScoreColumn],
    margin: float,
    chosen: str | None,
) -> str:
    """What a study says.

    Args:
        best: of the points, if one gains anything.
        compared: all points with finished runs.
        scores: that the gain is the mean of.
        margin: accuracy that may be lost, as a fraction.
        chosen: what the rule names as its score, if it does.
    """
    others = [each for each in compared if not each.is_baseline]
    if not scores:
        return "No maps were scored, so there is no answer about them; the table has the accuracies."
    if not others:
        return "Only the baseline is finished, so there is nothing to compare it with yet."
    known = [each for each in others if not each.obstacle]
    told = _told(best, known, scores, margin, chosen) if known else "Nothing can be compared yet."
    return " ".join([told, *_left_out(others)])


def _left_out(others: Sequence[PointComparison]) -> list[str]:
    """A sentence about all points that cannot be compared, if there are any."""
    by_obstacle: dict[str, list[str]] = {}
    for each in others:
        if each.obstacle:
            by_obstacle.setdefault(each.obstacle, []).append(each.runs.label)
    groups = [f"{'; '.join(labels)} ({obstacle})" for obstacle, labels in by_obstacle.items()]
    return [f"Left out: {'; '.join(groups)}."] if groups else []


def _told(
    best: PointComparison | None,
    others: Sequence[PointComparison],
    scores: Sequence[ScoreColumn],
    margin: float,
    chosen: str | None,
) -> str:
    """About the points that can be compared."""
    if best is None:
        within = [each for each in others if each.keeps_accuracy(margin)]
        if not within:
            return f"No point keeps its accuracy within {_points(margin)} of the baseline's."
        nearest = max(within, key=lambda each: each.gain.mean)
        what = _what(nearest.scores, len(scores), chosen)
        return (
            f"Nothing is better than {nearest.baseline.label}: within {_points(margin)} of its accuracy the best, "
            f"{nearest.runs.label}, changes {what} by {_with_interval(nearest.gain)}."
        )
    interval = best.gain.interval
    is_certain = interval is not None and interval[0] > 0
    what = _what(best.scores, len(scores), chosen)
    told = (
        f"{best.runs.label} {'is best' if is_certain else 'leads, but may do so by chance'}: {what} "
        f"gains {_with_interval(best.gain)} against {best.baseline.label}, and accuracy changes by "
        f"{_with_interval(best.accuracy)}."
    )
    if is_certain:
        return told
    return f"{told} " + (
        "With one seed there is no interval." if interval is None else "The gain's interval includes 0."
    )


def _with_interval(estimate: Estimate) -> str:
    interval = estimate.interval
    seeds = f"{estimate.count} seed{'s' * (estimate.count != 1)}"
    shown = f"{100 * estimate.mean:+.2f} points"
    if interval is None:
        return f"{shown} ({seeds})"
    return f"{shown} (95 % interval {100 * interval[0]:+.2f} to {100 * interval[1]:+.2f}, {seeds})"


def _points(fraction: float) -> str:
    return f"{100 * fraction:g} point{'s' * (fraction != 0.01)}"
