"""Where a link leads: from a piece of code to what it names, from a file of the repository to its page."""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path

from docs.generator.docstrings import Link
from docs.generator.families import families
from docs.generator.public_names import packages, public_names

ROOT = Path(__file__).parents[2]
# Files of the repository that are pages as they are.
PAGES_OF_ROOT = {"SECURITY.md": "security", ".github/CONTRIBUTING.md": "contributing"}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


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
    """The page that shows a file or folder of the repository, by its path."""
    pages = {name.replace(".", "/"): f"reference/{name}.md" for name in packages() if name != "camtrain"}
    pages |= {
        "camtrain/regularizers": "regularizers/index.md",
        "camtrain/regularizers/__init__.py": "reference/camtrain.regularizers.md",
        "camtrain/methods.py": "methods/index.md",
        "camtrain/metrics/README.md": "metrics/index.md",
        "experiments": "experiments/index.md",
        "experiments/README.md": "experiments/index.md",
        "docs/gallery": "examples/index.rst",
    }
    pages |= {f"{family.module.replace('.', '/')}.py": f"{family.page}.md" for family in families()}
    for name in experiment_names():
        pages[f"experiments/{name}"] = pages[f"experiments/{name}/README.md"] = f"experiments/{name}.md"
    pages |= {file: f"{page}.md" for file, page in PAGES_OF_ROOT.items()}
    pages |= {f"docs/{page}.md": f"{page}.md" for page in written_by_hand()}
    gallery = ROOT / "docs" / "gallery"
    names = [path.relative_to(gallery).with_suffix("").as_posix() for path in gallery.rglob("*.py")]
    return pages | {f"docs/gallery/{name}.py": f"examples/{name}.rst" for name in names}


@cache
def written_by_hand() -> tuple[str, ...]:
    """The pages of `docs` that are files of the repository."""
    docs = ROOT / "docs"
    generated = {"architecture", "benchmark", *PAGES_OF_ROOT.values()}
    found = [
        path.relative_to(docs).with_suffix("").as_posix() for path in (*docs.glob("*.md"), *docs.glob("how_to/*.md"))
    ]
    return tuple(sorted(set(found) - generated))


@cache
def experiment_names() -> tuple[str, ...]:
    """The folders of the experiments."""
    return tuple(sorted(path.parent.name for path in (ROOT / "experiments").glob("*/README.md")))


def for_the_site(text: str, file: str, page: str) -> str:
    """A Markdown file of the repository as a page: links lead to pages, pictures to their files.

    A link to a file without a page leads to the public name that the words are, or becomes the path of the file. What
    is between fences stays as it is.

    Args:
        text: The text.
        file: The file that it comes from, relative to the repository.
        page: The page that shows it.
    """
    folder = posixpath.dirname(page) or "."

    def replaced(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        if re.match(r"https?://|#", target):
            return match[0]
        target, mark, fragment = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
        if picture:
            return f"![{words}]({posixpath.relpath(f'../{path}', folder)})"
        if path in pages_of_files():
            return f"[{words}]({posixpath.relpath(pages_of_files()[path], folder)}{mark}{fragment})"
        if words.startswith("`") and (name := _targets().get(words.strip("`"))):
            return f"[{words}](#{name[1]})"
        return f"{words} (`{path}`)" if words.strip("`") not in path else f"`{path}`"

    def shown(part: str) -> str:
        return _LINK.sub(replaced, re.sub(r"<!-- .*? -->\n?", "", part))

    return "".join(part if part.startswith("```") else shown(part) for part in _FENCED.split(text))
