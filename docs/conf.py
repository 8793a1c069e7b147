"""Sphinx's configuration: `make docs` builds the site."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
os.environ.setdefault("MPLBACKEND", "Agg")

from docs.generator.build_hooks import before_reading, links_to_pages, write_llms_txt  # noqa: E402
from docs.generator.figure_scraper import returned_figure  # noqa: E402

project = "camtrain"
author = "the authors of camtrain"

extensions = ["myst_parser", "sphinx_gallery.gen_gallery"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "misleads", "gallery", "generator", "**/sg_execution_times.rst", "sg_execution_times.rst"]
nitpicky = True

myst_heading_anchors = 3
suppress_warnings = ["config.cache"]

html_theme = "furo"
html_title = "camtrain"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",
    "nested_sections": True,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 0,
    # What a block ends with and nobody wants to read.
    "ignore_repr_types": r"torch\.nn|torchvision\.models|camtrain\.networks|matplotlib",
    # An example takes one core.
    "parallel": int(os.environ.get("CAMTRAIN_DOCS_JOBS", "2")),
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "plot_gallery": "True",
    "image_scrapers": ("matplotlib", returned_figure),
    "matplotlib_animations": False,
    "thumbnail_size": (320, 224),
    "show_signature": False,
}


def setup(app: object) -> None:
    """Generate pages before Sphinx reads them, rewrite links while it reads, and write `llms.txt` at the end."""
    app.connect("config-inited", before_reading, priority=100)
    app.connect("source-read", links_to_pages)
    app.connect("build-finished", write_llms_txt)
