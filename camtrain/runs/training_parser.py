"""The parser of `camtrain fit`: no abbreviations, no key twice, and one line on what is wrong."""

from __future__ import annotations

import re
import sys
import traceback
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import isabstract
from pathlib import Path
from typing import Any, NoReturn, get_args

import yaml  # type: ignore[import-untyped, unused-ignore]
from jsonargparse import get_loader, set_loader
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.cli import LightningArgumentParser

from camtrain.files import check_unique_keys, check_yaml_size, path_from_here
from camtrain.messages import debugging, empty_word, parser_message
from camtrain.runs.training_help import TrainingHelp, all_options, describe_class, is_shortened, what_people_set

_SUBCOMMANDS = ("fit", "validate", "test", "predict")
_MODE = "omegaconf+"
_FILE: ContextVar[str | None] = ContextVar("file", default=None)


def _loaded(text: str) -> Any:
    """YAML as jsonargparse reads it, once it is known to be small and to have no key twice."""
    check_yaml_size(text)
    check_unique_keys(text)
    return get_loader("yaml")(text)


class TrainingParser(LightningArgumentParser):
    """Lightning's parser with OmegaConf's interpolations, whose errors are one line with the nearest names."""

    def __init__(self, *args: Any, **options: Any) -> None:
        set_loader(_MODE, _loaded, (yaml.YAMLError,))
        own = {"prog": "camtrain", "allow_abbrev": False, "parser_mode": _MODE, "formatter_class": TrainingHelp}
        super().__init__(*args, **{**own, **options})

    def format_help(self, *args: Any) -> str:
        """The help: of a subcommand what people set, of a class also what it does."""
        if not is_shortened(self):
            describe_class(self)
            return super().format_help(*args)
        with what_people_set(self):
            return super().format_help()

    def whole_help(self) -> str:
        """The help of a subcommand with all options."""
        with all_options(self):
            return super().format_help()

    def parse_args(self, *args: Any, **options: Any) -> Any:
        """Parse words; jsonargparse itself lets errors of values and of files pass."""
        words = args[0] if args else options.get("args")
        self.args = list(sys.argv[1:] if words is None else words)
        if empty := empty_word(self.args):
            self.error(empty)
        try:
            return super().parse_args(*args, **options)
        except (ValueError, OSError, OmegaConfBaseException, yaml.YAMLError, RecursionError) as error:
            self.error(str(error), error)

    def parse_path(self, path: Any, *args: Any, **options: Any) -> Any:
        """Read a configuration file; errors name it."""
        with _reading(str(path)):
            try:
                return super().parse_path(path, *args, **options)
            except UnicodeDecodeError as error:
                self.error(f"expected a configuration in YAML, got {_kind_of(Path(str(path)), error)}", error)
            except OSError as error:
                self.error(f"it cannot be read: {error.strerror or error}", error)

    def _load_config_parser_mode(self, content: str, *args: Any, **options: Any) -> Any:
        """Refuse what is no mapping without quoting all of it."""
        expected = "expected a configuration, a mapping such as `model: {...}`"
        where = 'Parser key "config": ' if _FILE.get() is None else ""
        if not content.strip():
            raise TypeError(f"{where}{expected}, got an empty {'file' if _FILE.get() else 'word'}")
        try:
            return super()._load_config_parser_mode(content, *args, **options)
        except TypeError as error:
            if not str(error).startswith("Unexpected config:"):
                raise
            kind = "a list" if isinstance(_loaded(content), list) else "text"
            raise TypeError(f"{where}{expected}, got {kind}") from error

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one line on what is wrong, and end with status 2."""
        if not self.exit_on_error:  # the parser of a class inside another one
            super().error(message, ex)
        if debugging() and ex is not None:
            traceback.print_exception(ex)
        parser: Any = getattr(ex, "subcommand_parser", None) or _parser_of_words(self)
        message = re.sub(rf"\b(?:{'|'.join(_SUBCOMMANDS)})\.(?=[a-z])", "", message)
        options = [option for action in parser._actions for option in action.option_strings]
        said = parser_message(message, options, parser.class_names, _FILE.get() or _files_with_the_key(parser, message))
        if said.endswith(", and not given") and not config_files(getattr(self, "args", ())):
            said += "; --config FILE is a configuration that has them"
        program = parser.prog.replace(" [options]", "")
        print(f"{program}: error: {said}", file=sys.stderr)
        print(f"`{program} --help` explains the options", file=sys.stderr)
        raise WrongArgumentsError(said) from ex

    def class_names(self, key: str) -> list[str]:
        """The names of the classes that a key can be, as far as they are imported."""
        action: Any = next((each for each in self._actions if each.dest == key), None)
        bases = list(_classes(getattr(action, "_typehint", None)))
        names = {each.__name__ for base in bases for each in _subclasses(base) if not isabstract(each)}
        return sorted(name for name in names if not name.startswith("_"))


def _parser_of_words(parser: TrainingParser) -> Any:
    """The parser of the subcommand that the words name; the parser above it checks the whole."""
    parsers = getattr(parser._subcommands_action, "_name_parser_map", {})
    return next((parsers[word] for word in getattr(parser, "args", ()) if word in parsers), parser)


def config_files(words: Sequence[str]) -> list[str]:
    """Paths given by `--config`; the parsed configuration does not always have them (not where it interpolates)."""
    finder = ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("-c", "--config", action="append", default=[])
    files: list[str] = finder.parse_known_args(list(words))[0].config
    return files


def _files_with_the_key(parser: Any, message: str) -> str | None:
    """The files that a key without a place can come from; one of the words would be an unknown option."""
    if not message.startswith(("Subcommand ", "Option ")):
        return None
    return ", ".join(config_files(getattr(parser, "args", ()))) or None


def _kind_of(path: Path, error: UnicodeDecodeError) -> str:
    """What a file is that is no text; a checkpoint that was taken for a configuration is likely."""
    if path.suffix != ".ckpt":
        return f"a file that is no UTF-8 text ({error.reason})"
    beside = path.absolute().parents[1] / "config.yaml"
    own = f"; the configuration of its run is {path_from_here(beside)}" if beside.is_file() else ""
    return f"a checkpoint, which `camtrain fit` takes as --ckpt_path{own}"


class WrongArgumentsError(SystemExit):
    """The end of a command whose arguments are wrong, with status 2, once that is said.

    Args:
        message: What was said.
    """

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Errors are of a file meanwhile."""
    token = _FILE.set(path)
    try:
        yield
    finally:
        _FILE.reset(token)


def _classes(annotation: Any) -> Iterator[type]:
    """The classes that a type names."""
    if isinstance(annotation, type) and not get_args(annotation):
        if annotation.__module__ != "builtins":
            yield annotation
        return
    members: tuple[Any, ...] = tuple(annotation) if isinstance(annotation, list) else get_args(annotation)
    for each in members:
        yield from _classes(each)


def _subclasses(kind: type) -> Iterator[type]:
    yield kind
    below: list[type] = type.__subclasses__(kind)
    for each in below:
        yield from _subclasses(each)
