"""`camtrain ablate`: a grid of configurations, trained, scored and reported."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from dataclasses import fields
from typing import Literal

from jsonargparse import Namespace

from camtrain.ablation import Ablation, Executor, LocalExecutor, RayExecutor, ablate, run_trial
from camtrain.ablation.ablate import (
    DEFAULT_EVALUATION,
    METRICS_OF_A_STUDY,
    check_score,
    chosen_executor,
    resolved_study,
    run_study,
    write_study,
)
from camtrain.ablation.look_over import look_over
from camtrain.ablation.wandb_sweep import point_of, write_sweep
from camtrain.cli.command_parser import CommandParser
from camtrain.cli.console import say, warnings_as_lines
from camtrain.cli.evaluate import PROTOCOL
from camtrain.cli.report import add_rule, rule_of
from camtrain.cli.sigterm import TerminatedError, sigterm_as_interrupt
from camtrain.evaluation import EvaluationPlan, EvaluationSettings
from camtrain.files import CannotWriteError, local_folder
from camtrain.methods import FURTHER_METHODS, METHODS
from camtrain.report import Rule
from camtrain.study import Axis, Study, Trial

_EXAMPLES = f"""
examples:
  camtrain ablate --config configs/quickstart.yaml --set model.regularizer_weight=0,0.5,1 --seeds 0,1,2 --out study
  camtrain ablate --config CONFIG --set model.regularizer_weight=0,0.1 --set model.regularizer.distance=cosine,mae \\
      --set trainer.max_epochs=100 --seeds 0,1,2 --jobs 4 --out study
  camtrain ablate --config CONFIG --set model.regularizer_weight=0,0.1 --seeds 0 --out /shared/study --executor ray
  camtrain ablate --config CONFIG --set model.regularizer_weight=0,0.1 --seeds 0 --out /shared/study --wandb_sweep

Each run trains as `camtrain fit` does, and the maps of the checkpoint that its test scored are scored by `camtrain
evaluate`, on test images and on some validation images: these choose the best point, and those say what it is worth.

Stopped at any moment and called again with the same words it skips the runs that are finished and goes on
with the others from their last checkpoints. A run is known by the hash of its whole configuration. Other values in the
same --out add to the study: points of earlier calls stay in its report, if nothing but the values of --set differs.

Of the configuration's section `run`, `wandb`, `project`, `tags` and `test` hold; places and names are the study's.

In --out: study.json with the plan, trials/<run>/ with configuration, log and scores, results.csv with a row for
each finished run, and what `camtrain report` makes: report.html, results.md, results.tex, figures/.

However this command ends, also by `kill -9`, the processes of its runs end within two seconds. A run whose training is
stopped before its end, as by SIGTERM, is not finished. A file of the study that is damaged is named and set aside as
<name>.damaged, and its run is scored again or goes on.

