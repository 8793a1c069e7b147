"""`camtrain ablate`: a grid of configurations, trained, scored and reported."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from camtrain.ablation import Outcome, Progress, log_study, run_locally, run_on_ray, run_trial, sweep_config
from camtrain.cli.ablate_parser import ablate_parser
from camtrain.cli.evaluate_parser import evaluate_parser
from camtrain.cli.network_arguments import method_names
from camtrain.cli.report import print_report
from camtrain.cli.resolved_config import NOT_OF_TRAINING, ConfigResolver
from camtrain.cli.run_settings import RunSettings
from camtrain.cli.say import say
from camtrain.evaluation import METRICS, metric_names
from camtrain.nearest_names import nearest_names
from camtrain.report import Rule
from camtrain.study import Asked, Axis, Study, Trial, grid

_COMMAND = [sys.executable, "-m", "camtrain.cli"]
_SEED = "seed_everything"
_GIVEN = ("methods", "metrics", "split", "limit", "gallery")
_OF_THE_STUDY = ("checkpoint", "network", "weights", "config", "compare", "out", *_GIVEN)


def ablate(words: Sequence[str]) -> int:
    """Run `camtrain ablate <words>`.

    Args:
        words: what follows the subcommand.

    Returns:
        The exit status: 0, 1 if a run failed, 130 if it was stopped.

    Raises:
        SystemExit: with status 2 if an argument is wrong, with 0 after the help.
    """
    parser = ablate_parser()
    settings = parser.parse_args(words)
    try:
        rule = Rule(settings.margin / 100, settings.score)
        study = _study(settings, words)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if settings.wandb_sweep:
        return _write_sweep(study, words)
    if settings.point:
        return _run_point(study, settings, parser.error)
    try:
        outcomes = _run(study, settings)
    except KeyboardInterrupt:
        say("ablate", "stopped; the same command goes on from here")
        return 130
    except ModuleNotFoundError as error:
        parser.error(str(error))
    study.write_results()
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    try:
        _report(study, rule)
        is_reported = True
    except (ValueError, OSError) as error:
        say("ablate", f"no report: {error}; `camtrain report {study.folder}` makes it of the finished runs")
        is_reported = False
    for outcome in failed:
        say("ablate", f"{outcome.trial} failed: {outcome.message} ({outcome.log})")
    return 1 if failed or not is_reported else 0


def _asked(settings: Namespace, words: Sequence[str], run: RunSettings) -> Asked:
    return Asked(
        settings.out.absolute().name,
        settings.config,
        _axes(settings),
        settings.seeds,
        _evaluation(settings),
        settings.wandb or run.wandb,
        settings.project or run.project,
        settings.threads or max(1, (os.cpu_count() or 1) // (settings.jobs or 1)),
        tuple(run.tags),
        run.test,
        ("camtrain", "ablate", *words),
    )


def _axes(settings: Namespace) -> tuple[Axis, ...]:
    axes = tuple(Axis.parsed(each) for each in settings.set)
    keys = [axis.key for axis in axes]
    if len(set(keys)) < len(keys):
        raise ValueError(f"`--set`: expected each key once, got {', '.join(keys)}")
    if _SEED in keys:
        raise ValueError("`--set`: seeds are given by --seeds, got seed_everything")
    for key in keys:
        if key.partition(".")[0] in NOT_OF_TRAINING:
            raise ValueError(f"`--set`: {key} changes nothing of what a run learns; set it in the configuration")
    return axes


def _evaluation(settings: Namespace) -> tuple[str, ...]:
    """The words of `camtrain evaluate`, checked before anything is trained."""
    if settings.metrics == "none":
        _check_score(settings.score, [], [])
        return ()
    _check_score(settings.score, metric_names(settings.metrics.split(",")), method_names(settings.methods))
    limit = () if settings.limit is None else ("--limit", str(settings.limit))
    chosen = ("--methods", settings.methods, "--metrics", settings.metrics, "--split", settings.split, *limit)
    own = (*chosen, "--panels", "0", "--gallery", str(settings.gallery))
    further = shlex.split(settings.evaluate_with)
    _check_further(vars(evaluate_parser().parse_args(own)), vars(evaluate_parser().parse_args([*own, *further])))
    return (*own, *further)


def _check_further(own: Mapping[str, Any], all_: Mapping[str, Any]) -> None:
    """What the study itself says of an evaluation, such as its checkpoint, is not to be said otherwise."""
    for name in _OF_THE_STUDY:
        if own[name] != all_[name]:
            option = name.replace("_", "-")
            raise ValueError(
                f"`--evaluate-with`: --{option} is the study's own, got {all_[name]}; "
                + (f"give --{option} to `camtrain ablate`" if name in _GIVEN else "leave it out")
            )


def _check_score(score: str | None, metrics: Sequence[str], methods: Sequence[str]) -> None:
    """Before anything is trained: the report, hours later, would find out."""
    of_maps = [each for each in metrics if not METRICS[each].of_network]
    known = [*metrics, *(f"{each}/{other}" for each in of_maps for other in methods)]
    if score and score not in known:
        raise ValueError(f"`--score`: the study will have no {score!r}; {nearest_names(score, known)}")


def _study(settings: Namespace, words: Sequence[str]) -> Study:
    """The study with all configurations resolved, on disk."""
    if not Path(settings.config).is_file():
        raise ValueError(f"`--config`: no such file: {settings.config}")
    earlier = Study.asked_in(settings.out) if (settings.out / "study.json").is_file() else None
    if earlier and settings.point:
        # What was asked stands; agents of a sweep only run it.
        study = Study.opened(settings.out)
        study.asked = replace(earlier, wandb=settings.wandb or earlier.wandb)
        return study
    resolver = ConfigResolver(settings.config)
    asked = _asked(settings, words, resolver.run_settings)
    if earlier and earlier.threads != asked.threads:
        if settings.threads:
            raise ValueError(
                f"`--threads`: the study in {settings.out} began with {earlier.threads}, on which its numbers depend, "
                f"got {settings.threads}; choose another --out"
            )
        asked = replace(asked, threads=earlier.threads)
    varying = {axis.key for axis in asked.axes if len(axis.values) > 1} or {axis.key for axis in asked.axes}
    trials = [
        Trial({key: value for key, value in point.items() if key in varying}, seed, resolver.resolved(point, seed))
        for point in grid(asked.axes)
        for seed in asked.seeds
    ]
    for trial in trials:
        _check_trainer(trial.config["trainer"])
    study = Study(settings.out, asked, trials)
    if len(study.trials) < len(trials):
        raise ValueError(f"`--set`: of {len(trials)} points and seeds only {len(study.trials)} are different runs")
    study.write()
    if others := study.others():
        say("ablate", f"{len(others)} finished runs in {settings.out} are not part of this grid; they are left alone")
    return study


def _check_trainer(trainer: Mapping[str, Any]) -> None:
    """A run is resumed from its checkpoints, and its scores are read from its tables."""
    needed = {"fast_dev_run": (False, 0), "enable_checkpointing": (None, True), "logger": (None,)}
    for name, values in needed.items():
        if (value := trainer.get(name)) not in values:
            raise ValueError(
                f"`trainer.{name}`: a study needs the checkpoints and tables of its runs, so expected "
                f"{'null' if values[0] is None else 'false'}, got {value}"
            )


def _run(study: Study, settings: Namespace) -> list[Outcome]:
    asked = study.asked
    say("ablate", f"{len(study.trials)} runs in {study.folder}, {asked.threads} thread(s) each")
    with Progress(study) as progress:
        if settings.executor == "ray":
            return run_on_ray(study, _COMMAND, settings.gpus_per_trial, progress.end, settings.jobs)
        return run_locally(study, _COMMAND, settings.jobs or 1, progress.end)


def _report(study: Study, rule: Rule) -> None:
    if not study.rows():
        say("ablate", "no run is finished, so there is nothing to report")
        return
    pictures = print_report(study, rule)
    offline = log_study(study, pictures)
    if offline is not None:
        print(f"upload all runs: wandb sync {study.folder}/trials/*/*/wandb/*run-* {study.folder}/wandb/*run-*")


def _write_sweep(study: Study, words: Sequence[str]) -> int:
    kept = [word for word in words if word != "--wandb-sweep"]
    # Agents may be started in any folder.
    places = ["--config", str(Path(study.asked.config).absolute()), "--out", str(study.folder.absolute())]
    command = ["camtrain", "ablate", *kept, *places, "--threads", str(study.asked.threads), "--wandb", "online"]
    path = study.folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep_config(study.asked, command), sort_keys=False), encoding="utf-8")
    project = study.asked.project
    print(
        f"{path}: make the sweep once, and start agents wherever {study.folder} is under the same path:\n\n"
        f"  wandb sweep --project {project} {shlex.quote(str(path))}\n"
        f"  wandb agent ENTITY/{project}/SWEEP_ID\n\n"
        f"Once they are done: {shlex.join(['camtrain', 'ablate', *kept])}"
    )
    return 0


def _run_point(study: Study, settings: Namespace, error: Callable[[str], None]) -> int:
    """One trial, as an agent of a sweep runs it."""
    chosen = {}
    for word in settings.point:
        key, _, text = word.partition("=")
        # W&B's agent writes values as Python does.
        chosen[key] = None if text == "None" else Axis.parsed(f"{key}={text}").values[0]
    for trial in study.trials:
        if {**trial.point, "seed": trial.seed}.items() <= chosen.items():
            outcome = run_trial(study, trial, _COMMAND)
            say("ablate", f"{outcome.trial}: {outcome.status} {outcome.message}".strip())
            study.write_results()
            return 1 if outcome.status == "failed" else 0
    error(f"`--point`: expected a value of the grid for each key and a seed, got {' '.join(settings.point)}")
    return 2
