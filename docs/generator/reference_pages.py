"""The reference: a page for each package, with every public name that has no page of its own."""

from __future__ import annotations

import inspect

from docs.generator.docstrings import inline, parsed, prose
from docs.generator.links import link_from
from docs.generator.name_sections import name_section, summary_of
from docs.generator.public_names import names_on, packages, public_names
from experiments.readme_tables import markdown_table


def reference_page(package: str) -> str:
    """The page of a package: a table of its names, then the sections of those that are documented here.

    Args:
        package: The dotted name of the package.
    """
    page = f"reference/{package}"
    link = link_from(page)
    found = parsed(inspect.getdoc(packages()[package]) or "")
    names = [each for each in public_names() if each.package == package]
    rows = [[f"[`{each.name}`](#{each.anchor})", summary_of(each, link)] for each in names]
    parts = [
        f"# `{package}`",
        inline(found.summary, link),
        prose(found.body, link),
        markdown_table(["name", "in short"], rows),
        *(name_section(each, link) for each in names_on(page)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def reference_index() -> str:
    """The list of the packages."""
    rows = [
        [f"[`{name}`]({name}.md)", parsed(inspect.getdoc(module) or "").summary] for name, module in packages().items()
    ]
    pages = "\n".join(packages())
    text = (
        "Public names only: what a package exports. Everything else may change without notice. Regularizers, methods "
        "and metrics have pages of their own, to which the tables lead."
    )
    table = markdown_table(
        ["package", "in short"], [[name, inline(words, link_from("reference/index"))] for name, words in rows]
    )
    return f"# API reference\n\n{text}\n\n{table}\n\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"
