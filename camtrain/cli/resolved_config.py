"""Resolved configurations, without running them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

from camtrain.cli.run_settings import RunSettings
from camtrain.cli.training_cli import TrainingCLI

# Where a run is written and how it is continued changes nothing of what it learns.
NOT_OF_TRAINING = ("config", "ckpt_path", "weights_only", "run")


class ConfigResolver(TrainingCLI):
    """What `camtrain fit` would train with, for many configurations from one parser.

    Raises:
        SystemExit: with status 2 and a message, if a configuration is wrong.
    """

    def __init__(self, config: str) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
            super().__init__(["fit", "--config", config])
        self._words = ["fit", "--config", config]

    def resolved(self, point: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """All settings with those of a point in the place of the configuration's own, as plain containers.

        Args:
            point: values by dotted key.
            seed: of the run.
        """
        words = [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in point.items()]
        parsed = self.parser.parse_args([*self._words, *words, f"--seed_everything={seed}"])
        settings = json.loads(self.parser.dump(parsed, skip_none=False, format="json"))["fit"]
        return {key: value for key, value in settings.items() if key not in NOT_OF_TRAINING}

    @property
    def run_settings(self) -> RunSettings:
        """The configuration's section `run`."""
        return RunSettings(**vars(self._get(self.config, "run")))

    def before_instantiate_classes(self) -> None:
        """Nothing is made."""

    def instantiate_classes(self) -> None:
        """Nothing is made."""

    def _set_seed(self) -> None:
        """Nothing is drawn."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing is run."""
