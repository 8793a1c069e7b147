"""The checkpoint that a training, a test or a prediction takes up, looked at before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from traceback import walk_tb
from typing import Any

from pytorch_lightning import Callback
from pytorch_lightning.utilities.model_helpers import is_overridden

from camtrain.classifier import Classifier
from camtrain.files import is_address, local_path
from camtrain.networks.checked_weights import broken_weight, misfit
from camtrain.networks.checkpoint_file import checkpoint_in
from camtrain.networks.classifier_checkpoint import PREFIX, classifier_content

_OF_TRAINING = ("optimizer_states", "lr_schedulers", "loops", "epoch", "global_step")
_RECORDS = "objective.records."  # those that do not fit are left out


class GivenCheckpoint:
    """A checkpoint that was given by its path, read once.

    Args:
        source: The path of a checkpoint, or the folder of a run, whose best checkpoint is taken.
        training: True if a training goes on from it, which needs a file and more than weights.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is an address, cannot be read, is damaged, or lacks what it is needed for.
    """

    def __init__(self, source: str | Path, *, training: bool) -> None:
        path = local_path(source, "checkpoint")
        if str(source) in ("best", "last") and not path.exists():
            raise ValueError(
                f"`checkpoint`: expected the path of a checkpoint, got {source!r}, which is not known before a training"
            )
        if training and path.is_dir():
            raise ValueError(
                f"`checkpoint`: expected the file to go on from, got the folder {path}; pass a file in it, such as "
                "checkpoints/last.ckpt, or --run.resume true"
            )
        # Lightning would take `http.ckpt` for an address and `registry:a` for a name.
        self.path = checkpoint_in(path).absolute()
        self._content = classifier_content(self.path)
        if not isinstance(self._content.get("pytorch-lightning_version"), str):
            raise ValueError(f"`checkpoint`: {self.path} is not of Lightning, which writes its version")
        if training:
            self._check_training()

    def _check_training(self) -> None:
        missing = [name for name in _OF_TRAINING if name not in self._content]
        if missing:
            raise ValueError(
                f"`checkpoint`: a training cannot go on from {self.path}, which has no {missing[0]}; pass it as "
                "--model.initial_weights to begin one with its weights"
            )
        for path in _stray_paths(self._content.get("callbacks")):
            raise ValueError(
                f"`checkpoint`: {self.path} names a file that is not in a folder of runs: {path}; pass it as "
                "--model.initial_weights to begin a training with its weights"
            )

    def check(self, module: Classifier, callbacks: Callback | list[Callback] | None) -> None:
        """Check that the weights are those of the module's network, and numbers.

        Args:
            module: The module that will take the weights.
            callbacks: The trainer's; if any of them is one's own and may change the network, only numbers are checked.

        Raises:
            ValueError: If they are not; the message names the first weight.
        """
        state: Mapping[str, Any] = self._content["state_dict"]
        settings = self._content.get("hyper_parameters")
        count = settings.get("num_classes") if isinstance(settings, Mapping) else None
        if isinstance(count, int) and count != module.num_classes:
            raise ValueError(
                f"`checkpoint`: {self.path} is of a network of {count} classes, and the data has {module.num_classes}; "
                "pass the configuration of its run"
            )
        found = misfit(module, _without_records(state) | _records(module))
        listed = callbacks if isinstance(callbacks, list) else [callbacks]
        if found and not any(_may_change_a_network(each) for each in listed):
            raise ValueError(
                f"`checkpoint`: {self.path} does not fit the network of the configuration: "
                f"{found.replace(PREFIX, '')}; pass the configuration of its run"
            )
        if broken := broken_weight(module, state):
            raise ValueError(
                f"`checkpoint`: {self.path} is of a network that has diverged: {broken.replace(PREFIX, '')}; pass an "
                "earlier one as --ckpt_path"
            )


def _without_records(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if not key.startswith(_RECORDS)}


def _records(module: Classifier) -> dict[str, Any]:
    return {key: value for key, value in module.state_dict().items() if key.startswith(_RECORDS)}


def _stray_paths(states: Any) -> Iterator[str]:
    """Paths in the states of `ModelCheckpoint` that lead elsewhere: Lightning deletes and reads files by them."""
    for state in states.values() if isinstance(states, Mapping) else ():
        if isinstance(state, Mapping):
            best = state.get("best_k_models")
            named = [state.get(key) for key in ("best_model_path", "kth_best_model_path", "last_model_path")]
            named += list(best) if isinstance(best, Mapping) else []
            folder = str(state.get("dirpath") or "")
            yield from (each for each in named if isinstance(each, str) and _is_stray(each, folder))


def _is_stray(path: str, folder: str) -> bool:
    """Whether a path is an address, or steps out of a folder; the folder itself may be `../runs/a/version_0`."""
    parts, above = Path(path).parts, Path(folder).parts if folder else ()
    below = parts[len(above) :] if parts[: len(above)] == above else parts
    return is_address(path) or ".." in below


def _may_change_a_network(callback: Callback | None) -> bool:
    is_known = callback is None or type(callback).__module__.startswith(("camtrain.", "pytorch_lightning."))
    return not is_known and is_overridden("setup", callback, Callback)


def is_left_to_lightning(source: str, subcommand: str | None) -> bool:
    """Whether Lightning finds the file: `hpc`, what a cluster's scheduler left, and for a training the `last` one."""
    return source == "hpc" or (source == "last" and subcommand == "fit")


def is_of_loading(error: BaseException) -> bool:
    """Whether an error was raised while Lightning restored a checkpoint."""
    frames = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
    return any(
        code.co_filename.endswith("checkpoint_connector.py")
        and code.co_name.lstrip("_").startswith(("restore", "resume", "parse_ckpt_path", "select_ckpt_path"))
        for code in frames
    )