exit status: 0; 1 if a run did not finish; 2 if an argument is wrong; 130 if Ctrl-C stopped it, 143 if SIGTERM did.
default metrics: {",".join(METRICS_OF_A_STUDY)}
"""


def ablate_command(words: Sequence[str]) -> int:
    """Run `camtrain ablate <words>`.

    Args:
        words: The words after the subcommand.

    Returns:
        The exit status: 0, 1 if a run did not finish, 130 if Ctrl-C stopped it and 143 if SIGTERM did.

    Raises:
        SystemExit: With status 2 if an argument is wrong, with 0 after the help.
    """
    parser = ablate_parser()
    if any(word.replace("-", "_").startswith("__evaluate_with") for word in words):
        parser.error("--evaluate_with: its words are options of `camtrain ablate` now; give them directly")
    settings = parser.parsed(words)
    try:
        with sigterm_as_interrupt():
            return _done(parser, settings, words)
    except KeyboardInterrupt as error:
        say("ablate", "stopped; the same command goes on from here")
        return 128 + (signal.SIGTERM if isinstance(error, TerminatedError) else signal.SIGINT)


def _done(parser: CommandParser, settings: Namespace, words: Sequence[str]) -> int:
    try:
        with warnings_as_lines("ablate", parser.in_words):
            executor = _executor(settings)  # what is wrong with it is found before a study is written
            study, is_new = _study(parser, settings, words)
            trial = point_of(study, settings.point) if settings.point else None
            if isinstance(executor, LocalExecutor) and trial is None and not settings.wandb_sweep:
                executor.check(study.without_earlier() if settings.only else study)
            if is_new:
                write_study(study, settings.config)
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        parser.error(str(error))
    if settings.wandb_sweep:
        try:
            print(write_sweep(study, [word for word in words if word not in ("--wandb_sweep", "--wandb-sweep")]))
        except CannotWriteError as error:
            say("ablate", f"error: {error}")
            return 1
        return 0
    with warnings_as_lines("ablate", str):  # what a trial says names its own arguments
        if trial is not None:
            return _run_point(study, trial, settings)
        say("ablate", f"{len(study.trials)} runs in {study.folder}, {study.plan.threads} thread(s) each")
        try:
            ablation = run_study(study.without_earlier() if settings.only else study, executor)
        except ModuleNotFoundError as error:
            parser.error(str(error))
        is_reported = _report(parser, settings, ablation)
        if ablation.unfinished:
            names = ", ".join(f"{each.trial} ({each.status})" for each in ablation.unfinished)
            count = f"{len(ablation.unfinished)} of {len(study.trials)} runs"
            say("ablate", f"{count} did not finish: {names}; the same command goes on with them")
    return 1 if ablation.unfinished or not is_reported else 0


def ablate_parser() -> CommandParser:
    """The parser of the command."""
    description = "Train a grid of configurations with several seeds, score each, and report which is best."
    parser = CommandParser("ablate", description, _EXAMPLES)
    grid = {
        "action": "append",
        "type": str,
        "metavar": "KEY=VALUE,...",
        "help": "Values of a configuration key; given several times, the grid has all combinations.",
    }
    seeds = {"type": str, "default": "0", "metavar": "S,S,...", "help": "Each point is run with each of these seeds."}
    names = ("config", ("grid", "--set"), "seeds", ("folder", "--out"))
    config = {"type": str, "help": "The path of a configuration of `camtrain fit`."}
    parser.add_parameters("study", ablate, names, config=config, grid=grid, seeds=seeds)
    jobs = {"type": int | None, "default": None, "help": (
        "The number of trials at a time. The default is 1, with Ray the room that the cluster has. One job sees all "
        "GPUs; several have as many each as the number in trainer.devices, and one where that is auto or -1."
    )}  # fmt: skip
    executor = {"type": Literal["local", "ray"], "default": "local", "help": (
        "Where trials run: in processes of this machine, or on a Ray cluster whose machines share --out."
    )}  # fmt: skip
    parser.add_parameters("where it runs", ablate, ["jobs", "threads", "executor"], jobs=jobs, executor=executor)
    parser.add_parameters("where it runs", RayExecutor, ["gpus_per_trial"])
    where = next(group for group in parser._action_groups if group.title == "where it runs")
    where.add_argument(
        "--wandb_sweep",
        action="store_true",
        help="Run nothing: write a W&B sweep file, sweep.yaml, and print the command that its agents run.",
    )
    point = {
        "nargs": "+",
        "type": str,
        "default": None,
        "metavar": "KEY=VALUE",
        "help": "Run one point of the grid only, with seed=S, as the agents of a sweep do; no report is made.",
    }
    parser.add_parameters("where it runs", point_of, ["point"], point=point)
    scores = (
        "methods",
        "metrics",
        "controls",
        "split",
        "num_images",
        "num_gallery_images",
        "target_layer",
        "num_channels",
    )
    rest = ("max_batch", "batch_size", "num_resamples")
    defaults = {name: {"type": str, "default": ",".join(getattr(DEFAULT_EVALUATION, name))} for name in scores[:3]}
    all_of_them = f"{', '.join(METHODS)}; and, not part of `all`, {', '.join(FURTHER_METHODS)}"
    defaults["methods"]["help"] = f"Names of methods, separated by commas, or `all`: {all_of_them}."
    defaults["metrics"]["help"] = "Names of metrics or of groups of them, separated by commas; `none` scores no maps."
    defaults["split"] = {"help": (
        "The images that points are compared on. With test, validation images choose the best point; with val, "
        "the same images choose and judge."
    )}  # fmt: skip
    defaults["num_gallery_images"] = {"default": DEFAULT_EVALUATION.num_gallery_images}
    parser.add_parameters("scores of the maps", EvaluationPlan, [*scores, *rest], **defaults)
    parser.add_parameters("scores of the maps", ablate, ["num_validation_images"])
    parser.add_parameters("scores of the maps", EvaluationSettings, [*PROTOCOL, "seed"])
    parser.add_parameters("W&B", ablate, ["wandb", "project"])
    add_rule(parser)
    parser.add_parameters("report", ablate, ["only"])
    return parser


def _study(parser: CommandParser, settings: Namespace, words: Sequence[str]) -> tuple[Study, bool]:
    """The study with all configurations resolved, and whether it is to be written."""
    rule = rule_of(parser, settings)
    Rule(**rule)
    evaluation = _evaluation(parser, settings)
    check_score(rule["score"], evaluation)
    folder = local_folder(settings.out, "folder")
    if settings.point and (folder / "study.json").is_file():
        return Study.opened(folder), False  # what was planned stands; agents of a sweep only run it
    planned = resolved_study(
        settings.config,
        [Axis.parsed(each) for each in settings.set],
        folder,
        _seeds(settings.seeds),
        evaluation,
        num_validation_images=settings.num_validation_images,
        threads=settings.threads,
        jobs=settings.jobs,
        wandb=settings.wandb,
        project=settings.project,
        split=settings.split,
        command=("camtrain", "ablate", *words),
    )
    return planned, True


def _evaluation(parser: CommandParser, settings: Namespace) -> EvaluationPlan | None:
    if settings.metrics == "none":
        return None
    protocol = EvaluationSettings(**parser.arguments(settings, EvaluationSettings))
    known = {each.name for each in fields(EvaluationPlan)}
    typed = {k: v for k, v in parser.arguments(settings, EvaluationPlan).items() if k in known}
    return EvaluationPlan(**typed, settings=protocol, num_panel_maps=DEFAULT_EVALUATION.num_panel_maps)


def _seeds(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ValueError(f"`seeds`: expected integers separated by commas, got {text!r}") from error


def _executor(settings: Namespace) -> Executor:
    on_ray = RayExecutor(settings.gpus_per_trial, settings.jobs)
    if settings.executor == "ray":
        return on_ray
    if settings.gpus_per_trial:
        raise ValueError(
            f"`gpus_per_trial`: expected none with `executor` {settings.executor}, whose `jobs` are dealt out over all "
            f"GPUs, got {settings.gpus_per_trial:g}"
        )
    return chosen_executor(settings.executor, settings.jobs)


def _run_point(study: Study, trial: Trial, settings: Namespace) -> int:
    """Run one trial, as an agent of a sweep does."""
    look_over(study, [trial])
    outcome = run_trial(study, trial, wandb=settings.wandb)
    say("ablate", f"{outcome.trial}: {outcome.status} {outcome.message}".strip())
    try:
        study.write_results()
    except CannotWriteError as error:
        say("ablate", f"error: {error}")
        return 1
    return 0 if outcome.is_finished else 1


def _report(parser: CommandParser, settings: Namespace, ablation: Ablation) -> bool:
    """Print the report; whether there is one."""
    folder = ablation.folder
    if not ablation.rows:
        say("ablate", "no run is finished, so there is nothing to report")
        return True
    try:
        print(f"\n{ablation.report(**rule_of(parser, settings), log=True)}")
    except (ValueError, OSError) as error:
        why = parser.in_words(str(error))
        say("ablate", f"no report: {why}; `camtrain report {shlex.quote(str(folder))}` makes it of the finished runs")
        return False
    if any(folder.glob("trials/*/*/wandb/offline-run-*")):
        print(f"upload all runs: wandb sync {folder}/trials/*/*/wandb/*run-* {folder}/wandb/*run-*")
    return True
