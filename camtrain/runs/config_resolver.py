"""Resolved configurations, without running them."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from camtrain.runs.run_settings import RunSettings
from camtrain.runs.training_cli import TrainingCLI

NOT_OF_TRAINING = ("config", "ckpt_path", "weights_only", "run")
"""Sections of a configuration that change nothing of what a run learns: where it is written, how it is continued."""


class ConfigResolver(TrainingCLI):
    """What `camtrain fit` would train with, for many configurations from one parser.

    Args:
        config: The path of a configuration.

    Raises:
        ValueError: If the configuration is wrong.
    """

    def __init__(self, config: str | Path) -> None:
        self._words = ["fit", "--config", str(config)]
        with warnings.catch_warnings(), _errors_instead_of_exits():
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
            super().__init__(self._words)

    def resolved(self, point: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """All settings as plain containers, with those of a point in the place of the configuration's own.

        Args:
            point: Values by dotted key.
            seed: The seed of the run.

        Raises:
            ValueError: If the configuration has no such key, or the value does not fit.
        """
        words = [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in point.items()]
        with _errors_instead_of_exits("grid", *point):
            parsed = self.parser.parse_args([*self._words, *words, f"--seed_everything={seed}"])
        settings = json.loads(self.parser.dump(parsed, skip_none=False, format="json"))["fit"]
        return {key: value for key, value in settings.items() if key not in NOT_OF_TRAINING}

    @property
    def run_settings(self) -> RunSettings:
        """The configuration's section `run`."""
        return RunSettings(**vars(self._get(self.config, "run")))

    def before_instantiate_classes(self) -> None:
        """Make nothing."""

    def instantiate_classes(self) -> None:
        """Make nothing."""

    def _set_seed(self) -> None:
        """Draw nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""


@contextlib.contextmanager
def _errors_instead_of_exits(argument: str = "config", *keys: str) -> Iterator[None]:
    """Raise what a parser would print before it ends the process.

    Args:
        argument: The argument to name.
        keys: The keys of the grid that were set.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            yield
    except SystemExit as exit_:
        message = printed.getvalue().rpartition("error: ")[2].strip() or "it cannot be read"
        where = f" {', '.join(keys)}:" if keys else ""
        raise ValueError(f"`{argument}`:{where} {message}") from exit_
    sys.stderr.write(printed.getvalue())
