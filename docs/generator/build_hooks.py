"""What a build does beside Sphinx: pages and pictures before it reads, links while it reads, `llms.txt` at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from camtrain.files import write_whole
from docs.generator.links import for_the_site, written_by_hand
from docs.generator.llms_txt import llms_txt
from docs.generator.pictures import write_pictures
from docs.generator.write_pages import generated_pages, write_pages


def before_reading(app: Any, config: Any) -> None:
    """Write the generated pages and their pictures."""
    write_pages(generated_pages())
    write_pictures()


def links_to_pages(app: Any, page: str, source: list[str]) -> None:
    """In a page that is written by hand, links to files of the repository lead to the pages that show them."""
    if page in written_by_hand():
        source[0] = for_the_site(source[0], f"docs/{page}.md", page)


def write_llms_txt(app: Any, error: Exception | None) -> None:
    """Write the list of pages for language models to the root of the site."""
    if error is None and app.builder.format == "html":
        write_whole(Path(app.outdir) / "llms.txt", llms_txt())
