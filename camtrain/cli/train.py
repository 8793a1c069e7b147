"""`camtrain fit | validate | test | predict`: Lightning's command line, and how it ends."""

from __future__ import annotations

import os
import sys

from camtrain.cli.console import warnings_as_lines
from camtrain.runs import TrainingCLI, TrainingStoppedError

_REMEDY = "; the same command with --run.resume true goes on from the last checkpoint"


def train(command: str, words: list[str] | None) -> int:
    """Run one of Lightning's subcommands.

    Args:
        command: The subcommand.
        words: The words after `camtrain`; `None` takes them from the command line.

    Returns:
        0, or 143 if SIGTERM stopped it, or 130 if Ctrl-C did.
    """
    try:
        with warnings_as_lines(command, str):
            TrainingCLI(words)
    except TrainingStoppedError as error:
        # The first of several processes says it for all.
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"camtrain {command}: {error}{_REMEDY if command == 'fit' else ''}", file=sys.stderr, flush=True)
        return error.status
    return 0
