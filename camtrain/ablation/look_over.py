"""What is wrong with the files of a study before its trials are run."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from camtrain.ablation.fitted import recorded
from camtrain.files import DamagedFileError, said_aside
from camtrain.messages import CamtrainWarning
from camtrain.study import Study, Trial


def look_over(study: Study, trials: Sequence[Trial] | None = None) -> None:
    """Say which files of a study are gone or damaged, and set the damaged ones aside; running the study mends them.

    Args:
        study: The study, written to disk.
        trials: The trials that are to be run; `None` is all.

    Warns:
        CamtrainWarning: Of each such file, and of each trial whose training may have been stopped.
    """
    warn_of_half_trained(study)
    for trial in study.trials if trials is None else trials:
        if study.row(trial) is not None:
            for lost in study.lost_files(trial):
                _warn(f"{lost}; the trial is scored again")
            continue
        try:
            recorded(study, trial)
        except DamagedFileError as error:
            _warn(f"{said_aside(error)}; the trial's training is taken up again")


def warn_of_half_trained(study: Study) -> None:
    """Say which trials an earlier version finished although their training may have been stopped.

    Args:
        study: The study.

    Warns:
        CamtrainWarning: Of all of them, in a line.
    """
    if names := study.half_trained():
        _warn(
            f"{', '.join(names)}: no scores of a test, so the training may have been stopped before its end; `camtrain "
            "ablate` with the words of the study takes it up again"
        )


def warn_of_unfinished(study: Study) -> None:
    """Say which trials are not finished, and so left out of tables and reports, where others are.

    Args:
        study: The study.

    Warns:
        CamtrainWarning: Of all of them, in a line.
    """
    finished = {row["trial"] for row in study.rows()}
    missing = [name for trial in study.trials if (name := study.folder_of(trial).name) not in finished]
    if finished and missing:
        _warn(
            f"left out for lack of a row.json: {', '.join(missing)} ({len(missing)} of {len(study.trials)} trials); "
            f"`camtrain ablate` with the words of the study runs them"
        )


def _warn(message: str) -> None:
    warnings.warn(message, CamtrainWarning, stacklevel=4)
