"""What the site says about a public name: its call, its docstring, and the methods of a class."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from docs.generator.docstrings import Link, docstring_of, escaped, inline, parsed, prose, section, title_of
from docs.generator.public_names import PublicName
from docs.generator.signatures import signature

# What a class inherits a meaning for, and what Lightning or torch call by themselves.
_CALLED_BY_OTHERS = ("on_", "setup", "teardown", "state_dict", "load_state_dict", "forward", "update", "compute")


def name_section(public: PublicName, link: Link, level: int = 2) -> str:
    """The section of a name, with its anchor.

    Args:
        public: The name.
        link: Finds the targets of links.
        level: The level of its heading.
    """
    found = docstring_of(public.value)
    call = signature(public.name, public.value)
    kind = {"class": "class ", "function": "", "data": ""}[public.kind]
    parts = [
        f"({public.anchor})=",
        f"{'#' * level} `{public.name}`",
        f"```python\n{kind}{call if public.kind != 'data' else public.name}\n```",
    ]
    if public.kind == "data":
        parts.append(_data(public))
    else:
        parts.append(inline(found.summary, link))
        if found.body:
            parts.append(prose(found.body, link))
    for heading, text in found.sections.items():
        parts.append(f"**{title_of(heading)}**\n\n{section(heading, text, link)}")
    if public.kind == "class":
        parts.extend(_members(public.value, link))
    parts.append(f"<small>`from {public.package} import {public.name}`</small>")
    return "\n\n".join(part for part in parts if part)


def summary_of(public: PublicName, link: Link) -> str:
    """One line about a name.

    Args:
        public: The name.
        link: Finds the targets of links.
    """
    if isinstance(public.value, dict):
        return f"A dictionary of {len(public.value)}, by name."
    return inline(docstring_of(public.value).summary, link) if public.kind != "data" else _data(public)


def _members(value: type, link: Link) -> Iterator[str]:
    """Public methods and properties that the class defines itself and describes."""
    lines = []
    for name, member in vars(value).items():
        if name.startswith(("_", *_CALLED_BY_OTHERS)):
            continue
        plain = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        if isinstance(plain, property):
            text, shown = inspect.getdoc(plain.fget), f".{name}"
        elif inspect.isfunction(plain):
            text, shown = inspect.getdoc(plain), signature(f".{name}", plain)
        else:
            continue
        if text and not text.startswith("See "):
            shown = " ".join(shown.split()).replace("( ", "(").replace(", )", ")")
            lines.append(f"- **`{shown}`**: {inline(parsed(text).summary, link)}")
    if lines:
        yield "**Methods and properties**\n\n" + "\n".join(lines)


def _data(public: PublicName) -> str:
    if isinstance(public.value, dict):
        return "A dictionary by name: " + ", ".join(f"`{key}`" for key in public.value) + "."
    text = repr(public.value).replace("typing.", "")
    text = text.replace("torch._tensor.", "").replace("camtrain.", "")
    return f"`{text}`" if len(text) < 200 else escaped(text[:200]) + " …"
