"""What jsonargparse says is wrong with an argument, as a line that a person reads."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable

from camtrain.messages.nearest_names import nearest_names, nearest_options
from camtrain.messages.one_line import one_line

_QUOTED = 120


def parser_message(
    message: str,
    options: Iterable[str] = (),
    classes: Callable[[str], Iterable[str]] = lambda key: (),
    file: str | None = None,
) -> str:
    r"""One line: the option, what was expected, what was given, and the names that may have been meant.

    Args:
        message: What the parser says.
        options: All options, with their dashes.
        classes: From a dotted key to the names of the classes that it can be.
        file: The configuration file that is being read; `None` where the argument comes from the command line.

    Example:
        >>> parser_message('Parser key "trainer.max_epochs":\n  Expected a <class \'int\'>. Got value: many')
        "--trainer.max_epochs: expected an integer, got 'many'"
        >>> parser_message('Parser key "mean" element 1: Expected a <class \'float\'>. Got value: gray')
        "--mean: expected a number, got 'gray'"
        >>> parser_message("unrecognized arguments: --sed 3", ["--seed"])
        "--sed: no such option; did you mean '--seed'?"
        >>> parser_message("unrecognized arguments: cat.jpg", ["--images"])
        'cat.jpg: expected an option, which begins with --, such as --images'
    """
    prefix = "--" if file is None else f"{file}: "
    message = re.sub(r'(Parser key "[\w.]+") element \d+:', r"\1:", message)  # of an option with several values
    keys = re.findall(r'Parser key "([\w.]+)":', message)
    found = (
        _unknown_words(message, options)
        or _unknown_key(message, options, prefix)
        or _missing(message, prefix)
        or _interpolation(message, prefix)
        or (_wrong_value(".".join(keys), message, classes, prefix) if keys else None)
    )
    if found is None and "Does not validate against any" in message:  # a class that cannot be made
        found = _without_types(message)
    if found is None:
        where = f"{file}: " if file else ""
        found = where + re.sub(r"^Problems parsing config:\s*", "", message.strip())
    return one_line(found)


def _unknown_words(message: str, options: Iterable[str]) -> str | None:
    """Words that are no options, or follow none."""
    found = re.fullmatch(r"unrecognized arguments:\s*(.*)", message.strip(), flags=re.DOTALL)
    if found is None:
        return None
    words = found[1].split()
    unknown = [word.partition("=")[0] for word in words if re.match(r"--?[A-Za-z_]", word)]
    known = list(options)
    if not unknown:
        # Pictures are what people put behind a command.
        hint = ", such as --images" if "--images" in known else ""
        return f"{words[0] if words else '(an empty word)'}: expected an option, which begins with --{hint}"
    return "; ".join(f"{each}: no such option{nearest_options(each, known)}" for each in dict.fromkeys(unknown))


def _unknown_key(message: str, options: Iterable[str], prefix: str) -> str | None:
    """A key of a configuration that the command does not know."""
    found = re.search(r"^(?:Subcommand '\w+' does not accept option|Option) '([^']*)'(?: is not accepted)?", message)
    if found is None:
        return None
    known = {option.lstrip("-") for option in options}
    parts = found[1].split(".")
    heads = [".".join(parts[: count + 1]) for count in range(len(parts))]
    sections = {key[: len(head)] for key in known for head in heads if f"{key}.".startswith(f"{head}.")}
    unknown = next((head for head in heads if head not in sections), found[1])
    return f"{prefix}{unknown}: no such key{nearest_options(unknown, sorted(known))}"


def _missing(message: str, prefix: str) -> str | None:
    """Options that must be given and are not."""
    found = re.fullmatch(r"the following arguments are required: (.*)", message.strip())
    if found:
        return f"{prefix}{found[1].replace(', ', f', {prefix}')}: expected, and not given"
    found = re.fullmatch(r"argument (--\S+): expected (?:one argument|at least one argument)", message.strip())
    if found:
        return f"{found[1]}: expected a value, and none is given"
    found = re.search(r'Key "(?:(?:fit|validate|test|predict)\.)?([\w.]+)" is required', message)
    return f"{prefix}{found[1]}: expected, and not given" if found else None


def _interpolation(message: str, prefix: str) -> str | None:
    """A `${...}` of a configuration that stands for nothing."""
    found = re.search(r"^(.*?)\s+full_key: (\S+)\s+object_type=", message, flags=re.DOTALL | re.MULTILINE)
    if found is None:
        return None
    reason = found[1].removeprefix("KeyError raised while resolving interpolation: ").strip('"')
    reason = re.sub("^Environment variable '(.*)' not found$", r"the environment variable \1 is not set", reason)
    reason = re.sub("^Interpolation key '(.*)' not found$", r"there is no key \1, which ${...} names", reason)
    return f"{prefix}{re.sub('^(?:fit|validate|test|predict)[.]', '', found[2])}: {reason}"


def _wrong_value(key: str, message: str, classes: Callable[[str], Iterable[str]], prefix: str) -> str:
    """A value that does not fit its key."""
    message = _innermost(message)
    if found := re.search(
        r"Invalid content in sub-config file (\S+): (.*?)\n\s*-? *Expected", message, flags=re.DOTALL
    ):
        return f"{prefix}{key}: {found[1]}: {found[2]}"
    owners = re.findall(r"(?:given class_path |class_path=)'([\w.]+)'", message)
    owner = owners[-1] if owners else ""
    name = owner.rpartition(".")[2]
    if found := re.search(r"Option '([^']*)' is not accepted", message):
        known = _parameters(owner)
        return f"{prefix}{key}.{found[1]}: {name} has no such option" + (
            f"; {nearest_names(found[1], known)}" if known else ""
        )
    if found := re.search(r"the following arguments are required: ([\w, ]+)", message):
        return f"{prefix}{key}: {name} needs {found[1]}, which is not given; set {key}.{found[1].split(',')[0]}"
    if found := re.search(r"Expected a dot import path string: (.*)", message):
        known = list(classes(key))
        if found[1].startswith(("{", "[")):
            return f"{prefix}{key}: expected a class, got {_short(found[1])}, which is no YAML or has a key twice"
        if names := _literals(message):
            near = nearest_names(found[1], names)
            return f"{prefix}{key}: expected {_either(names)}, or a class, got {_short(found[1])}" + (
                f"; {near}" if near.startswith("did you mean") else ""
            )
        return f"{prefix}{key}: no class is called {_short(found[1])}" + (
            f"; {nearest_names(found[1], known)}" if known else "; name one by its module, as in package.module.Class"
        )
    if found := re.search(r"Multiple subclasses with name (\w+)\. .*?: (.*)\.", message):
        return f"{prefix}{key}: several classes are called {found[1]}; give the module, too: {found[2]}"
    if found := re.search(r"Import path (\S* ?)does not correspond to a subclass of (\w+)", message):
        known, path = list(classes(key)), found[1].strip() or _given(message)
        near = f"; {nearest_names(path.rpartition('.')[2], known)}" if known else ""
        return f"{prefix}{key}: {path} is no {found[2]}{near}"
    if found := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        known = list(classes(key)) or dir(sys.modules.get(found[1]))
        return f"{prefix}{key}: {found[1]} has no class {found[2]!r}; {nearest_names(found[2], known)}"
    if found := re.search(r"No module named '([\w.]+)'", message):
        return f"{prefix}{key}: no module is called {found[1]!r}, which {_short(owner or _given(message))} needs"
    if names := _literals(message):
        near = nearest_names(_given(message), names)
        meant = f"; {near}" if near.startswith("did you mean") else ""
        return f"{prefix}{key}: expected {_either(names)}, got {_short(_given(message))}{meant}"
    expected = dict.fromkeys(re.findall(r"Expected an? (?:<class '([\w.]+)'>|(?=\w+ \w+))", message))
    kinds = [_KINDS.get(kind, kind.rpartition(".")[2]) for kind in expected if kind]
    if kinds and kinds != ["null"] and "Problem with given class_path" not in message.rpartition("Parser key")[2]:
        return f"{prefix}{key}: expected {_either(kinds)}, got {_short(_given(message))}"
    return f"{prefix}{key}: {_without_types(message)}"


def _literals(message: str) -> list[str]:
    """The words that a message expects; empty if it expects something else."""
    choices = re.findall(r"Expected a typing\.Literal\[(.*?)\](?:\. Got value|$)", message, flags=re.MULTILINE)
    return list(dict.fromkeys(name.strip("'\"") for choice in choices for name in choice.split(", ")))


_KINDS = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "NoneType": "null",
    "list": "a list",
    "dict": "a mapping",
}


def _innermost(message: str) -> str:
    """The part on the innermost key: the lines below it that are indented further."""
    lines = message.split("\n")
    starts = [index for index, line in enumerate(lines) if "Parser key " in line]
    first = lines[starts[-1]]
    if len(starts) == 1:
        return message
    indent = first.index("Parser key ")
    inner = [first]
    for line in lines[starts[-1] + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        inner.append(line)
    return "\n".join(inner)


def _given(message: str) -> str:
    """The value that a message quotes."""
    found = re.search(r"Given value: NestedArg\(key='[^']*', val=(.*)\)\s*$", message, flags=re.DOTALL)
    found = found or re.search(r"Given value: (.*)$", message, flags=re.DOTALL)
    found = found or re.search(r"Got value: (.*)", message)
    return found[1].strip().strip("'\"") if found else ""


def _without_types(message: str) -> str:
    """The reason alone, without the key, the types that were tried and the value."""
    text = re.sub(r"\s*Given value type: .*", "", message, flags=re.DOTALL)
    text = re.sub(r'Parser key "[\w.]+":|Does not validate against any of the Union subtypes|Errors:', "", text)
    text = re.sub(r"'utf-8' codec can't decode .*", "expected YAML, got a file that is no UTF-8 text", text)
    text = re.sub(r"Subtypes: .*|-? *Expected a <class '[\w.]+'>(?:\. Got value: .*)?", "", text)
    text = re.sub(r"- Expected a path but .* either not accessible or invalid", "", text)
    text = re.sub(r"Problem with given class_path '[\w.]*?(\w+)':", r"\1:", text)
    text = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", text)
    line = " ".join(text.split()).strip("- ")
    return f"{line[:1].lower()}{line[1:]}" if line[1:2].islower() else line


def _parameters(path: str) -> list[str]:
    """The names of a class's arguments, inherited ones included."""
    module, _, name = path.rpartition(".")
    kind = getattr(sys.modules.get(module), name, None)
    names: dict[str, None] = {}
    for each in getattr(kind, "__mro__", ()):
        if "__init__" not in vars(each):
            continue
        parameters = list(inspect.signature(each.__init__).parameters.values())[1:]
        variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        names |= dict.fromkeys(each.name for each in parameters if each.kind not in variable)
        if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
            break
    return list(names)


def _either(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)


def _short(value: str) -> str:
    return repr(value if len(value) <= _QUOTED else value[:_QUOTED] + "…")
