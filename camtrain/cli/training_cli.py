"""`camtrain fit | validate | test | predict`: Lightning's command line for camtrain's classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import wandb
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities.model_helpers import is_overridden

import camtrain.data  # noqa: F401  its classes can be named without their module
from camtrain.callbacks import CAMLogger, LocalizationScores, PredictionWriter, ScoreReporter
from camtrain.classifier import Classifier
from camtrain.cli.run_settings import RunSettings, run_loggers


class ResolvedConfig(SaveConfigCallback):
    """Writes the resolved configuration to the run's folder, and to W&B."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """W&B's share; the file is the base class's."""
        config = json.loads(self.parser.dump(self.config, skip_none=False, format="json"))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams(config)


class TrainingCLI(LightningCLI):
    """Lightning's command line with camtrain's classifier, callbacks and run folder.

    Every constructor argument is an option and a key of the YAML files, which OmegaConf reads: `${...}` interpolates.
    """

    def __init__(self, args: list[str] | None = None) -> None:
        super().__init__(
            Classifier,
            LightningDataModule,
            subclass_mode_data=True,
            save_config_callback=ResolvedConfig,
            seed_everything_default=0,
            parser_kwargs={"parser_mode": "omegaconf"},
            auto_configure_optimizers=False,
            trainer_defaults={"callbacks": [ScoreReporter(), PredictionWriter()]},
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The run's settings and camtrain's callbacks."""
        parser.add_class_arguments(RunSettings, "run")
        parser.add_lightning_class_args(CAMLogger, "cam_logger")
        parser.add_lightning_class_args(LocalizationScores, "localization_scores")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/accuracy",
                "checkpoint.mode": "max",
                "checkpoint.save_last": True,
                "checkpoint.filename": "epoch_{epoch:03d}",
                "checkpoint.auto_insert_metric_name": False,
            }
        )
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")

    def instantiate_classes(self) -> None:
        """Say what is wrong with a setting as the parser says it; with JSONARGPARSE_DEBUG set, with a traceback."""
        try:
            super().instantiate_classes()
        except (ValueError, TypeError, OSError) as error:
            self.parser.error(str(error), error)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """With the run's loggers, unless the configuration names others; `fast_dev_run` has none."""
        trainer: Any = self._get(self.config_init, "trainer")
        if trainer["logger"] is None:
            kwargs["logger"] = False if trainer["fast_dev_run"] else run_loggers(self._settings, self._name)
        return super().instantiate_trainer(**kwargs)

    def after_fit(self) -> None:
        """Scores of the best checkpoint on the test set."""
        if not self._settings.test or not is_overridden("test_dataloader", self.datamodule):
            return
        if self.trainer.interrupted or self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        checkpoint: Any = self.trainer.checkpoint_callback
        best = "best" if checkpoint is not None and checkpoint.best_model_path else None
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best, verbose=False, weights_only=True)

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
        configs = self._get(self.config, "config") or []
        return Path(str(configs[-1])).stem if configs else "camtrain"
