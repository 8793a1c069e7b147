"""Entry point of the console script."""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import version
from pathlib import Path

from camtrain.cli.training_cli import TrainingCLI


def main(args: list[str] | None = None) -> None:
    """Run `camtrain <subcommand> ...`.

    Args:
        args: the words after `camtrain`; `None` takes them from the command line.
    """
    words = sys.argv[1:] if args is None else args
    if words == ["--version"]:
        print(f"camtrain {version('camtrain')}")
        return
    # A console script does not see the folder that it is called from; a class_path may name a module there.
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    # Lightning 2.6 calls what torch 2.14 deprecates; nothing that a user could act on.
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    TrainingCLI(args)
