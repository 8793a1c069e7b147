"""Lightning's command line for camtrain's classifier: `camtrain fit | validate | test | predict`."""

from __future__ import annotations

import json
import sys
import warnings
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import wandb
from omegaconf import OmegaConf
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.model_helpers import is_overridden

import camtrain.data  # noqa: F401  its classes can be named without their module
from camtrain.callbacks import (
    CAMLogger,
    FaithfulnessScores,
    LocalizationScores,
    MovedCheckpoints,
    PredictionWriter,
    ScoreReporter,
    StepCost,
    TrainingRandomness,
)
from camtrain.classifier import Classifier
from camtrain.runs.int_before_float import int_before_float
from camtrain.runs.run_loggers import run_loggers
from camtrain.runs.run_settings import RunSettings


class ResolvedConfig(SaveConfigCallback):
    """Writes the resolved configuration to the run's folder, and to W&B."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Hand the configuration to W&B; the base class writes the file."""
        config = json.loads(self.parser.dump(self.config, skip_none=False, format="json"))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams(config)


class TrainingCLI(LightningCLI):
    """Lightning's command line with camtrain's classifier, callbacks and run folder.

    Every constructor argument is an option and a key of the YAML files, which OmegaConf reads: `${...}` interpolates.
    """

    def __init__(self, args: list[str] | None = None) -> None:
        self._reporter = ScoreReporter()
        self._config_files = _config_files(sys.argv[1:] if args is None else args)
        self._continued: Path | None = None
        int_before_float(Trainer.__init__)
        super().__init__(
            Classifier,
            LightningDataModule,
            subclass_mode_data=True,
            save_config_callback=ResolvedConfig,
            seed_everything_default=0,
            parser_kwargs={"parser_mode": "omegaconf+"},
            auto_configure_optimizers=False,
            trainer_defaults={
                "callbacks": [
                    self._reporter,
                    StepCost(),
                    PredictionWriter(),
                    TrainingRandomness(),
                    MovedCheckpoints(),
                    _last_checkpoint(),
                ]
            },
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The run's settings and camtrain's callbacks."""
        parser.add_class_arguments(RunSettings, "run")
        parser.add_lightning_class_args(CAMLogger, "cam_logger")
        parser.add_lightning_class_args(LocalizationScores, "localization_scores")
        parser.add_lightning_class_args(FaithfulnessScores, "faithfulness_scores")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
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

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, without its own table of scores: ours is printed."""
        subcommands = LightningCLI.subcommands()
        return {name: skipped | {"verbose"} for name, skipped in subcommands.items()}

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        return kwargs | ({"verbose": False} if subcommand in ("validate", "test") else {})

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning would put the checkpoint's settings in the place of those that were asked for."""

    def before_instantiate_classes(self) -> None:
        """Find the run to go on with; say it if a network is about to be scored that has learned nothing."""
        config: Any = self.config[self.subcommand]
        if self.subcommand == "fit" and config.run.resume:
            self._go_on(config)
        given = config.ckpt_path, config.model.weights, config.model.initial_weights
        if self.subcommand != "fit" and given == (None, None, None):
            rank_zero_warn(f"camtrain {self.subcommand} without --ckpt_path: the network has its initial weights.")

    def _go_on(self, config: Any) -> None:
        """Take up the newest run of this name, if it is one of the same settings."""
        if config.ckpt_path is not None:
            self.parser.error(f"`run.resume`: expected false beside --ckpt_path {config.ckpt_path}")
        checkpoint = RunSettings(**vars(config.run)).last_checkpoint(self._name)
        if checkpoint is None:
            return
        saved = checkpoint.parents[1] / "config.yaml"
        asked = json.loads(self.parser.dump(self.config, skip_none=False, format="json"))[self.subcommand]
        found = OmegaConf.to_container(OmegaConf.load(saved))
        assert isinstance(found, dict)
        for key in ("seed_everything", "model", "data"):
            if asked.get(key) != found.get(key):
                self.parser.error(
                    f"`run.resume`: {checkpoint.parents[1]} is a run with another `{key}` in its config.yaml; choose "
                    "another --run.name, or leave out --run.resume"
                )
        self._continued = checkpoint
        config.ckpt_path = str(checkpoint)
        self.save_config_kwargs["overwrite"] = True
        # That is what going on means.
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")

    def instantiate_classes(self) -> None:
        """Say what is wrong with a setting as the parser says it; with JSONARGPARSE_DEBUG set, with a traceback."""
        try:
            super().instantiate_classes()
        except (ValueError, TypeError, OSError) as error:
            message = str(error)
            if "missing 1 required positional argument: 'num_classes'" in message:
                message = "`data`: expected a data module with an attribute `num_classes`, and yours has none"
            self.parser.error(message, error)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """With the run's loggers, unless the configuration names others; `fast_dev_run` has none."""
        trainer: Any = self._get(self.config_init, "trainer")
        if trainer["logger"] is None:
            loggers = False if trainer["fast_dev_run"] else run_loggers(self._settings, self._name, self._continued)
            kwargs["logger"] = loggers
        return super().instantiate_trainer(**kwargs)

    def before_fit(self) -> None:
        """One table at the end, not one after both fit and test."""
        self._reporter.print_table = not self._ends_with_a_test

    def after_fit(self) -> None:
        """Scores of the best checkpoint on the test images."""
        if not self._ends_with_a_test or self.trainer.interrupted:
            return
        checkpoint: Any = self.trainer.checkpoint_callback
        path = getattr(checkpoint, "best_model_path", None) or None
        self._reporter.print_table = True
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=path, weights_only=True, verbose=False)

    @property
    def _ends_with_a_test(self) -> bool:
        has_test = is_overridden("test_dataloader", self.datamodule)
        return self._settings.test and has_test and not self.trainer.fast_dev_run  # type: ignore[attr-defined]

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        finally:
            wandb.finish()

    @property
    def _settings(self) -> RunSettings:
        return RunSettings(**vars(self._get(self.config_init, "run")))

    @property
    def _name(self) -> str:
        path = Path((self._config_files or ["camtrain"])[-1])
        # The configuration of an earlier run, `<name>/version_<k>/config.yaml`, has that run's name.
        return path.absolute().parents[1].name if path.name == "config.yaml" else path.stem


def _config_files(words: list[str]) -> list[str]:
    """Paths given by `--config`; the parsed configuration does not always have them (not where it interpolates)."""
    finder = ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("-c", "--config", action="append", default=[])
    files: list[str] = finder.parse_known_args(words)[0].config
    return files


def _last_checkpoint() -> ModelCheckpoint:
    """Of every epoch, so that a run can be resumed where it ended; the configurable one keeps the best."""
    return ModelCheckpoint(filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
