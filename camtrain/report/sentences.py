"""The answer of a study and the rule behind it, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from camtrain.report.point_comparison import PointComparison, in_points
from camtrain.report.score_columns import ScoreColumn


@dataclass(frozen=True)
class Margins:
    """What a point may lose and still be the best.

    Attributes:
        accuracy: How much accuracy, as a fraction.
        leakage: How much more its maps may leak, as a fraction; `None` if leakage was not scored.
    """

    accuracy: float
    leakage: float | None = None

    def refuses(self, each: PointComparison) -> bool:
        """Whether a point keeps its accuracy and leaks too much."""
        return self.leakage is not None and each.keeps_accuracy(self.accuracy) and not each.keeps_leakage(self.leakage)


def rule_sentence(scores: Sequence[ScoreColumn], margins: Margins, chosen: str | None) -> str:
    """The rule that makes a point the best.

    Args:
        scores: The scores whose mean is the gain.
        margins: What a point may lose.
        chosen: The score that the rule names, if it names one.
    """
    what = _what(len(scores), len(scores), chosen)
    limits = f"whose accuracy is at most {_points(margins.accuracy)} below the baseline's"
    meaning = ""
    if margins.leakage is not None:
        limits += f" and whose maps leak at most {_points(margins.leakage)} more than the baseline's"
        meaning = (
            "Leakage is how much more probable a class becomes when its map lies over an image or noise without it. "
        )
    return (
        f"The best point is the one with the largest gain in {what}, on the mean over seeds, among those {limits}. A "
        "gain is a difference to the baseline in percentage points, counted so that more is better, seed by seed, over "
        f"the scores that all compared runs have. {meaning}Intervals are 95 % intervals by Student's t over the seeds. "
        "The best of several points was chosen for its gain, so its estimate is optimistic."
    )


def _what(count: int, asked: int, chosen: str | None) -> str:
    """What the gain measures; `count` of the `asked` scores are there."""
    number = str(count) if count == asked else f"{count} of {asked}"
    if chosen is not None:
        return chosen + (f", the mean over {number} methods" if asked > 1 else "")
    return f"the mean over {number} scores of its maps"


def answer_sentence(
    best: PointComparison | None,
    compared: Sequence[PointComparison],
    scores: Sequence[ScoreColumn],
    margins: Margins,
    chosen: str | None,
) -> str:
    """The answer of a study.

    Args:
        best: The best point, if one gains anything.
        compared: All points with a finished run.
        scores: The scores whose mean is the gain.
        margins: What a point may lose.
        chosen: The score that the rule names, if it names one.
    """
    others = [each for each in compared if not each.is_baseline]
    if not scores:
        return "No maps were scored, so there is no answer about them; the table has the accuracies."
    if not others:
        return "Only the baseline is finished, so there is nothing to compare it with yet."
    known = [each for each in others if not each.obstacle]
    told = _told(best, known, scores, margins, chosen) if known else "Nothing can be compared yet."
    return " ".join([told, *_refused(known, margins), *_left_out(others)])


def _refused(others: Sequence[PointComparison], margins: Margins) -> list[str]:
    """A sentence about the points whose maps leak too much, if there are any."""
    labels = [f"{each.runs.label} ({in_points(each.leakage)})" for each in others if margins.refuses(each)]
    if not labels or margins.leakage is None:
        return []
    return [
        f"Refused, since the maps leak over {_points(margins.leakage)} more than the baseline's: {'; '.join(labels)}."
    ]


def _left_out(others: Sequence[PointComparison]) -> list[str]:
    """A sentence about the points that cannot be compared, if there are any."""
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
    margins: Margins,
    chosen: str | None,
) -> str:
    """The sentence about the points that can be compared."""
    if best is None:
        margin = margins.accuracy
        within = [each for each in others if each.keeps_accuracy(margin)]
        if not within:
            return f"No point keeps its accuracy within {_points(margin)} of the baseline's."
        within = [each for each in within if not margins.refuses(each)]
        if not within:
            return f"No point keeps its accuracy within {_points(margin)} of the baseline's without leaking too much."
        nearest = max(within, key=lambda each: each.gain.mean)
        what = _what(nearest.scores, len(scores), chosen)
        return (
            f"Nothing is better than {nearest.baseline.label}: within {_points(margin)} of its accuracy the best, "
            f"{nearest.runs.label}, changes {what} by {in_points(nearest.gain)}."
        )
    interval = best.gain.interval
    is_certain = interval is not None and interval[0] > 0
    what = _what(best.scores, len(scores), chosen)
    told = (
        f"{best.runs.label} {'is best' if is_certain else 'leads, but may do so by chance'}: {what} "
        f"gains {in_points(best.gain)} against {best.baseline.label}, and accuracy changes by "
        f"{in_points(best.accuracy)}."
    )
    if best.beyond.count:
        told += f" Beyond the scores of control maps, the gain is {in_points(best.beyond)}."
    if best.leakage.count:
        told += f" Leakage changes by {in_points(best.leakage)}."
    if is_certain:
        return told
    return f"{told} " + (
        "With one seed there is no interval." if interval is None else "The gain's interval includes 0."
    )


def _points(fraction: float) -> str:
    return f"{100 * fraction:g} point{'s' * (fraction != 0.01)}"
