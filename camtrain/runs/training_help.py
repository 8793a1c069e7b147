"""The help of `camtrain fit`: what people set, everything, and the options of one class with what it does."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import textwrap
from argparse import SUPPRESS, Action, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from docstring_parser import parse
from jsonargparse import DefaultHelpFormatter

_MOST_NAMES = 30
_BASES = {"LightningDataModule", "LRScheduler", "Optimizer", "Regularizer"}  # what is chosen derives from them
_HELP_OF_A_CLASS = re.compile(r"Help for --(\S+)\.help=([\w.]+)")
_WHAT = {
    "fit": "Train a classifier, and test it.",
    "validate": "Score a checkpoint on the validation images.",
    "test": "Score a checkpoint on the test images.",
    "predict": "Write the class probabilities of images.",
}

# In the order in which they are shown; a key that ends with a point stands for all below it.
_SECTIONS = {
    "files and seed": ("config", "print_config", "run.", "ckpt_path", "seed_everything"),
    "data": ("data",),
    "model": ("model.",),
    "trainer": (
        "trainer.max_epochs",
        "trainer.max_time",
        "trainer.accelerator",
        "trainer.devices",
        "trainer.precision",
        "trainer.accumulate_grad_batches",
        "trainer.gradient_clip_val",
        "trainer.check_val_every_n_epoch",
        "trainer.callbacks",
        "trainer.fast_dev_run",
    ),
    "what is scored and kept": (
        "cam_logger.num_images",
        "localization_scores.methods",
        "localization_scores.num_images",
        "faithfulness_scores.methods",
        "faithfulness_scores.num_images",
        "checkpoint.monitor",
        "checkpoint.mode",
    ),
    "help": ("help", "help_all", "debug"),
}
# Where Lightning's own words need its manual.
_WORDS = {
    "data": "The data module, which says what the images are.",
    "help": "Show what people set, and exit.",
    "help_all": "Show all options, and exit.",
    "trainer.max_epochs": "The number of epochs; -1 is no limit.",
    "trainer.max_time": "The longest time that the training may take, as DD:HH:MM:SS.",
    "trainer.accelerator": "What computes: auto, cpu, gpu, mps or tpu.",
    "trainer.devices": "The number of devices, or a list of their indices.",
    "trainer.precision": "The precision of the computation, such as 32-true, bf16-mixed or 16-mixed.",
    "trainer.accumulate_grad_batches": "The number of batches whose gradients make one step of the optimizer.",
    "trainer.gradient_clip_val": "The norm to which gradients are clipped.",
    "trainer.check_val_every_n_epoch": "The number of epochs from one validation to the next.",
    "trainer.callbacks": "Lightning's callbacks, or your own.",
    "trainer.fast_dev_run": "Try the whole way with this number of batches (true is one), and write nothing.",
    "checkpoint.monitor": "The logged score by which the best checkpoint is chosen.",
    "checkpoint.mode": "Whether the best checkpoint has the largest (max) or the smallest (min) score.",
    "ckpt_path": "The checkpoint to go on from, or to score.",
    "config": "A configuration file, whose keys are the options; several are merged.",
    "print_config": "Print the configuration that the words make, and exit.",
    "seed_everything": "The seed of weights, batches and transforms; true draws one.",
}
_METAVARS = {"data": "CLASS", "print_config": ""}
_REST = """
What a class does, and its options, which come below that of the class:
  {program} --data.help ImageFolderData
  {program} --model.regularizer.help EnergyInside
  {program} ... --data ImageFolderData --data.root photos

All options, the trainer's {count} included:
  {program} --help_all
"""


class TrainingHelp(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Help as jsonargparse writes it, with short lists of classes."""

    def _get_help_string(self, action: Action) -> str:
        text = super()._get_help_string(action)
        return re.sub(r", known subclasses: ([\w.]+(?:,\s+[\w.]+)*)", lambda found: _known(found[1]), text)

    def _format_action_invocation(self, action: Action) -> str:
        """Without the second name of a list, `--KEY+`, which appends to it, and in one line."""
        text = re.sub(r", --[\w.]+\+ \S+$", "", super()._format_action_invocation(action))
        return text if len(text) < self._width else f"{text.partition(' ')[0]} VALUE"


