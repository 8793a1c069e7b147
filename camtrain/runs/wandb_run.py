"""Opens a W&B run, offline where its server cannot be reached, and not at all where nothing can be written."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import wandb
from wandb import env

from camtrain.files import path_from_here
from camtrain.messages import CamtrainWarning
from camtrain.runs.guarded_run import UPLOAD_LIMIT, Guard, GuardedRun, NoRun, end_service, reason
from camtrain.runs.time_limited import time_limited
from camtrain.runs.wandb_mode import Mode

# With the end of W&B's own process and the start of another they are less than 20 seconds.
_SERVER_LIMIT = 7.0
_ONLINE_LIMIT = 14.0
_OFFLINE_LIMIT = 120.0  # there is nothing to fall back to, and a machine may be busy
IN_USE_LIMIT = 120.0
"""Seconds to wait for a run that another process has; W&B's own process outlives one that was killed."""

_FOLDERS: Mapping[str, Callable[[], Any]] = {env.DATA_DIR: env.get_data_dir, env.CACHE_DIR: env.get_cache_dir}


class NoKeyError(Exception):
    """W&B has no API key."""


def opened_run(mode: Mode, folder: Path, complete: str, patience: float = IN_USE_LIMIT, **init: Any) -> Any:
    """A W&B run whose calls neither raise nor hang.

    A run that cannot be online is offline; one that cannot be written is a `NoRun`. Both are said in one line.

    Args:
        mode: W&B's mode.
        folder: The folder in which W&B makes its own, `wandb`.
        complete: What has everything that W&B should have: "metrics.csv and panels have everything".
        patience: The longest time to wait for a run that another process has, in seconds.
        init: Further arguments of `wandb.init`.

    Warns:
        CamtrainWarning: If the run is not what was asked for, with the reason and the command that uploads it later.
    """
    if mode == "disabled":
        return NoRun()
    _find_folders(folder)
    _import_all()
    init |= {"dir": str(folder), "settings": _with_limits(init.get("settings"))}
    failure = None
    if mode != "offline":
        try:
            return _guarded(_opened(partial(_online, mode), init, _ONLINE_LIMIT, patience), complete)
        except Exception as error:  # W&B raises almost anything
            failure = error
    try:
        run = _opened(partial(wandb.init, mode="offline"), init, _OFFLINE_LIMIT, patience)
    except Exception as error:
        why = "; ".join(reason(each) for each in (failure, error) if each)
        _warn(f"W&B: {why}; it takes no part, and {complete}")
        return NoRun()
    if failure:
        _warn(f"W&B: {reason(failure)}; the run is offline, and `{_upload(run)}` uploads it later")
    return _guarded(run, complete)


def _import_all() -> None:
    """Import what `wandb.init` imports at its end: seconds of work, which are not the server's."""
    with suppress(Exception):
        import_module("wandb.sdk.launch")


def _online(mode: Mode, **init: Any) -> Any:
    if wandb.run is None:
        # What an earlier run in this process, or a file of settings, has said of the mode does not hold.
        silent = wandb.setup(wandb.Settings(mode=mode)).settings.silent
        # One that is not silent asks the server for the name of the user, and waits for it.
        wandb.setup(wandb.Settings(silent=True))
        # `wandb.init` would ask for a key on the terminal, and wait.
        has_key = wandb.login(prompt=False, verify=False)
        wandb.setup(wandb.Settings(silent=silent))
        if not has_key:
            raise NoKeyError("no API key is known; `wandb login` stores one")
    return wandb.init(**init, mode=mode)


def _opened(start: Callable[..., Any], init: Mapping[str, Any], limit: float, patience: float) -> Any:
    """A run that was started; an attempt that fails leaves nothing behind."""
    run_id = init.get("id") or os.environ.get(env.RUN_ID) or uuid.uuid4().hex[:8]
    end = time.monotonic() + patience
    while True:
        before = _folders_of(init["dir"], run_id)
        try:
            return time_limited(partial(start, **{**init, "id": run_id}), limit)
        except Exception as error:
            is_in_use = "is in use" in str(error)  # W&B has no public class for it
            if wandb.run is None and not is_in_use:
                # W&B's own process may hang, and has the id of the run.
                end_service()
            for path in _folders_of(init["dir"], run_id) - before:
                shutil.rmtree(path, ignore_errors=True)
            if not is_in_use or time.monotonic() > end:
                raise
            time.sleep(0.5)


def _guarded(run: Any, complete: str) -> GuardedRun:
    _keep_log_errors_quiet()
    return GuardedRun(run, Guard(f"the run goes on, and {complete}; `{_upload(run)}` uploads what W&B has"))


def _keep_log_errors_quiet() -> None:
    """Keep `logging` from printing a traceback for each line that W&B cannot write to its own log."""
    for handler in logging.getLogger("wandb").handlers:
        handler.handleError = lambda record: None  # type: ignore[method-assign]


def _upload(run: Any) -> str:
    return f"wandb sync {path_from_here(Path(run.dir).parent)}"


def _with_limits(settings: wandb.Settings | None) -> wandb.Settings:
    limits = {
        "init_timeout": _SERVER_LIMIT,
        "finish_timeout": UPLOAD_LIMIT,  # W&B's own limit is none
        "finish_timeout_raises": True,
    }
    settings = settings or wandb.Settings()
    for name, value in limits.items():
        if name in wandb.Settings.model_fields and name not in settings.model_fields_set:
            setattr(settings, name, value)
    return settings


def _folders_of(folder: str, run_id: str) -> set[Path]:
    return set(Path(folder, "wandb").glob(f"*run-*-{run_id}*"))


def _find_folders(folder: Path) -> None:
    """Keep what W&B writes beside its runs in the folder of the run, where it cannot be written elsewhere."""
    for variable, place in _FOLDERS.items():
        if why := _why_not_writable(Path(place())):
            inside = Path(folder, "wandb", variable.removeprefix("WANDB_").removesuffix("_DIR").lower())
            os.environ[variable] = str(inside)
            _warn(f"W&B: {why}; {variable} is {path_from_here(inside)} instead")


def _why_not_writable(folder: Path) -> str:
    """Why no file can be made in a folder; empty if one can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror or error})"


def _warn(message: str) -> None:
    warnings.warn(message, CamtrainWarning, stacklevel=3)
