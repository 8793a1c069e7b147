"""The arguments of `camtrain report`."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

_EXAMPLES = """
examples:
  camtrain report study
  camtrain report study --margin 0.5 --score insertion_auc

In DIR: report.html, one page that needs no network; results.md and results.tex; figures/ as PNG and SVG, maps as PNG.

exit status: 0; 1 if no run is finished; 2 if an argument is wrong.
"""


def report_parser() -> ArgumentParser:
    """The parser of its arguments."""
    parser = ArgumentParser(
        "camtrain report",
        description="One page that says which point of a study is best, and what it costs.",
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="of `camtrain ablate`")
    add_rule_arguments(parser.add_argument)
    return parser


def add_rule_arguments(add: Callable[..., object]) -> None:
    """What makes a point the best one."""
    add(
        "--margin",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="the best point may lose so many points of accuracy against the baseline (default: %(default)s)",
    )
    add(
        "--score",
        metavar="NAME",
        help=(
            "what its maps have to gain most of: a metric, or metric/method (default: the mean gain over all scores of "
            "faithfulness and localization)"
        ),
    )
