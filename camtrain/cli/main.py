"""Entry point of the console script."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from camtrain.messages import nearest_names

_COMMANDS = {
    "fit": "train a classifier, and test it",
    "validate": "score a checkpoint on the validation images",
    "test": "score a checkpoint on the test images",
    "predict": "write the class probabilities of images",
    "explain": "show what a network looks at in photographs, as PNG",
    "evaluate": "score what it looks at, method by method, as tables",
    "ablate": "train a grid of settings with several seeds, and score each",
    "report": "say which of them is best, and what it costs, on one page",
}

# Those that are not Lightning's; each is `<name>_command` in the module of its name.
_OWN = ("explain", "evaluate", "ablate", "report")


def main(words: list[str] | None = None) -> None:
    """Run `camtrain <subcommand> ...`.

    Args:
        words: The words after `camtrain`; `None` takes them from the command line.

    Raises:
        SystemExit: With the status of the subcommand, if that is not 0.
    """
    args = words
    words = sys.argv[1:] if words is None else words
    if words == ["--version"]:
        print(f"camtrain {version('camtrain')}")
        return
    if words in (["--help"], ["-h"]):
        print(_help())
        return
    if not words:
        print(_help(), file=sys.stderr)
        raise SystemExit(2)
    # A console script does not see the folder that it is called from; a class_path may name a module there.
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    # Lightning 2.6 calls what torch 2.14 deprecates; nothing that a user could act on.
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    if words[0] in _OWN:
        # Each takes a second or more to import.
        command = getattr(import_module(f"camtrain.cli.{words[0]}"), f"{words[0]}_command")
        if status := command(words[1:]):
            raise SystemExit(status)
        return
    if not words[0].startswith("-") and words[0] not in _COMMANDS:
        print(f"camtrain: no subcommand is called {words[0]!r}; {nearest_names(words[0], _COMMANDS)}", file=sys.stderr)
        raise SystemExit(2)
    from camtrain.runs.training_cli import TrainingCLI  # Lightning and W&B take seconds

    TrainingCLI(args)


def _help() -> str:
    commands = "\n".join(f"  {name:10}{summary}" for name, summary in _COMMANDS.items())
    return (
        "usage: camtrain [-h] [--version] SUBCOMMAND ...\n\n"
        f"Train image classifiers that look at the right thing, and show that they do.\n\n{commands}\n\n"
        "camtrain SUBCOMMAND --help explains each."
    )
