"""Train a grid of settings with several seeds, and score each, in one call."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from camtrain.ablation.ablation import Ablation
from camtrain.ablation.cores import default_threads
from camtrain.ablation.earlier_points import with_earlier_points
from camtrain.ablation.local_executor import LocalExecutor
from camtrain.ablation.look_over import look_over
from camtrain.ablation.outcome import Executor, Outcome
from camtrain.ablation.progress import Progress
from camtrain.ablation.ray_executor import RayExecutor
from camtrain.ablation.validation_plan import validation_plan
from camtrain.evaluation import EvaluationPlan
from camtrain.files import CannotWriteError, local_folder, local_path, write_whole
from camtrain.messages import CamtrainWarning, nearest_names, positive_integer
from camtrain.methods import methods_named
from camtrain.runs import NOT_OF_TRAINING, ConfigResolver
from camtrain.study import Axis, Study, StudyPlan, Trial, grid
from camtrain.study.study_file import MADE_AGAIN

WandbMode = Literal["offline", "online", "disabled"]
_SEED = "seed_everything"
_LARGEST_SEED = 2**32 - 1
_NAMED = 3  # the number of runs that a warning names

METRICS_OF_A_STUDY = (
    "average_drop",
    "average_increase",
    "average_gain",
    "insertion_auc",
    "deletion_auc",
    "localization_iou_25",
    "energy_pointing_game",
    "map_leakage",
)
"""The metrics that a study scores by default."""

DEFAULT_EVALUATION = EvaluationPlan(
    metrics=METRICS_OF_A_STUDY, controls="shuffled", num_panel_maps=0, num_gallery_images=6
)
"""How a study scores maps by default. Since it compares networks, another image's map is scored beside each map, which
about doubles the time that scores take; `controls="none"` leaves it out."""


def ablate(
    config: str | Path | Mapping[str, Any],
    grid: Mapping[str, Sequence[Any]],
    *,
    folder: str | Path,
    seeds: Sequence[int] = (0,),
    evaluation: EvaluationPlan | None = DEFAULT_EVALUATION,
    num_validation_images: int | None = None,
    jobs: int | None = None,
    threads: int | None = None,
    executor: Literal["local", "ray"] | Executor = "local",
    on_trial: Callable[[Outcome], None] | None = None,
    wandb: WandbMode | None = None,
    project: str | None = None,
    progress: bool = True,
    only: bool = False,
) -> Ablation:
    """Train each combination of settings with each seed, and score the maps of each.

    Each trial trains in its own process, as `camtrain fit` does; then the maps of the tested checkpoint are scored. The
    processes end within two seconds of this one, however it ends.
    Stopped at any moment and called again with the same arguments, it skips the trials that are finished and goes on
    with the others from their last checkpoints. A trial is known by the hash of its whole configuration.
    Called again with other values, it adds to the study: the points of earlier grids stay in its table and its report,
    if nothing but the values of the grids differs.

    Args:
        config: The path of a configuration of `camtrain fit`; in Python also its content, as a mapping.
        grid: The values of configuration keys, such as `{"model.regularizer_weight": [0, 0.1]}`. All combinations are
            run.
        folder: The folder of the study; its name is W&B's group.
        seeds: Each combination is run with each seed.
        evaluation: How maps are scored after each training; `None` scores none. To change a part of the default, call
            `dataclasses.replace(camtrain.DEFAULT_EVALUATION, num_images=100)`.
        num_validation_images: The number of validation images on which the maps are scored as well, so that the best
            point is chosen by them and judged on test images. The default is 128, and no more than are evaluated; 0
            scores none.
        jobs: The number of trials at a time. The default is 1, on a Ray cluster as many as it has room for. Fewer run
            at a time where this machine has too few cores for `jobs` times `threads`. One job sees all GPUs; several
            have as many each as the number in `trainer.devices`, and one where that is `auto` or -1.
        threads: The number of threads of each trial, on which sums depend a little; a study keeps the number that it
            began with. The default is that of this process, which `OMP_NUM_THREADS` and `torch.set_num_threads` set,
            and at most the number of cores over `jobs`.
        executor: Where trials run: "local" in processes of this machine, "ray" on a Ray cluster, or anything that is
            called as `camtrain.ablation.outcome.Executor` says, such as `RayExecutor(gpus_per_trial=0.5)`.
        on_trial: Called with the outcome of each trial, one at a time.
        wandb: W&B's mode; the default is `run.wandb` of the configuration.
        project: W&B's project; the default is `run.project` of the configuration.
        progress: Print a line for each trial, and on a terminal a bar.
        only: Leave the points of earlier grids out of the table, the answer and the report.

    Returns:
        The study, with what came of each trial; `answer()` says which point is best, `report()` writes a page.

    Raises:
        FileNotFoundError: If there is no such configuration.
        ValueError: If a key or value does not fit the configuration, the folder holds a study with another number of
            threads, or there are too few GPUs for `jobs` times `trainer.devices`.
        ModuleNotFoundError: If Ray is asked for and not installed.
        KeyboardInterrupt: On Ctrl-C, once all running trials are ended.

    Warns:
        CamtrainWarning: If a trial failed or was stopped before its end, a file of the study is damaged or gone, or the
            folder holds finished trials that are not reported.
    """
    if not isinstance(grid, Mapping):
        raise TypeError(f"`grid`: expected values by configuration key, got {grid!r}")
    where = chosen_executor(executor, jobs)
    axes = [Axis(key, _several("grid", values, key)) for key, values in grid.items()]
    study = resolved_study(
        config,
        axes,
        local_folder(folder, "folder"),
        _several("seeds", seeds),
        evaluation,
        num_validation_images=num_validation_images,
        threads=threads,
        jobs=getattr(where, "jobs", None),
        wandb=wandb,
        project=project,
    )
    planned = study.without_earlier() if only else study
    if isinstance(where, LocalExecutor):
        where.check(planned)
    write_study(study, config)
    return run_study(planned, where, on_trial, progress=progress)


def _several(argument: str, values: Any, key: str = "") -> tuple[Any, ...]:
    """Several values as a tuple; one alone, or text, is an error."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"`{argument}`: expected several values{f' of {key}' if key else ''}, got {values!r}")
    return tuple(values)


