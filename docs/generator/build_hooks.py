"""What a build does beside Sphinx: pages and pictures before it reads, `llms.txt` at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from camtrain.files import write_whole
from docs.generator.llms_txt import llms_txt
from docs.generator.pictures import write_pictures
from docs.generator.write_pages import generated_pages, write_pages


def before_reading(app: Any, config: Any) -> None:
    """Write the generated pages and their pictures."""
    write_pages(generated_pages())
    write_pictures()


def write_llms_txt(app: Any, error: Exception | None) -> None:
    """Write the list of pages for language models to the root of the site."""
    if error is None and app.builder.format == "html":
        write_whole(Path(app.outdir) / "llms.txt", llms_txt())
