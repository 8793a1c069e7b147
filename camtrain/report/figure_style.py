"""The style of a report's figures: readable on light and dark pages, and without seeing colors."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
from markupsafe import escape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from camtrain.files import whole_file, write_whole

# The palette of Okabe and Ito without black and yellow, which vanish on dark and on light paper. Lines also differ in
# marker and dashes, so that no line is told apart by its color alone.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)))
# Stands for the color of the page's text, which is unknown here. In PNG it is almost black.
_INK = "#010203"

_LETTER, _LINE = 0.075, 0.18  # width of a letter and height of a line in a legend, in inches
_HANDLE = 8  # letters that a line or mark takes in a legend

_SETTINGS: Any = {
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#888888",
    "grid.alpha": 0.35,
    "font.size": 9,
    "text.parse_math": False,  # dollar signs in a value of the grid are no mathematics
    "svg.fonttype": "none",  # text stays text, which can be read aloud, found and copied
}


@contextmanager
def report_style() -> Iterator[None]:
    """A context in which figures are made and written in this style."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def line_style(number: int) -> dict[str, Any]:
    """Color, marker and dashes of the line with this number; the first thirty lines all differ."""
    return {
        "color": _COLORS[number % len(_COLORS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _DASHES[number // len(_COLORS) % len(_DASHES)],
        "markersize": 5,
    }


def legend_below(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend below the panels, with as many columns as fit; a label that is too long goes on in a second line.

    Args:
        figure: The figure.
        handles: The line or mark of each label.
        labels: The labels.
    """
    letters = int(figure.get_figwidth() / _LETTER)
    shown = [fill(label, max(16, letters - _HANDLE)) for label in labels]
    longest = max(len(line) for label in shown for line in label.split("\n")) + _HANDLE
    columns = max(1, min(4, len(labels), letters // longest))
    lines = sum(label.count("\n") + 1 for label in shown) / columns
    figure.set_figheight(figure.get_figheight() + max(0.0, lines - 2) * _LINE)
    # Of a mark with bars the mark alone: in a legend, the bars would hide its shape.
    marks = [handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle for handle in handles]
    figure.legend(marks, shown, loc="outside lower center", ncols=columns)


def _laid_out(figure: Figure) -> None:
    """Find the places of all panels once; a figure with a layout would be drawn twice in each format."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def svg_of(figure: Figure, name: str) -> str:
    """A figure as SVG in the color of the text around it.

    Args:
        figure: A figure made in `report_style`.
        name: Its name, unlike that of any other figure of the page, so that their ids differ too.
    """
    _laid_out(figure)
    FigureCanvasSVG(figure)
    text = io.StringIO()
    # The salt makes the ids of an SVG reproducible, and different from those of the other figures of a page.
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return re.sub(r"<[^>]*>", lambda tag: tag[0].replace(_INK, "currentColor"), text.getvalue())


def write_figure(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as `<path>.png` on white, and as `<path>.svg` in the color of the text around it.

    Args:
        figure: A figure made in `report_style`.
        path: The path without a suffix. Its folder is created.

    Returns:
        Both paths, the PNG first.
    """
    png, svg = path.with_suffix(".png"), path.with_suffix(".svg")
    _laid_out(figure)
    FigureCanvasAgg(figure)
    with matplotlib.rc_context({"savefig.facecolor": "white"}), whole_file(png) as unfinished:
        figure.savefig(unfinished, dpi=150)
    write_whole(svg, svg_of(figure, path.name))
    return [png, svg]


def inline_svg(text: str, name: str, title: str) -> str:
    """An SVG as an element of a page, as wide as the page and with a title for screen readers.

    Args:
        text: The SVG.
        name: Its name, unlike that of any other figure of the page.
        title: What the figure shows.
    """
    element = text[text.index("<svg") :]
    # An id is unique within a file; on a page with several files it needs a prefix.
    # Only in tags: text may say the same.
    element = re.sub(r"<[^>]*>", lambda tag: _with_prefix(tag[0], name), element)
    head, rest = element.split(">", 1)
    head = re.sub(r' height="[^"]+"', "", head, count=1)
    named = f'role="img" aria-label="{escape(title)}"'
    return f"{head} {named}>{rest}"


def _with_prefix(tag: str, prefix: str) -> str:
    """A tag with a prefix before the ids that it has and names."""
    tag = re.sub(r' id="([^"]+)"', rf' id="{prefix}-\1"', tag)
    return re.sub(r'(href="#|url\(#)', rf"\1{prefix}-", tag)