def chosen_executor(executor: Literal["local", "ray"] | Executor, jobs: int | None = None) -> Executor:
    """The executor of a name, or the one given.

    Raises:
        ValueError: If there is none of that name, or `jobs` is given beside an executor or is not positive.
        TypeError: If a class is given instead of an executor.
    """
    if isinstance(executor, type):
        raise TypeError(f"`executor`: expected an executor, such as {executor.__name__}(), got the class")
    if callable(executor):
        if jobs is not None:
            raise ValueError(f"`jobs`: expected none beside an executor, which has its own, got {jobs}")
        return executor
    if executor == "local":
        return LocalExecutor(1 if jobs is None else jobs)
    if executor == "ray":
        return RayExecutor(jobs=jobs)
    raise ValueError(f'`executor`: expected "local", "ray" or an executor, got {executor!r}')


def run_study(
    study: Study, executor: Executor, on_trial: Callable[[Outcome], None] | None = None, *, progress: bool = True
) -> Ablation:
    """Run all trials of a study, and write its table of results.

    Args:
        study: The study, written to disk.
        executor: Where its trials run.
        on_trial: Called with the outcome of each trial, one at a time.
        progress: Print a line for each trial, and on a terminal a bar.
    """
    with Progress(study, silent=not progress) as shown:

        def tell(outcome: Outcome) -> None:
            shown.end(outcome)
            if on_trial is not None:
                on_trial(outcome)

        look_over(study)
        try:
            outcomes = executor(study, tell)
        finally:
            _write_results(study)
    ablation = Ablation(study, outcomes)
    for outcome in ablation.unfinished:
        message = f"{outcome.trial} {outcome.status}: {outcome.message} ({outcome.log})"
        warnings.warn(message, CamtrainWarning, stacklevel=3)
    return ablation


def _write_results(study: Study) -> None:
    """Write the table of results; that it cannot be written does not hide how the trials ended."""
    try:
        study.write_results()
    except CannotWriteError as error:
        warnings.warn(f"{error}; `camtrain report {study.folder}` writes it", CamtrainWarning, stacklevel=4)


def write_study(study: Study, config: str | Path | Mapping[str, Any]) -> None:
    """Write a study to disk.

    Args:
        study: The study.
        config: As for `ablate`; a mapping is kept beside the study.

    Warns:
        CamtrainWarning: If the folder holds finished trials that are not reported.
    """
    if isinstance(config, Mapping):
        write_whole(Path(study.plan.config), _as_yaml(config))
    study.write()
    if others := study.others():
        message = (
            f"{len(others)} finished runs in {study.folder} are not in the report: another configuration, or other "
            f"scores ({', '.join(others[:_NAMED])}{' and others' * (len(others) > _NAMED)})"
        )
        warnings.warn(message, CamtrainWarning, stacklevel=3)


