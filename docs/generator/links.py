"""Where a link leads: from a piece of code to what it names, from a file of the repository to its page."""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path

from docs.generator.docstrings import Link
from docs.generator.families import families
from docs.generator.public_names import public_names

ROOT = Path(__file__).parents[2]
# Files of the repository that are pages as they are.
PAGES_OF_ROOT = {"SECURITY.md": "security", ".github/CONTRIBUTING.md": "contributing"}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def link_from(page: str) -> Link:
    """The links of a page to all public names that it does not document itself.

    Args:
        page: The page, such as `methods/grad_cam`.
    """

    def target(code: str) -> str | None:
        found = _targets().get(code.partition("(")[0])
        return f"#{found[1]}" if found is not None and found[0] != page else None

    return target


def no_link(code: str) -> str | None:
    """For texts without links."""
    return None


@cache
def _targets() -> dict[str, tuple[str, str]]:
    """Page and anchor by what is written in docstrings: `GradCAM`, or `camtrain.cams.grad_cam`.

    A name in lower case alone may be an argument; a name that means two things leads nowhere.
    """
    found: dict[str, set[tuple[str, str]]] = {}
    for each in public_names():
        target = (each.page, each.anchor)
        module = getattr(each.value, "__module__", None) or each.package
        written = {f"{each.package}.{each.name}", f"{module}.{each.name}"}
        if each.kind != "data" and (
            each.name[0].isupper() or each.name.startswith(("evaluate", "load_", "image_maps"))
        ):
            written.add(each.name)
        for code in written:
            found.setdefault(code, set()).add(target)
    return {code: targets.pop() for code, targets in found.items() if len(targets) == 1}


@cache
def pages_of_files() -> dict[str, str]:
    """The page that shows a file of the repository, by the path of the file."""
    pages = {f"{family.module.replace('.', '/')}.py": family.page for family in families()}
    pages |= {f"experiments/{name}/README.md": f"experiments/{name}" for name in experiment_names()}
    pages |= {f"experiments/{name}": f"experiments/{name}" for name in experiment_names()}
    pages |= PAGES_OF_ROOT
    how_to = (ROOT / "docs" / "how_to").glob("*.md")
    pages |= {f"docs/how_to/{path.name}": f"how_to/{path.stem}" for path in how_to}
    pages["experiments/README.md"] = pages["experiments"] = "experiments/index"
    pages["camtrain/metrics/README.md"] = "metrics/index"
    return pages


@cache
def experiment_names() -> tuple[str, ...]:
    """The folders of the experiments."""
    return tuple(sorted(path.parent.name for path in (ROOT / "experiments").glob("*/README.md")))


def for_the_site(text: str, file: str, page: str) -> str:
    """A Markdown file of the repository as a page: links lead to pages, pictures to their files.

    A link to a file that has no page becomes the path of that file.

    Args:
        text: The text.
        file: The file that it comes from, relative to the repository.
        page: The page that shows it.
    """

    def replaced(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        if re.match(r"https?://|#", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target.partition("#")[0]))
        folder = posixpath.dirname(page)
        if picture:
            return f"![{words}]({posixpath.relpath(f'../{path}', folder or '.')})"
        found = pages_of_files().get(path)
        if found is not None:
            return f"[{words}]({posixpath.relpath(f'{found}.md', folder or '.')})"
        return f"{words} (`{path}`)" if words.strip("`") not in path else f"`{path}`"

    return _LINK.sub(replaced, re.sub(r"<!-- .*? -->\n?", "", text))
