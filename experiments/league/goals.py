"""What was to be reached before anything was measured, and what was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from camtrain.methods import method_title
from camtrain.regularizers import MapFaithfulness
from camtrain.report.points import Estimate
from camtrain.report.score_columns import ScoreColumn
from experiments.compared_settings import COSTS, Compared, beyond_differences, bold, leakage_change, relative_change
from experiments.league.boards import BOARDS, KINDS, TRAINED
from experiments.readme_tables import markdown_table
from experiments.result_rows import read_rows

NETWORKS = ("resnet20", "mobilenet_v2")
CAMS = (*KINDS["Grad-CAM"], *KINDS["other CAMs"])
SCORES = ("average_drop", "average_increase", "average_gain", "deletion_auc", "road")
LEAST_GAIN = 0.2  # of plain training's score beyond control
MOST_LOST = 0.005  # of accuracy
MOST_LEAKED = 0.03
STEPS = {"MapFaithfulness": 2.1, "MapFaithfulness, every 4th step": 1.35}
_ENERGY = "evaluated/energy_pointing_game/grad_cam"


def goals_table(boards: Mapping[str, Sequence[Compared]]) -> str:
    """A row for each goal: what was measured with the default λ of MapFaithfulness, and whether the goal is reached.

    Args:
        boards: The compared settings by the name of their board.
    """
    rows = []
    for board in NETWORKS:
        each = at_default(boards.get(board, ()))
        if each is not None:
            rows += [[f"{BOARDS[board].title}: {row[0]}", *row[1:]] for row in _of_network(each)]
    rows += [*_of_steps(), *_of_pets(boards.get("pets", ()))]
    return markdown_table(["", "goal", "measured", "reached"], rows)


def at_default(compared: Sequence[Compared]) -> Compared | None:
    """MapFaithfulness with its default λ; `None` if it was not measured."""
    found = (each for each in compared if each.setting.name == "map_faithfulness")
    return next((each for each in found if each.weight == MapFaithfulness.default_weight), None)


def _of_network(each: Compared) -> list[list[str]]:
    changes = {
        (metric, method): change
        for metric in SCORES
        for method in CAMS
        if (change := relative_change(each, [ScoreColumn(metric, method)])) is not None
    }
    told, reached = _told_of_gains(each, changes)
    leakage = each.against.leakage
    of_trained = leakage_change(each, [ScoreColumn("map_leakage", TRAINED)])
    return [
        [
            "drop, increase, average gain, deletion and ROAD beyond control, of four CAMs",
            "each at least 20 % better, interval above 0",
            told,
            reached,
        ],
        [
            "accuracy",
            "at most 0.5 points lower, with the interval",
            f"{bold(each.against.accuracy, digits=1)} points",
            _within(-each.against.accuracy.mean, -_low(each.against.accuracy), MOST_LOST),
        ],
        *(
            [
                f"leakage, {name}",
                "at most 3 points higher",
                f"{bold(found, digits=1)} points",
                _within(found.mean, _high(found), MOST_LEAKED),
            ]
            for name, found in (("all methods", leakage), (method_title(TRAINED), of_trained))
        ),
    ]


def _told_of_gains(each: Compared, changes: Mapping[tuple[str, str], Estimate]) -> tuple[str, str]:
    """What is to be said of scores without a percentage, and whether the goal is reached.

    Where plain training's score beyond control is not certainly above 0, a percentage says nothing; a gain is then
    asked for alone.
    """
    pairs = [(metric, method) for metric in SCORES for method in CAMS]
    rest = [pair for pair in pairs if pair not in changes]
    gain = [_low(Estimate.of(beyond_differences(each, [ScoreColumn(*pair)]))) > 0 for pair in rest]
    told = []
    if changes:
        (metric, method), least = min(changes.items(), key=lambda pair: pair[1].mean)
        title = f"{ScoreColumn(metric, method).title} of {method_title(method)}"
        told.append(f"the smallest, {title}: {bold(least, digits=0)} %")
    if rest:
        told.append(f"{len(rest)} of {len(pairs)} have no percentage, of which {sum(gain)} gain for certain")
    if not all(change.mean >= LEAST_GAIN and _low(change) > 0 for change in changes.values()) or not all(gain):
        return "; ".join(told), "no"
    return "; ".join(told), f"where there is a percentage ({len(changes)} of {len(pairs)})" if rest else "yes"


def _of_steps() -> list[list[str]]:
    rows = {row["regularizer"]: row for row in read_rows(COSTS)}
    return [
        [
            f"step of {name} over a plain step, ResNet-18",
            f"at most {most:g}",
            f"{float(row['step_over_plain']):.2f} (middle half {float(row['lowest_quarter']):.2f} to "
            f"{float(row['highest_quarter']):.2f})",
            _word(float(row["step_over_plain"]) <= most),
        ]
        for name, most in STEPS.items()
        if (row := rows.get(name)) is not None
    ]


def _of_pets(compared: Sequence[Compared]) -> list[list[str]]:
    """Energy in the animal's box: both penalties against that of the masks alone, each with the λ that was chosen."""
    found = {each.setting.name: each for each in compared}
    both, alone = (found.get(name) for name in ("map_faithfulness_energy_inside", "energy_inside"))
    if both is None or alone is None:
        return []
    seeds = sorted(both.runs.rows.keys() & alone.runs.rows.keys())
    change = Estimate.of([float(both.runs.rows[s][_ENERGY]) - float(alone.runs.rows[s][_ENERGY]) for s in seeds])  # type: ignore[arg-type]
    return [
        [
            "pets: energy of Grad-CAM in the box, MapFaithfulness + EnergyInside against EnergyInside alone",
            "higher",
            f"{bold(change, digits=1)} points",
            _word(_low(change) > 0),
        ]
    ]


def _within(mean: float, worst: float, most: float) -> str:
    """Whether a change is within a bound, by its mean and with its interval."""
    return "no" if mean > most else "on the mean" if worst > most else "yes"


def _word(reached: bool) -> str:
    return "yes" if reached else "no"


def _low(estimate: Estimate) -> float:
    return estimate.mean if estimate.interval is None else estimate.interval[0]


def _high(estimate: Estimate) -> float:
    return estimate.mean if estimate.interval is None else estimate.interval[1]