def resolved_study(
    config: str | Path | Mapping[str, Any],
    axes: Sequence[Axis],
    folder: Path,
    seeds: Sequence[int] = (0,),
    evaluation: EvaluationPlan | None = DEFAULT_EVALUATION,
    *,
    num_validation_images: int | None = None,
    threads: int | None = None,
    jobs: int | None = None,
    wandb: WandbMode | None = None,
    project: str | None = None,
    split: Literal["test", "val"] | None = None,
    command: Sequence[str] = (),
) -> Study:
    """The study of a grid with all configurations resolved and checked; nothing is written.

    Args:
        config: As for `ablate`.
        axes: The axes of the grid.
        folder: The folder of the study.
        seeds: As for `ablate`.
        evaluation: As for `ablate`.
        num_validation_images: As for `ablate`.
        threads: As for `ablate`.
        jobs: As for `ablate`.
        wandb: As for `ablate`.
        project: As for `ablate`.
        split: The images that points are compared on, where no maps are scored.
        command: The words that were typed, for the report.

    Raises:
        FileNotFoundError: If there is no such configuration.
        ValueError: If something does not fit.
    """
    folder = local_folder(folder, "folder")
    if not (evaluation is None or isinstance(evaluation, EvaluationPlan)):
        raise TypeError(f"`evaluation`: expected an EvaluationPlan or None, got {evaluation!r}")
    seeds = _checked_seeds(seeds)
    _check_grid(axes)
    for name, value in (("threads", threads), ("jobs", jobs)):
        if value is not None:
            positive_integer(name, value)
    earlier = earlier_plan(folder)
    with _configuration(config) as resolved:
        resolver = ConfigResolver(resolved, _check_of_methods(evaluation))
        plan = _plan(resolver, config, axes, folder, seeds, evaluation, threads, jobs, wandb, project, split, command)
        plan = replace(plan, validation=validation_plan(plan.evaluation, num_validation_images))
        if earlier and earlier.threads != plan.threads:
            if threads:
                raise ValueError(
                    f"`threads`: the study in {folder} began with {earlier.threads}, on which its numbers depend, got "
                    f"{threads}; choose another folder"
                )
            plan = replace(plan, threads=earlier.threads)
        trials = _trials(plan, resolver)
        for trial in trials:
            _check_trainer(trial.config["trainer"])
            _check_place_of_checkpoints(trial.config["checkpoint"])
        study = Study(folder, plan, trials)
        if len(study.trials) < len(trials):
            raise ValueError(f"`grid`: of {len(trials)} points and seeds only {len(study.trials)} are different runs")
        return with_earlier_points(study, resolver)


def _plan(
    resolver: ConfigResolver,
    config: str | Path | Mapping[str, Any],
    axes: Sequence[Axis],
    folder: Path,
    seeds: Sequence[int],
    evaluation: EvaluationPlan | None,
    threads: int | None,
    jobs: int | None,
    wandb: WandbMode | None,
    project: str | None,
    split: Literal["test", "val"] | None,
    command: Sequence[str],
) -> StudyPlan:
    if (given := resolver.given_checkpoint) is not None:
        raise ValueError(
            f"`ckpt_path`: a study starts every training from scratch, so expected null, got {given}; "
            "`model.initial_weights` takes its weights"
        )
    run, name = resolver.run_settings, folder.absolute().name
    return StudyPlan(
        name=name,
        config=str(folder / f"{name}.yaml" if isinstance(config, Mapping) else config),
        axes=tuple(axes),
        seeds=tuple(seeds),
        evaluation=evaluation,
        split=split or ("test" if evaluation is None else evaluation.split),
        wandb=run.wandb if wandb is None else wandb,
        project=run.project if project is None else project,
        threads=threads or default_threads(jobs or 1),
        tags=tuple(run.tags),
        test=run.test,
        command=tuple(command),
    )


def _check_of_methods(evaluation: EvaluationPlan | None) -> Callable[[nn.Module], None] | None:
    """A check that the methods of an evaluation can be made for a network, which has the layer that they name."""
    if evaluation is None:
        return None

    def check(network: nn.Module) -> None:
        methods_named(evaluation.methods, network, evaluation.target_layer)

    return check


def check_score(score: str | None, evaluation: EvaluationPlan | None) -> None:
    """Check, before anything is trained, that a study will have the score that its report is to judge by.

    Raises:
        ValueError: If it will not, with the nearest names.
    """
    known = [] if evaluation is None else evaluation.score_names
    if score and score not in known:
        raise ValueError(f"`score`: the study will have no {score!r}; {nearest_names(score, known)}")


