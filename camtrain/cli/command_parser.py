"""The parser of a command: its options are the parameters of the functions that it calls."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, get_args, get_origin

from docstring_parser import parse
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from camtrain.messages import DEBUG_HELP, debugging, empty_word, parser_message

# Options that were called otherwise in earlier versions.
_FORMER = {
    "--limit": "--num_images",
    "--steps": "--num_steps",
    "--stages": "--num_stages",
    "--resamples": "--num_resamples",
    "--channels": "--num_channels",
    "--panels": "--num_panel_maps",
    "--gallery": "--num_gallery_images",
}


class _Help(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Defaults and types as jsonargparse shows them, and examples as they are written."""


class CommandParser(ArgumentParser):
    """A parser whose options are parameters of functions, with their types, defaults and docstrings.

    Options are called as the parameters are, `--max_batch`; `--max-batch` is the same.

    Args:
        command: The subcommand.
        description: What it does.
        examples: What is printed below the options.
    """

    def __init__(self, command: str = "", description: str = "", examples: str = "", **options: Any) -> None:
        if command:
            options |= {"prog": f"camtrain {command}", "description": description, "epilog": examples}
            options |= {"formatter_class": _Help, "allow_abbrev": False}
        super().__init__(**options)
        if command:
            self.add_argument("--debug", action="store_true", help=DEBUG_HELP)
        self._options: dict[tuple[str, str], str] = {}

    def add_parameters(
        self, group: str, function: Callable[..., Any], names: Iterable[str | tuple[str, str]], **changes: Any
    ) -> None:
        """Add parameters of a function as options.

        Args:
            group: The title of the options.
            function: Its signature gives types and defaults, its docstring the help. For a class it is the constructor.
            names: The parameters; of a pair, the parameter and its option.
            changes: Further keywords of `add_argument`, by the name of the parameter.
        """
        signature = inspect.signature(function, eval_str=True)
        described = {each.arg_name: each.description or "" for each in parse(function.__doc__ or "").params}
        titled = next((each for each in self._action_groups if each.title == group), None)
        add = titled or self.add_argument_group(group)
        for each in names:
            name, option = each if isinstance(each, tuple) else (each, f"--{each}")
            parameter = signature.parameters[name]
            keywords = {"help": " ".join(described[name].split()), **_kind(parameter), **changes.get(name, {})}
            if "default" in keywords:
                keywords.pop("required", None)
            add.add_argument(option, **keywords)
            self._options[function.__name__, name] = option

    def arguments(self, typed: Namespace, function: Callable[..., Any], **constants: Any) -> dict[str, Any]:
        """What was typed, as keyword arguments of a function.

        Args:
            typed: The parsed words.
            function: One whose parameters were added.
            constants: Further keyword arguments.
        """
        found = {
            name: getattr(typed, option.lstrip("-"))
            for (owner, name), option in self._options.items()
            if owner == function.__name__
        }
        return found | constants

    def parsed(self, words: Sequence[str]) -> Namespace:
        """Parse the words of the command, with `-` for `_` and former names of options.

        Raises:
            SystemExit: With status 2 if an option is wrong, with 0 after the help.
        """
        present = [_present_word(word) for word in words]
        if empty := empty_word(present):
            self.error(empty)
        return self.parse_args(present)

    def in_words(self, message: str) -> str:
        """A message of a function with options in the place of its parameters.

        Example:
            >>> from camtrain.files import write_whole
            >>> parser = CommandParser("score")
            >>> parser.add_parameters("options", write_whole, [("path", "--out")])
            >>> parser.in_words("`path`: out is not empty; choose another `path`, or leave out `fresh`")
            '--out: out is not empty; choose another --out, or leave out `fresh`'
        """
        options = {name: option for (_, name), option in self._options.items()}
        return re.sub(r"`(\w+)`", lambda found: options.get(found[1], found[0]), message)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one line on what is wrong, and end with status 2; with `--debug` below the traceback."""
        ex = ex or sys.exception()  # type: ignore[assignment]
        if debugging() and ex is not None:
            traceback.print_exception(ex)
        said = parser_message(
            self.in_words(message), [option for each in self._actions for option in each.option_strings]
        )
        print(f"{self.prog}: error: {said}", file=sys.stderr)
        print(f"`{self.prog} --help` explains all options", file=sys.stderr)
        raise SystemExit(2) from ex


def _kind(parameter: inspect.Parameter) -> dict[str, Any]:
    """How a parameter is typed on the command line."""
    annotation, default = parameter.annotation, parameter.default
    if isinstance(default, bool):
        return {"action": "store_true"}
    required = {"required": True} if default is inspect.Parameter.empty else {"default": default}
    members = [each for each in get_args(annotation) if each is not type(None)]
    if any(get_origin(each) is not None and get_args(each) == (float,) for each in members):
        return {"nargs": "+", "type": float, "metavar": "NUMBER", **required}  # mean and std
    if str in members or annotation is str:
        return {"type": str, **required}  # lists are separated by commas, paths are words
    return {"type": annotation, **required}


def _present_word(word: str) -> str:
    if not word.startswith("--"):
        return word
    option, equals, value = word.partition("=")
    option = _FORMER.get(option, option)
    return "--" + option[2:].replace("-", "_") + equals + value
