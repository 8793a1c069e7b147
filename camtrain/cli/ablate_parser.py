"""The arguments of `camtrain ablate`."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

from camtrain.cli.network_arguments import add_methods_argument, not_negative, positive
from camtrain.cli.report_parser import add_rule_arguments

_METRICS = (
    "average_drop,average_increase,average_gain,insertion_auc,deletion_auc,localization_iou_25,energy_pointing_game"
)
_EXAMPLES = f"""
examples:
  camtrain ablate --config configs/quickstart.yaml --set model.regularizer_weight=0,7.5e-3,0.1 --seeds 0,1,2 --out study
  camtrain ablate --config CONFIG --set model.regularizer_weight=0,0.1 --set model.regularizer.distance=cosine,mae \\
      --set trainer.max_epochs=100 --seeds 0,1,2 --jobs 4 --out study
  camtrain ablate --config CONFIG --set model.regularizer_weight=0,0.1 --seeds 0 --out /shared/study --executor ray
  camtrain ablate --config CONFIG --set model.regularizer_weight=0,0.1 --seeds 0 --out /shared/study --wandb-sweep

Each run trains as `camtrain fit` does, and the maps of the checkpoint that its test scored are scored by `camtrain
evaluate`. Stopped at any moment and called again with the same words it skips the runs that are finished and goes on
with the others from their last checkpoints. A run is known by the hash of its whole configuration.

Of the configuration's section `run`, `wandb`, `project`, `tags` and `test` hold; places and names are the study's.

In --out: study.json with what was asked, trials/<run>/ with configuration, logs and scores, results.csv with a row for
each finished run, and what `camtrain report` makes: report.html, results.md, results.tex, figures/.

exit status: 0; 1 if a run failed; 2 if an argument is wrong; 130 if it was stopped.
default metrics: {_METRICS}
"""


def ablate_parser() -> ArgumentParser:
    """The parser of its arguments."""
    parser = ArgumentParser(
        "camtrain ablate",
        description="Train a grid of configurations with several seeds, score each, and report which is best.",
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config", required=True, metavar="CONFIG", help="of `camtrain fit`")
    add(
        "--set",
        action="append",
        required=True,
        metavar="KEY=VALUE,...",
        help="values of a configuration key; given several times, the grid has all combinations",
    )
    add("--seeds", type=seeds, default=(0,), metavar="S,S,...", help="each point is run with each (default: 0)")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the study; its name is W&B's group")
    _add_execution_arguments(parser.add_argument_group("where it runs").add_argument)
    _add_evaluation_arguments(parser.add_argument_group("scores of the maps").add_argument)
    tracking = parser.add_argument_group("W&B").add_argument
    tracking("--wandb", choices=("offline", "online", "disabled"), help="(default: run.wandb of the configuration)")
    tracking("--project", help="(default: run.project of the configuration)")
    add_rule_arguments(parser.add_argument_group("report").add_argument)
    return parser


def _add_execution_arguments(add: Callable[..., object]) -> None:
    add(
        "--jobs",
        type=positive,
        metavar="N",
        help="runs at a time, dealt out over GPUs (default: 1; with ray, as many as the cluster has room for)",
    )
    add(
        "--threads",
        type=positive,
        metavar="T",
        help=(
            "of each run, on which sums depend a little: a study keeps those it began with (default: the cores of this "
            "machine over --jobs)"
        ),
    )
    add(
        "--executor",
        choices=("local", "ray"),
        default="local",
        help="processes of this machine, or a Ray cluster whose machines share --out (default: %(default)s)",
    )
    add(
        "--gpus-per-trial",
        type=float,
        default=0.0,
        metavar="G",
        help="with ray; a fraction where runs share a GPU (default: 0)",
    )
    add(
        "--wandb-sweep",
        action="store_true",
        help="run nothing: write a W&B sweep file, sweep.yaml, and print the command that its agents run",
    )
    add(
        "--point",
        nargs="+",
        metavar="KEY=VALUE",
        help="run one point of the grid only, with seed=S, as the agents of a sweep do; no report",
    )


def _add_evaluation_arguments(add: Callable[..., object]) -> None:
    add_methods_argument(add)
    add("--metrics", default=_METRICS, metavar="NAMES", help="as of `camtrain evaluate`; `none` scores no maps")
    add("--limit", type=positive, metavar="N", help="so many images, evenly spaced over the data set (default: all)")
    add("--split", choices=("test", "val"), default="test", help="images of the data module (default: %(default)s)")
    add(
        "--gallery",
        type=not_negative,
        default=6,
        metavar="K",
        help="images whose maps the report shows for all runs side by side (default: %(default)s)",
    )
    add(
        "--evaluate-with",
        default="",
        metavar="WORDS",
        help="further words of `camtrain evaluate`, as one: --evaluate-with='--channels 128 --max-batch 512'",
    )


def seeds(words: str) -> tuple[int, ...]:
    """Integers, separated by commas, as the type of an argument.

    Example:
        >>> seeds("0,1,2")
        (0, 1, 2)
    """
    try:
        found = tuple(int(word) for word in words.split(","))
    except ValueError as error:
        raise ArgumentTypeError(f"expected integers separated by commas, got {words!r}") from error
    if len(set(found)) < len(found):
        raise ArgumentTypeError(f"expected each seed once, got {words!r}")
    return found
