"""The public names of camtrain, and the page of the site that documents each of them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import camtrain
from docs.generator.families import Family, families

# Checks and sentences that the package itself uses. `camtrain` exports what users need of them.
_OWN_USE = {"messages"}


@dataclass(frozen=True)
class PublicName:
    """A name that users may import.

    Attributes:
        package: The package that exports it, such as `camtrain.cams`.
        name: The name.
        value: The object.
        page: The page of the site that documents it, such as `methods/grad_cam`.
        anchor: The target of links to it.
    """

    package: str
    name: str
    value: Any
    page: str
    anchor: str

    @property
    def kind(self) -> str:
        """`class`, `function` or `data`."""
        return kind_of(self.value)


def kind_of(value: object) -> str:
    """`class`, `function` or `data`."""
    if inspect.isclass(value):
        return "class"
    return "function" if inspect.isroutine(value) else "data"


def packages() -> dict[str, ModuleType]:
    """The packages that users import from, by dotted name; `camtrain` itself comes first."""
    names = [name for name in dir(camtrain) if name not in camtrain.__all__ and not name.startswith("_")]
    found = {f"camtrain.{name}": import_module(f"camtrain.{name}") for name in sorted(set(names) - _OWN_USE)}
    return {"camtrain": camtrain, **found}


def exported(module: ModuleType) -> list[str]:
    """The names that a package exports: its `__all__`, or what a module without one defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__, key=str.lower)
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return sorted((name for name in own if not name.startswith("_")), key=str.lower)


@cache
def public_names() -> tuple[PublicName, ...]:
    """All public names. A name that several packages export has one page and one anchor."""
    homes: dict[tuple[str, int], tuple[str, str]] = {}
    found = []
    for package, module in packages().items():
        for name in exported(module):
            value = getattr(module, name)
            page = _page(package, name, value)
            anchor = f"{kind_of(value)}-{package}-{name}".lower().replace(".", "-").replace("_", "-")
            home = homes.setdefault((name, id(value)), (page, anchor))
            found.append(PublicName(package, name, value, *home))
    return tuple(found)


def names_on(page: str) -> list[PublicName]:
    """The names that a page documents, each once."""
    found: dict[str, PublicName] = {}
    for each in public_names():
        if each.page == page:
            found.setdefault(each.anchor, each)  # `camtrain` comes first
    return list(found.values())


def _page(package: str, name: str, value: object) -> str:
    family = _families_by_module().get(getattr(value, "__module__", ""))
    if family is not None:
        return family.page
    return f"reference/{package}"


@cache
def _families_by_module() -> dict[str, Family]:
    return {family.module: family for family in families()}
