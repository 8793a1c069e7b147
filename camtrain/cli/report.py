"""`camtrain report`: the answer of a study, as a page, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camtrain.ablation import Ablation
from camtrain.cli.command_parser import CommandParser
from camtrain.cli.console import say, warnings_as_lines

_EXAMPLES = """
examples:
  camtrain report study
  camtrain report study --margin 0.5 --score insertion_auc
  camtrain report study --only

In DIR: report.html, one page that needs no network; results.md and results.tex; figures/ as PNG and SVG, maps as PNG.
Nothing is written elsewhere, whoever made the study. A file of the study that is damaged is named and set aside as
<name>.damaged, and the report goes without it.

exit status: 0; 1 if no run is finished; 2 if an argument is wrong.
"""


def report_command(words: Sequence[str]) -> int:
    """Run `camtrain report <words>`.

    Args:
        words: The words after the subcommand.

    Returns:
        The exit status: 0, or 1 if no run is finished.

    Raises:
        SystemExit: With status 2 if an argument is wrong, with 0 after the help.
    """
    parser = CommandParser("report", "One page that says which point of a study is best, and what it costs.", _EXAMPLES)
    parser.add_argument("folder", type=str, metavar="DIR", help="The folder of `camtrain ablate`.")
    add_rule(parser)
    parser.add_parameters("report", Ablation.opened, ["only"])
    settings = parser.parsed(words)
    try:
        rule = rule_of(parser, settings)
        with warnings_as_lines("report", parser.in_words):
            ablation = Ablation.opened(settings.folder, only=settings.only)
            if not ablation.rows:
                say("report", f"no run of {settings.folder} is finished; `camtrain ablate` goes on with it")
                return 1
            report = ablation.report(**rule)
        print(f"\n{report}")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return 0


def add_rule(parser: CommandParser) -> None:
    """Add what makes a point the best one; the margins are typed in points of percent."""
    margin = {
        "type": float,
        "default": 1.0,
        "metavar": "POINTS",
        "help": "The accuracy that the best point may lose against the baseline, in points of percent.",
    }
    score = {
        "help": "The score whose gain decides: a metric, or metric/method. The default is the mean gain over "
        "the scores of faithfulness and localization but win and leakage."
    }
    leakage = {
        "type": float,
        "default": 3.0,
        "metavar": "POINTS",
        "help": "How much more the maps of the best point may leak than the baseline's, in points of percent.",
    }
    names = ["margin", "score", "leakage_margin"]
    parser.add_parameters("report", Ablation.report, names, margin=margin, score=score, leakage_margin=leakage)


def rule_of(parser: CommandParser, settings: Any) -> dict[str, Any]:
    """The rule that was typed, as arguments of `Ablation.report`.

    Raises:
        ValueError: If a margin is out of its range.
    """
    typed = parser.arguments(settings, Ablation.report)
    for name in ("margin", "leakage_margin"):
        if not 0 <= typed[name] < 100:
            raise ValueError(f"`{name}`: expected points of percent in [0, 100), got {typed[name]:g}")
        typed[name] /= 100
    return typed
