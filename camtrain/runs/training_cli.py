"""Lightning's command line for camtrain's classifier: `camtrain fit | validate | test | predict`."""

from __future__ import annotations

import json
import sys
import warnings
from argparse import SUPPRESS, Action
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.exceptions import SIGTERMException
from pytorch_lightning.utilities.model_helpers import is_overridden

import camtrain.data  # noqa: F401  its classes can be named without their module
from camtrain.callbacks import (
    BestCheckpoint,
    CAMLogger,
    DataSummary,
    FaithfulnessScores,
    ImageTable,
    LocalizationScores,
    LostCheckpoints,
    MovedCheckpoints,
    PredictionWriter,
    ScoreReporter,
    StepCost,
    TrainingRandomness,
)
from camtrain.callbacks.best_checkpoint import choosing_callback
from camtrain.callbacks.best_values import check_mode
from camtrain.callbacks.run_folder import run_folder
from camtrain.classifier import Classifier
from camtrain.files import write_whole
from camtrain.messages import DEBUG_HELP, error_message
from camtrain.runs.added_settings import without_added_settings
from camtrain.runs.averaged_weights import averaging_last, without_averaging
from camtrain.runs.checkpoint_artifact import log_best_checkpoint
from camtrain.runs.checkpoint_io import keep_checkpoints_whole
from camtrain.runs.child_processes import watched_children
from camtrain.runs.drawn_seed import drawn_seed
from camtrain.runs.early_end import EndKeeper, callback_settings, ended_early
from camtrain.runs.failed_run import failed_run
from camtrain.runs.first_process import is_first_process
from camtrain.runs.given_checkpoint import GivenCheckpoint, is_left_to_lightning, is_of_loading
from camtrain.runs.guarded_wandb_logger import finish_wandb
from camtrain.runs.int_before_float import int_before_float
from camtrain.runs.resumed_run import COMPARED, CONFIG, ResumedRun, resumed_run
from camtrain.runs.run_lock import RunLock
from camtrain.runs.run_loggers import run_loggers
from camtrain.runs.run_settings import RunSettings, check_run_name
from camtrain.runs.stopped import stop_without_broadcast, stops_as_errors
from camtrain.runs.table_keeper import TableKeeper
from camtrain.runs.trainer_settings import check_trainer_settings
from camtrain.runs.training_end import EndRecorder, TrainingEnd
from camtrain.runs.training_parser import TrainingParser, config_files
from camtrain.runs.training_progress import progress_writers
from camtrain.runs.unknown_monitor import unknown_monitor


class ResolvedConfig(SaveConfigCallback):
    """Writes the resolved configuration to the run's folder, to its checkpoints, and to W&B."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file in one step; Lightning's would be cut by a kill."""
        if self.already_saved:
            return
        self.config = _as_it_was_begun(self.config)
        path = run_folder(trainer) / self.config_filename
        if trainer.strategy.broadcast(path.exists() and not self.overwrite):
            raise FileExistsError(
                f"{path} is the configuration of another run; choose another --trainer.default_root_dir"
            )
        if trainer.is_global_zero:
            write_whole(path, self.parser.dump(self.config, skip_none=False))
            self.save_config(trainer, pl_module, stage)
        config = json.loads(self.parser.dump(self.config, skip_none=False, format="json"))
        self._compared = json.dumps({key: config.get(key) for key in COMPARED})
        self.already_saved = True

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what a run must have in common with the one that it resumes."""
        checkpoint[CONFIG] = self._compared

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Hand the configuration to W&B."""
        config = json.loads(self.parser.dump(self.config, skip_none=False, format="json"))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams(config)


def _as_it_was_begun(config: Any) -> Any:
    """The configuration of a run without what going on with it has added, so that it can be begun again."""
    if not config.run.resume:
        return config
    begun = config.clone()
    begun.run.resume, begun.ckpt_path = False, None
    return begun