class ShortHelp(TrainingHelp):
    """Without types: what an option does, its default, and the classes that it can be."""

    def _get_help_string(self, action: Action) -> str:
        text = _WORDS.get(action.dest, action.help or "")
        known = re.search(r"; known: (.*)\)$", super()._get_help_string(action), flags=re.DOTALL)
        if action.dest.startswith("trainer."):  # what may be given as a class has a name, too
            known = None
        has_default = action.default not in (SUPPRESS, None, []) and "%(default)s" not in text
        default = " (default: %(default)s)" if has_default and known is None else ""
        return f"{text}{f' One of {known[1]}.' if known else ''}{default}"

    def _format_action_invocation(self, action: Action) -> str:
        if action.nargs == 0:
            return ", ".join(action.option_strings)
        names = [each for each in action.option_strings if not each.endswith("+")]
        return f"{', '.join(names)} {self._shown_value(action)}".rstrip()

    @staticmethod
    def _shown_value(action: Action) -> str:
        if action.choices is not None:
            return "{" + ",".join(map(str, action.choices)) + "}"
        if action.dest in _METAVARS:
            return _METAVARS[action.dest]
        return str(action.metavar or action.dest.rpartition(".")[2].upper())


def is_shortened(parser: Any) -> bool:
    """Whether the help of a parser is shortened: that of a subcommand, with all options of a trainer."""
    return any(action.dest == "trainer.max_epochs" for action in parser._actions)


@contextmanager
def all_options(parser: Any) -> Iterator[None]:
    """A context in which a subcommand's help has all options, and a usage without them.

    Args:
        parser: The parser of a subcommand.
    """
    program = parser.prog.replace(" [options]", "")
    description = _WHAT.get(program.rpartition(" ")[2], parser.description)
    with _changed(parser, usage=f"{program} --config CONFIG [--KEY VALUE ...]", description=description):
        yield


@contextmanager
def what_people_set(parser: Any) -> Iterator[None]:
    """A context in which a subcommand's help has the options that people set, and says how to see the others.

    Args:
        parser: The parser of a subcommand.
    """
    options = [action for action in parser._actions if "".join(action.option_strings).startswith("-")]
    actions = {_key(action): action for action in options if not action.dest.endswith(".help")}
    groups = [
        SimpleNamespace(title=title, description=None, _group_actions=_chosen(actions, keys))
        for title, keys in _SECTIONS.items()
    ]
    count = sum(dest.startswith("trainer.") for dest in actions)
    epilog = _REST.format(program=parser.prog.replace(" [options]", ""), count=count)
    with all_options(parser), _changed(parser, epilog=epilog, formatter_class=ShortHelp, _action_groups=groups):
        yield


@contextmanager
def _changed(parser: Any, **values: Any) -> Iterator[None]:
    """A context in which attributes of a parser have other values."""
    before = {name: getattr(parser, name) for name in values}
    try:
        for name, value in values.items():
            setattr(parser, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(parser, name, value)


def _key(action: Action) -> str:
    """The key of an option; what only prints and exits has none of its own."""
    return action.option_strings[-1].lstrip("-") if action.dest == SUPPRESS else action.dest


def _chosen(actions: dict[str, Action], keys: tuple[str, ...]) -> list[Action]:
    found: dict[str, Action] = {}
    for key in keys:
        below = [dest for dest in actions if key.endswith(".") and dest.startswith(key)] or [key]
        found |= {dest: actions[dest] for dest in below if dest in actions and actions[dest].help != SUPPRESS}
    return list(found.values())


def describe_class(parser: Any) -> None:
    """Let the help of a class say what its docstring says before the arguments, and how the class is given.

    Args:
        parser: The parser that jsonargparse makes for `--KEY.help CLASS`; any other is left as it is.
    """
    found = _HELP_OF_A_CLASS.fullmatch(parser.description or "")
    if found is None:
        return
    key, path = found.groups()
    module, _, name = path.rpartition(".")
    words = parse(inspect.getdoc(getattr(importlib.import_module(module), name)) or "")
    parser.usage = f"--{key} {name} [--{key}.OPTION VALUE ...]"
    paragraphs = [path, words.short_description or "", *(words.long_description or "").split("\n\n")]
    parser.description = "\n\n".join(_wrapped(each) for each in paragraphs if each)
    for group in parser._action_groups:
        if group.title == (words.short_description or "").rstrip("."):
            group.title = "options"


def _wrapped(paragraph: str) -> str:
    """A paragraph that fits the terminal; one that is indented, such as a formula or a list, stays."""
    if any(line.startswith((" ", "-")) for line in paragraph.splitlines()):
        return paragraph
    return textwrap.fill(paragraph, max(40, shutil.get_terminal_size().columns - 2))


def _known(paths: str) -> str:
    """The names of classes in parentheses behind a type, or their number."""
    names = list(dict.fromkeys(path.strip().rpartition(".")[2] for path in paths.split(",")))
    names = [name for name in names if name not in _BASES] or names
    return f"; {len(names)} known classes" if len(names) > _MOST_NAMES else f"; known: {', '.join(names)}"