def earlier_plan(folder: Path) -> StudyPlan | None:
    """The plan of the study that a folder holds; `None` if it holds none, or the plan is lost.

    Warns:
        CamtrainWarning: If it is lost, or was made again from its copy.
    """
    try:
        return Study.plan_in(folder)
    except FileNotFoundError:
        return None
    except ValueError as error:
        if (folder / "study.json").is_file():  # of another version, or it cannot be set aside
            raise
        message = (
            f"{str(error).partition(f'; {MADE_AGAIN}')[0]}; it is made again, with the number of threads of this call"
        )
        warnings.warn(message, CamtrainWarning, stacklevel=4)
        return None


def _checked_seeds(seeds: Iterable[Any]) -> tuple[int, ...]:
    found = tuple(seeds)
    if not found or len(set(found)) < len(found):
        raise ValueError(f"`seeds`: expected each seed once, and at least one, got {list(found)}")
    for seed in found:
        # Lightning draws another seed instead of one that is out of range.
        if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed <= _LARGEST_SEED:
            raise ValueError(f"`seeds`: expected integers from 0 to {_LARGEST_SEED}, got {seed!r}")
    return tuple(map(int, found))


def _check_grid(axes: Sequence[Axis]) -> None:
    keys = [axis.key for axis in axes]
    if not keys:
        raise ValueError("`grid`: expected at least one configuration key with its values, got none")
    if len(set(keys)) < len(keys):
        raise ValueError(f"`grid`: expected each key once, got {', '.join(keys)}")
    if _SEED in keys:
        raise ValueError("`grid`: seeds are given by `seeds`, got seed_everything")
    for key in keys:
        if key == "ckpt_path":
            raise ValueError(
                "`grid`: a study starts every training from scratch, got ckpt_path; vary model.initial_weights"
            )
        if key.partition(".")[0] in NOT_OF_TRAINING:
            raise ValueError(f"`grid`: {key} changes nothing of what a run learns; set it in the configuration")


@contextmanager
def _configuration(config: str | Path | Mapping[str, Any]) -> Iterator[Path]:
    """The path of a configuration; one that is given as a mapping is in a file meanwhile."""
    if not isinstance(config, Mapping):
        path = local_path(config, "config")
        if not path.is_file():
            raise FileNotFoundError(f"`config`: no such file: {config}")
        yield path
        return
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        write_whole(path, _as_yaml(config))
        yield path


def _as_yaml(config: Mapping[str, Any]) -> str:
    """A configuration as text; OmegaConf's interpolations stay as they are."""
    try:
        return OmegaConf.to_yaml(config if OmegaConf.is_config(config) else OmegaConf.create(dict(config)))
    except OmegaConfBaseException as error:
        raise ValueError(f"`config`: expected values that YAML can hold; {error}") from error


def _trials(plan: StudyPlan, resolver: ConfigResolver) -> list[Trial]:
    varying = {axis.key for axis in plan.axes if len(axis.values) > 1} or {axis.key for axis in plan.axes}
    trials = []
    for point in grid(plan.axes):
        shown = {key: value for key, value in point.items() if key in varying}
        for number, seed in enumerate(plan.seeds):
            trials.append(Trial(shown, seed, resolver.resolved(point, seed, check=number == 0)))
    return trials


def _check_trainer(trainer: Mapping[str, Any]) -> None:
    """A run is resumed from its checkpoints, and its scores are read from its tables."""
    needed = {"fast_dev_run": (False, 0), "enable_checkpointing": (None, True), "logger": (None,)}
    for name, values in needed.items():
        if (value := trainer.get(name)) not in values:
            raise ValueError(
                f"`trainer.{name}`: a study needs the checkpoints and tables of its runs, so expected "
                f"{'null' if values[0] is None else 'false'}, got {value}"
            )


def _check_place_of_checkpoints(checkpoint: Mapping[str, Any]) -> None:
    """The scores of a trial are made from a checkpoint in the folder of its run."""
    if (folder := checkpoint.get("dirpath")) is not None:
        raise ValueError(
            f"`checkpoint.dirpath`: a study reads checkpoints in the folders of its runs, expected null, got {folder}"
        )
    name = checkpoint.get("filename") or ""
    # Of `{val/accuracy:.3f}` the number alone is in the name, unless Lightning inserts what it is.
    if "/" in (name if checkpoint.get("auto_insert_metric_name", True) else re.sub(r"\{[^}]*\}", "", name)):
        raise ValueError(f"`checkpoint.filename`: expected a name without folders, got {name}")