class TrainingCLI(LightningCLI):
    """Lightning's command line with camtrain's classifier, callbacks and run folder.

    Every constructor argument is an option and a key of the YAML files, which OmegaConf reads: `${...}` interpolates.
    """

    def __init__(self, args: list[str] | None = None) -> None:
        self._reporter = ScoreReporter()
        self._words = sys.argv[1:] if args is None else args
        self._config_files = config_files(self._words)
        self._given: GivenCheckpoint | None = None
        self._resumed: ResumedRun | None = None
        self._has_drawn = False  # a seed
        self._folders: list[Path] = []  # that of the run, and those above that it made
        self._early_end, self._end = EndKeeper(), EndRecorder()
        int_before_float(Trainer.__init__)
        with RunLock() as self._lock:
            super().__init__(
                Classifier,
                LightningDataModule,
                subclass_mode_data=True,
                save_config_callback=ResolvedConfig,
                seed_everything_default=0,
                parser_class=TrainingParser,
                auto_configure_optimizers=False,
                trainer_defaults={
                    "callbacks": [
                        self._reporter,
                        DataSummary(),
                        StepCost(),
                        PredictionWriter(),
                        TrainingRandomness(),
                        MovedCheckpoints(),
                        LostCheckpoints(),
                        TableKeeper(),
                        self._early_end,  # before the recorder: it counts the last epoch
                        self._end,
                        *progress_writers(),
                        _last_checkpoint(),
                    ]
                },
                args=args,
            )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """With the option that all commands have."""
        parser = super().init_parser(**kwargs)
        parser.add_argument("--debug", action=_Explained, help=DEBUG_HELP)
        parser.add_argument("--help_all", action=_WholeHelp, help="Show all options and exit.")
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The run's settings and camtrain's callbacks."""
        parser.add_class_arguments(RunSettings, "run")
        parser.add_lightning_class_args(CAMLogger, "cam_logger")
        parser.add_lightning_class_args(LocalizationScores, "localization_scores")
        parser.add_lightning_class_args(FaithfulnessScores, "faithfulness_scores")
        parser.add_lightning_class_args(ImageTable, "image_table")
        parser.add_lightning_class_args(BestCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                # They take 2 num_steps passes for each image: on a processor more than a small data set's training.
                "faithfulness_scores.num_images": 0,
                "checkpoint.monitor": "val/accuracy",
                "checkpoint.mode": "max",
                "checkpoint.filename": "epoch_{epoch:03d}",
                "checkpoint.auto_insert_metric_name": False,
            }
        )
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Lightning's, without its own table of scores: ours is printed.

        If the words begin with one, it is the only one: each has a parser with all options, which takes time to make.
        """
        subcommands = {name: skipped | {"verbose"} for name, skipped in LightningCLI.subcommands().items()}
        asked = self._words[0] if self._words else ""
        return {asked: subcommands[asked]} if asked in subcommands else subcommands

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        return kwargs | ({"verbose": False} if subcommand in ("validate", "test") else {})

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning would put the checkpoint's settings in the place of those that were asked for."""

    def before_instantiate_classes(self) -> None:
        """Find the run to go on with; say it if a network is about to be scored that has learned nothing."""
        config: Any = self.config[self.subcommand]
        self._check_settings(config)
        asked = json.loads(self.parser.dump(self.config, skip_none=False, format="json"))[self.subcommand]
        self._early_end.settings = callback_settings(asked)
        if self.subcommand == "fit" and config.run.resume:
            self._go_on(config, asked)
        given = config.ckpt_path, config.model.weights, config.model.initial_weights
        if self.subcommand != "fit" and given == (None, None, None):
            rank_zero_warn(f"camtrain {self.subcommand} without --ckpt_path: the network has its initial weights.")
        self._read_checkpoint(config)

    def _read_checkpoint(self, config: Any) -> None:
        """Read the checkpoint that was given, as data: none may run code, whatever `weights_only` says."""
        if config.weights_only is False:
            self.parser.error("--weights_only: expected true, got false, which would run any code in the checkpoint")
        config.weights_only = True
        if config.ckpt_path is None or is_left_to_lightning(config.ckpt_path, self.subcommand):
            return
        try:
            self._given = GivenCheckpoint(config.ckpt_path, training=self.subcommand == "fit")
        except (ValueError, OSError) as error:
            self.parser.error(self._about_checkpoint(str(error)), error)
        config.ckpt_path = str(self._given.path)

    def _about_checkpoint(self, message: str) -> str:
        """A message with the option by which the checkpoint was given."""
        option = "--run.resume" if self._resumed else "--ckpt_path"
        return message.replace("`checkpoint`", option).replace("`ckpt_path`", option).replace("`config`", "--config")

    def _check_settings(self, config: Any) -> None:
        """Check what needs neither network nor data."""
        try:
            check_trainer_settings(vars(config.trainer))
            if self.subcommand == "fit":
                check_mode(config.checkpoint.monitor, config.checkpoint.mode)
            RunSettings(**vars(config.run))
            check_run_name(config.run.name or self._name)
        except (ValueError, TypeError) as error:
            self._parser(self.subcommand).error(str(error), error)

    def _set_seed(self) -> None:
        """Draw a seed where that is asked for, and say which seeds there are."""
        seed = self._get(self.config, "seed_everything")
        if seed is True:
            seed = self._draw_seed()
        if not isinstance(seed, bool) and not 0 <= seed < 2**32:
            self._parser(self.subcommand).error(f"--seed_everything: expected an integer in [0, 2^32), got {seed}")
        super()._set_seed()

    def _draw_seed(self) -> int:
        """A new seed, which becomes that of the configuration; Lightning's own is 0."""
        config: Any = self.config[self.subcommand]
        try:
            config.seed_everything = drawn_seed(config.trainer.num_nodes)
        except ValueError as error:
            self._parser(self.subcommand).error(str(error), error)
        self._has_drawn = True
        return int(config.seed_everything)

    def _go_on(self, config: Any, asked: dict[str, Any]) -> None:
        """Take up the newest run of this name, if it is one of the same settings."""
        if config.ckpt_path is not None:
            self._parser(self.subcommand).error(f"`run.resume`: expected false beside --ckpt_path {config.ckpt_path}")
        try:
            resumed = resumed_run(RunSettings(**vars(config.run)).runs_of(self._name), self._lock)
        except ValueError as error:  # another process trains it
            self._parser(self.subcommand).error(str(error), error)
        if resumed is None:
            return
        if self._has_drawn and resumed.config is not None:
            config.seed_everything = asked["seed_everything"] = resumed.config.get("seed_everything")
            super()._set_seed()
        for key in COMPARED if resumed.config is not None else ():
            begun: Any = resumed.config.get(key)  # type: ignore[union-attr]
            if without_added_settings({key: asked.get(key)}) != without_added_settings({key: begun}):
                self._parser(self.subcommand).error(
                    f"`run.resume`: {resumed.folder} is a run with another `{key}` in its config.yaml; choose "
                    "another --run.name, or leave out --run.resume"
                )
        self._resumed = resumed
        self._early_end.is_reached = ended_early(resumed.stopped_with, self._early_end.settings)
        config.ckpt_path = str(resumed.checkpoint)
        self.save_config_kwargs["overwrite"] = True
        # That is what going on means.
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")

    def instantiate_classes(self) -> None:
        """Say what is wrong with a setting as the parser says it."""
        try:
            with failed_run(lambda: self._folders, lambda: self._resumed is not None):
                super().instantiate_classes()
        except (ValueError, TypeError, OSError, MisconfigurationException) as error:
            message = error_message(error)
            if "missing 1 required positional argument: 'num_classes'" in message:
                message = "`data`: expected a data module with an attribute `num_classes`, and yours has none"
            self._parser(self.subcommand).error(message, error)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """With the run's loggers, unless the configuration names others; `fast_dev_run` has none."""
        if self.subcommand == "fit":
            self.model.configure_optimizers()  # what is wrong with them is found before a folder is made
        trainer: Any = self._get(self.config_init, "trainer")
        if self._given is not None:
            try:
                self._given.check(self.model, trainer["callbacks"])
            except ValueError as error:
                raise ValueError(self._about_checkpoint(str(error))) from error
            self._given = None  # its content would stay in memory
        if trainer["logger"] is None:
            lock = self._lock if self.subcommand == "fit" else None
            loggers = [] if trainer["fast_dev_run"] else run_loggers(self._settings, self._name, self._resumed, lock)
            kwargs["logger"] = loggers or False
            table: Any = loggers[0] if loggers else None
            if table is not None and trainer["default_root_dir"] is None:
                # Where Lightning writes and looks for the checkpoints of SLURM: in the folder of the call, the next
                # training, of whatever settings, would go on from them.
                kwargs["default_root_dir"] = str(Path(table.log_dir).absolute())
            if table is not None and is_first_process():
                self._folders = table.made or [Path(table.log_dir).absolute()]
        made = super().instantiate_trainer(**kwargs)
        keep_checkpoints_whole(made)
        stop_without_broadcast(made)
        averaging_last(made)
        return made

    def before_fit(self) -> None:
        """One table at the end, not one after both fit and test."""
        self._reporter.print_table = not self._ends_with_a_test
        # In 16 bits the model summary warns that it takes 32 for the size in megabytes: nothing to act on.
        warnings.filterwarnings("ignore", message="Precision .* is not supported by the model summary")

    def after_fit(self) -> None:
        """The best checkpoint for W&B if it is asked for, and its scores on the test images."""
        if self.trainer.received_sigterm:  # after the last step
            raise SIGTERMException
        log_best_checkpoint(self.trainer, self._settings.wandb_checkpoint, self._settings.name or self._name)
        if not self._ends_with_a_test:
            return
        path = getattr(choosing_callback(self.trainer), "best_model_path", None) or None
        self._reporter.print_table = True
        with without_averaging(self.trainer):
            self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=path, weights_only=True, verbose=False)

    @property
    def _ends_with_a_test(self) -> bool:
        has_test = is_overridden("test_dataloader", self.datamodule)
        return self._settings.test and has_test and not self.trainer.fast_dev_run  # type: ignore[attr-defined]

    def _run_subcommand(self, subcommand: str) -> None:
        what = "the training" if subcommand == "fit" else subcommand
        with failed_run(lambda: self._folders, lambda: self._resumed is not None or self.trainer.global_step > 0):
            try:
                with stops_as_errors(what), watched_children(self.trainer, subcommand), unknown_monitor(self.trainer):
                    super()._run_subcommand(subcommand)
            except Exception as error:
                if not is_of_loading(error):
                    raise
                given = self.trainer.ckpt_path or self.config[subcommand].ckpt_path
                message = f"`checkpoint`: cannot load {given}: {str(error) or type(error).__name__}"
                raise ValueError(self._about_checkpoint(message)) from error
            finally:
                finish_wandb(self.trainer.loggers)

    @property
    def end(self) -> TrainingEnd | None:
        """Where the training of `fit` ended; `None` if it has not."""
        return self._end.end

    @property
    def _settings(self) -> RunSettings:
        return RunSettings(**vars(self._get(self.config_init, "run")))

    @property
    def _name(self) -> str:
        path = Path((self._config_files or ["camtrain"])[-1])
        # The configuration of an earlier run, `<name>/version_<k>/config.yaml`, has that run's name.
        return path.absolute().parents[1].name if path.name == "config.yaml" else path.stem


class _Explained(Action):
    """An option that is in the help and in no configuration: the command line takes it out of the words."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, SUPPRESS, **{**options, "nargs": 0, "default": SUPPRESS})

    def __call__(self, *_: Any) -> None:
        """Nothing."""


class _WholeHelp(_Explained):
    """The help with all options."""

    def __call__(self, parser: Any, *_: Any) -> None:
        """Print it and exit."""
        print(parser.whole_help())
        parser.exit()


def _last_checkpoint() -> ModelCheckpoint:
    """Of every epoch, so that a run can be resumed where it ended; the configurable one keeps the best."""
    return ModelCheckpoint(filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
