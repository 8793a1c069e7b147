"""Writes the pages that are generated, beside those that are written by hand.

    python -m docs.generator.write_pages

`docs/conf.py` does it at each build. A page that would not change is left alone, so that Sphinx does not read it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from camtrain.files import write_whole
from docs.generator.architecture_page import architecture_drawing, architecture_page
from docs.generator.benchmark_page import benchmark_page
from docs.generator.experiment_pages import experiment_page, experiments_index
from docs.generator.families import families
from docs.generator.family_pages import family_page, overview_page
from docs.generator.links import PAGES_OF_ROOT, ROOT, experiment_names, for_the_site
from docs.generator.public_names import packages
from docs.generator.reference_pages import reference_index, reference_page

DOCS = ROOT / "docs"
FOLDERS = ("regularizers", "methods", "metrics", "experiments", "reference", "pictures")


def generated_pages() -> dict[str, str]:
    """All generated texts, by their path in `docs`."""
    pages = {
        "benchmark.md": benchmark_page(),
        "architecture.md": architecture_page(),
        "pictures/architecture.svg": architecture_drawing(),
        "experiments/index.md": experiments_index(),
        "reference/index.md": reference_index(),
        "regularizers/index.md": overview_page("regularizers"),
        "methods/index.md": overview_page("methods"),
        "metrics/index.md": overview_page("metrics"),
    }
    pages |= {f"{family.page}.md": family_page(family) for family in families()}
    for file, page in PAGES_OF_ROOT.items():
        pages[f"{page}.md"] = for_the_site((ROOT / file).read_text(encoding="utf-8"), file, page)
    pages |= {f"experiments/{name}.md": experiment_page(name) for name in experiment_names()}
    pages |= {f"reference/{name}.md": reference_page(name) for name in packages()}
    return pages


def write_pages(pages: Mapping[str, str], docs: Path = DOCS) -> None:
    """Write what is new, and delete pages that are generated no more.

    Args:
        pages: The texts, by their path.
        docs: The folder.
    """
    for folder in FOLDERS:
        for old in (docs / folder).glob("*.md"):
            if f"{folder}/{old.name}" not in pages:
                old.unlink()
    for name, text in pages.items():
        path = docs / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)


if __name__ == "__main__":
    write_pages(generated_pages())
