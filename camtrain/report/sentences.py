"""The answer of a study and the rule behind it, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from camtrain.report.point_comparison import PointComparison, in_points
from camtrain.report.points import Estimate
from camtrain.report.score_columns import ScoreColumn


@dataclass(frozen=True)
class Margins:
    """What a point may lose and still be the best.

    Attributes:
        accuracy: How much accuracy, as a fraction.
        leakage: How much more its maps may leak, as a fraction; `None` if leakage was not scored.
        on_validation: True if the point is chosen by validation images, and its figures are of test images.
        name: What the accuracy is called.
    """

    accuracy: float
    leakage: float | None = None
    on_validation: bool = False
    name: str = "accuracy"

    def refuses(self, each: PointComparison) -> bool:
        """Whether a point keeps its accuracy and leaks too much."""
        return self.leakage is not None and each.keeps_accuracy(self.accuracy) and not each.keeps_leakage(self.leakage)

    @property
    def but_accuracy(self) -> str:
        """That the accuracy is left out of what is said of test images, if it is that of validation images."""
        return f", except for {self.name}," if self.name.startswith("validation") else ""

    @property
    def images(self) -> str:
        """What the figures of a choice are of, to be put behind them."""
        return " on validation images" if self.on_validation else ""


def rule_sentence(
    scores: Sequence[ScoreColumn], margins: Margins, chosen: str | None, chosen_by: Sequence[ScoreColumn]
) -> str:
    """The rule that makes a point the best.

    Args:
        scores: The scores whose mean is the gain.
        margins: What a point may lose.
        chosen: The score that the rule names, if it names one.
        chosen_by: The scores that choose the point. Validation images may have fewer than test images, for instance
            where they have no boxes.
    """
    what = _what(len(chosen_by), len(chosen_by), chosen)
    limits = f"whose {margins.name} is at most {_points(margins.accuracy)} below the baseline's"
    meaning = ""
    if margins.leakage is not None:
        limits += f" and whose maps leak at most {_points(margins.leakage)} more than the baseline's"
        meaning = (
            "Leakage is how much more probable a class becomes when its map lies over an image or noise without it. "
        )
    other = _what(len(scores), len(scores), chosen)
    of_test = f"; their gain is that in {other}" if other != what else ""
    estimate = (
        f"The point is chosen by validation images. The figures quoted{margins.but_accuracy} are of test images, which "
        f"had no part in the choice{of_test}. The trainings are the same ones: others, with new seeds, would be a "
        "stricter test."
        if margins.on_validation
        else "The best of several points was chosen for its gain, so its estimate is optimistic."
    )
    return (
        f"The best point is the one with the largest gain in {what}{margins.images}, on the mean over seeds, among "
        f"those {limits}. A gain is a difference to the baseline in percentage points, counted so that more is better, "
        f"seed by seed, over the scores that the runs of both points have in every seed. {meaning}Intervals are 95 % "
        "intervals by Student's t over the seeds; the number of seeds that would tell is estimated from their spread. "
        f"{estimate}"
    )


def _what(count: int, asked: int, chosen: str | None) -> str:
    """What the gain measures; `count` of the `asked` scores are there."""
    number = str(count) if count == asked else f"{count} of {asked}"
    if chosen is not None:
        return chosen + (f", the mean over {number} methods" if asked > 1 else "")
    return f"the mean over {number} score{'s' * (asked != 1)} of its maps"


def answer_sentence(
    best: PointComparison | None,
    compared: Sequence[PointComparison],
    scores: Sequence[ScoreColumn],
    margins: Margins,
    chosen: str | None,
    choosing: Sequence[PointComparison] | None = None,
    *,
    has_others: bool = False,
) -> str:
    """The answer of a study.

    Args:
        best: The point that was chosen, if one gains anything on the images that it was chosen by.
        compared: All points with a finished run, on the images that are reported.
        scores: The scores whose mean is the gain.
        margins: What a point may lose.
        chosen: The score that the rule names, if it names one.
        choosing: All points with a finished run, on the images by which one is chosen; `None` is `compared`.
        has_others: Whether maps have scores where none of these judges by itself.
    """
    others = [each for each in compared if not each.is_baseline]
    if not scores and has_others:
        return (
            "The maps have no score of faithfulness or localization, so no point is the best; `--score` judges by "
            "another one."
        )
    if not scores:
        return "No maps were scored, so there is no answer about them; the table has the accuracies."
    if not others:
        return "Only the baseline is finished, so there is nothing to compare it with yet."
    choosing = compared if choosing is None else choosing
    known = [each for each in choosing if not each.is_baseline and not each.obstacle]
    if best is not None:
        told = _told_of_best(best, scores, margins, chosen)
    else:
        told = _told_of_none(known, scores, margins, chosen) if known else "Nothing can be compared yet."
    return " ".join([told, *_refused(known, margins), *_left_out(others)])


def _refused(others: Sequence[PointComparison], margins: Margins) -> list[str]:
    """A sentence about the points whose maps leak too much, if there are any."""
    labels = [f"{each.runs.label} ({in_points(each.leakage)})" for each in others if margins.refuses(each)]
    if not labels or margins.leakage is None:
        return []
    return [
        f"Refused, since the maps leak over {_points(margins.leakage)} more than the baseline's{margins.images}: "
        f"{'; '.join(labels)}."
    ]


def _left_out(others: Sequence[PointComparison]) -> list[str]:
    """A sentence about the points that cannot be compared, if there are any."""
    by_obstacle: dict[str, list[str]] = {}
    for each in others:
        if each.obstacle:
            by_obstacle.setdefault(each.obstacle, []).append(each.runs.label)
    groups = [f"{'; '.join(labels)} ({obstacle})" for obstacle, labels in by_obstacle.items()]
    return [f"Left out: {'; '.join(groups)}."] if groups else []


def _told_of_none(
    others: Sequence[PointComparison], scores: Sequence[ScoreColumn], margins: Margins, chosen: str | None
) -> str:
    """The sentence where no point is the best."""
    margin = margins.accuracy
    within = [each for each in others if each.keeps_accuracy(margin)]
    if not within:
        return _told_of_lost_accuracy(others, margins)
    within = [each for each in within if not margins.refuses(each)]
    if not within:
        return f"No point keeps its {margins.name} within {_points(margin)} of the baseline's without leaking too much."
    nearest = max(within, key=lambda each: each.gain.mean)
    asked = max(each.scores for each in others) if margins.on_validation else len(scores)
    what = _what(nearest.scores, asked, chosen)
    return (
        f"Nothing is better than {nearest.baseline.label}: within {_points(margin)} of its {margins.name} the best, "
        f"{nearest.runs.label}, changes {what} by {in_points(nearest.gain)}{margins.images}."
    )


def _told_of_lost_accuracy(others: Sequence[PointComparison], margins: Margins) -> str:
    """The sentence where all points lose more accuracy than the margin on the mean."""
    margin = margins.accuracy
    told = f"No point keeps its {margins.name} within {_points(margin)} of the baseline's"
    open_ones = [each for each in others if each.accuracy_verdict(margin) == "open" and each.accuracy.interval]
    if not open_ones:
        is_alone = all(each.accuracy.count == 1 for each in others)
        return f"{told}{' with one seed, which has no spread to judge by' * is_alone}."
    nearest = max(open_ones, key=lambda each: each.accuracy.mean)
    return (
        f"{told} on the mean over seeds. The nearest that may still do so is {nearest.runs.label}: {margins.name} "
        f"changes by {in_points(nearest.accuracy)}{margins.images}, and {_cannot_tell(nearest.accuracy, -margin)}."
    )


def _told_of_best(best: PointComparison, scores: Sequence[ScoreColumn], margins: Margins, chosen: str | None) -> str:
    """The sentences about the best point."""
    if best.obstacle:
        # Why is said with the points that are left out.
        return f"{best.runs.label} is best on validation images, and cannot be compared on test images."
    what = _what(best.scores, len(scores), chosen)
    if best.gain.mean <= 0:
        return (
            f"{best.runs.label} is best on validation images, and no better than {best.baseline.label} on test images: "
            f"there {what} changes by {in_points(best.gain)}. {_told_of_accuracy(best, margins)}"
        )
    is_certain = best.gain.interval is not None and best.gain.interval[0] > 0
    chosen_by, on_test = (", chosen by validation images,", "on test images ") if margins.on_validation else ("", "")
    is_lost_beyond = best.beyond.interval is not None and best.beyond.interval[1] < 0
    is_certain_beyond = best.beyond.interval is not None and best.beyond.interval[0] > 0
    most = margins.leakage
    leaks = most is not None and not best.keeps_leakage(most)
    leads = "leads, but may do so by chance"
    if is_certain:
        leads = (
            "leads, but not beyond control"
            if is_lost_beyond
            else "leads, but its maps leak"
            if leaks
            else f"leads, but loses {margins.name}"
            if best.accuracy_verdict(margins.accuracy) == "lost"
            else f"leads, but perhaps loses {margins.name}"
            if not best.keeps_accuracy(margins.accuracy)
            else "leads, but perhaps not beyond control"
            if best.beyond.count and not is_certain_beyond
            else "is best"
        )
    told = [f"{best.runs.label}{chosen_by} {leads}: {on_test}{_gains(best, what)} against {best.baseline.label}."]
    told.append(_told_of_accuracy(best, margins))
    if best.beyond.count:
        told.append(f"Beyond the scores of control maps, the gain is {in_points(best.beyond)}.")
    if best.leakage.count:
        told.append(f"Leakage changes by {in_points(best.leakage)}{_too_much(best.leakage, most) if leaks else ''}.")
    if leaks:
        told.append("If the network reads the class from the shape of its maps, their other scores say nothing.")
    if not is_certain:
        told.append(f"The gain is not certain: {_cannot_tell(best.gain, 0.0)}.")
    if is_lost_beyond:
        told.append("Control maps gain more: the network has become robust to masks, and its maps are no better.")
    elif is_certain and best.beyond.count and not is_certain_beyond:
        told.append(f"The gain beyond control is not certain: {_cannot_tell(best.beyond, 0.0)}.")
    return " ".join(told)


def _too_much(leakage: Estimate, most: float | None) -> str:
    """That a change of leakage is above its margin, and whether the seeds can tell."""
    bound = most or 0.0
    told = f", more than the margin of {_points(bound)}"
    is_certain = leakage.interval is not None and leakage.interval[0] > bound
    return told if is_certain else f"{told} on average; {_cannot_tell(leakage, bound)}"


def _gains(best: PointComparison, what: str) -> str:
    """What a point gains; what its regularizer trains comes first, apart from the rest."""
    if not (best.of_trained.count and best.of_others.count):
        return f"{what} gains {in_points(best.gain)}"
    titles = dict.fromkeys(score.title for score in best.trained)
    count = best.scores - len(best.trained)
    return (
        f"{listed(list(titles))}, which its regularizer trains, gain{'s' * (len(titles) == 1)} "
        f"{in_points(best.of_trained)}, the other {f'{count} scores change' if count > 1 else 'score changes'} by "
        f"{in_points(best.of_others)}, and {what} gains {in_points(best.gain)}"
    )


def _told_of_accuracy(best: PointComparison, margins: Margins) -> str:
    """What happens to the accuracy, and whether the seeds can tell that it stays within the margin."""
    margin = margins.accuracy
    told = f"{margins.name.capitalize()} changes by {in_points(best.accuracy)}"
    verdict = best.accuracy_verdict(margin)
    if verdict == "kept":
        return f"{told}, within the margin of {_points(margin)}."
    if verdict == "lost":
        return f"{told}, more than the margin of {_points(margin)}."
    return f"{told}; {_cannot_tell(best.accuracy, -margin, f' whether it stays within {_points(margin)}')}."


def _cannot_tell(estimate: Estimate, bound: float, question: str = "") -> str:
    """That the seeds at hand do not tell a mean from a bound, and how many would."""
    if estimate.count < 2:
        return f"one seed cannot tell{question}"
    needed = estimate.seeds_to_tell_from(bound)
    would = "more than 1000 would be needed" if needed is None else f"about {needed} would be needed"
    return f"{estimate.count} seeds cannot tell{question} ({would})"


def listed(words: Sequence[str]) -> str:
    """Words as people list them.

    Example:
        >>> listed(["drop", "gain", "deletion"])
        'drop, gain and deletion'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _points(fraction: float) -> str:
    return f"{100 * fraction:g} point{'s' * (fraction != 0.01)}"
