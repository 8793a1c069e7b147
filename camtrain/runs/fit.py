"""Train a resolved configuration, as `camtrain fit` does."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from pathlib import Path

from camtrain.runs.run_settings import RunSettings
from camtrain.runs.stopped import TrainingStoppedError
from camtrain.runs.training_cli import TrainingCLI


def fit(config: str | Path, run: RunSettings) -> Path:
    """Train and test a configuration, as `camtrain fit --config CONFIG` with these settings of the run does.

    Args:
        config: The path of a configuration.
        run: Where the run is written, and how W&B takes part.

    Returns:
        The folder of the run; `camtrain.load_network` takes it. The training has reached its end, by epochs, steps,
        time, or a callback that stopped it: `training_end(folder)` says which.

    Raises:
        TrainingStoppedError: If a signal stopped it before the end of training and test; with `run.resume` the same
            call goes on.
        RuntimeError: If the training left no checkpoint.
        SystemExit: If the configuration is wrong, after a message on stderr.
    """
    settings = {name: value if isinstance(value, str) else json.dumps(value) for name, value in asdict(run).items()}
    words = [f"--run.{name}={value}" for name, value in settings.items()]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
        # Lightning 2.6 calls what torch 2.14 deprecates; nothing that a user could act on.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        cli = TrainingCLI(["fit", "--config", str(config), *words])
    if cli.end is None:
        raise TrainingStoppedError("the training was stopped before its end")
    trainer = cli.trainer
    folder = Path(trainer.log_dir or trainer.default_root_dir)
    if not (folder / "checkpoints" / "last.ckpt").is_file():
        raise RuntimeError("the training ended without an error, and without a checkpoint")
    return folder
