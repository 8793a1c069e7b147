"""Resolved configurations, without running them."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from torch import nn

from camtrain.callbacks.best_values import check_mode
from camtrain.runs.added_settings import without_added_settings
from camtrain.runs.made_trainer import check_trainer, quietly
from camtrain.runs.run_settings import RunSettings
from camtrain.runs.training_cli import TrainingCLI
from camtrain.runs.training_parser import WrongArgumentsError

NOT_OF_TRAINING = ("config", "ckpt_path", "weights_only", "run")
"""Sections of a configuration that change nothing of what a run learns: where it is written, how it is continued."""


class ConfigResolver(TrainingCLI):
    """What `camtrain fit` would train with, for many configurations from one parser.

    Args:
        config: The path of a configuration.
        check_network: Called with the network of each point that is checked; it raises a ValueError if the network
            does not fit what is planned. `None` checks nothing more.

    Raises:
        ValueError: If the configuration is wrong.
    """

    def __init__(self, config: str | Path, check_network: Callable[[nn.Module], None] | None = None) -> None:
        self._check_network = check_network
        self._checked: list[Any] = []
        with warnings.catch_warnings(), _errors_instead_of_exits():
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
            super().__init__(["fit", "--config", str(config)])

    def resolved(self, point: Mapping[str, Any], seed: int, *, check: bool = False) -> dict[str, Any]:
        """All settings as plain containers, with those of a point in the place of the configuration's own.

        Args:
            point: Values by dotted key.
            seed: The seed of the run.
            check: True also checks the values as a training would, which makes the network, the data module, the
                optimizer and the callbacks, unless an earlier point had the same. What depends on this machine is left
                to the training: files that are not here, packages, devices.

        Raises:
            ValueError: If the configuration has no such key, or the value does not fit.
        """
        parsed = self._parsed(point, seed)
        settings = without_added_settings(json.loads(self.parser.dump(parsed, skip_none=False, format="json"))["fit"])
        if check:
            try:
                self._check_point(parsed, settings)
            except (ValueError, TypeError, ArgumentError) as error:
                values = ", ".join(f"{key}={json.dumps(value)}" for key, value in point.items())
                raise ValueError(f"`grid`: at {values}: {_short(error)}") from error
        return {key: value for key, value in settings.items() if key not in NOT_OF_TRAINING}

    def _check_point(self, parsed: Namespace, settings: Mapping[str, Any]) -> None:
        trainer, best = settings["trainer"], settings["checkpoint"]
        check_mode(best["monitor"], best["mode"])
        made = {key: value for key, value in settings.items() if key not in (*NOT_OF_TRAINING, "seed_everything")}
        made["trainer"] = {"callbacks": trainer.get("callbacks")}
        if trainer not in self._checked:
            check_trainer(trainer)
        if made not in self._checked:
            with quietly(), contextlib.suppress(OSError, ImportError, RuntimeError):
                model = self.parser.instantiate_classes(parsed)["fit"]["model"]
                model.configure_optimizers()
                if self._check_network is not None:
                    self._check_network(model.network)
        self._checked += [trainer, made]

    def _parsed(self, point: Mapping[str, Any], seed: int) -> Namespace:
        words = [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in point.items()]
        with _errors_instead_of_exits("grid", *point):
            return self.parser.parse_args([*self._words, *words, f"--seed_everything={seed}"])

    @property
    def given_checkpoint(self) -> str | None:
        """The checkpoint that the configuration goes on with; `None` if it begins a training."""
        found: str | None = self._get(self.config, "ckpt_path")
        return found

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


def _short(error: Exception) -> str:
    """What is wrong, without the list of all that an argument could have been."""
    message = " ".join(str(error).split())
    if ("Errors: - " in message) and (" - Expected a <class 'NoneType'>" in message):
        return message.partition("Errors: - ")[2].partition(" - Expected a <class 'NoneType'>")[0]
    return message


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
    except WrongArgumentsError as error:
        is_named = any(error.message.startswith((f"--{key}:", f"--{key}.")) for key in keys)
        where = "" if is_named or not keys else f"{', '.join(keys)}: "
        said = error.message.removeprefix("--") if is_named else error.message
        raise ValueError(f"`{argument}`: {where}{said}") from error
    sys.stderr.write(printed.getvalue())
