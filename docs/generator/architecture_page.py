"""The architecture as one drawing: the rows of tests/test_layers.py, with what is in each."""

from __future__ import annotations

import re
from html import escape
from importlib import import_module
import inspect

from tests.test_layers import ROWS

_WIDTH, _HEIGHT, _GAP = 900, 46, 8
_TEXT = """# Architecture

![The rows of the package](pictures/architecture.svg)

A row imports only rows below it, and modules of one row never import each other. A test walks all imports and fails on one that points up,
and the drawing is made from that test.

- A **library with a command line**: every command is one public function.
- **Maps are functions of activations and gradients**, not of a network. Capturing, differentiating and combining are separate, which is why a
  map can be trained through.
- **Metrics take numbers and maps**, never a network. `evaluate` makes the maps and runs the changed images.
- **A regularizer says what is penalized, an engine how its gradient reaches the parameters.** Any penalty on the input gradient works with
  any engine.
- **A network is left as found**: hooks, modes, gradients, running statistics and random generators, also after an error.

"""


def architecture_page() -> str:
    """The page; its drawing is `architecture_drawing`."""
    lines = []
    for row in ROWS:
        for name in sorted(row):
            lines.append(f"| `camtrain.{name}` | {_first_line(name)} |")
    return _TEXT + "| module | what it is |\n| --- | --- |\n" + "\n".join(lines) + "\n"


def architecture_drawing() -> str:
    """The rows as an SVG: from the commands at the top down to what everything stands on."""
    height = len(ROWS) * (_HEIGHT + _GAP) + _GAP
    shapes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="15">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    for index, row in enumerate(ROWS):
        top = _GAP + index * (_HEIGHT + _GAP)
        names = sorted(row)
        width = (_WIDTH - _GAP * (len(names) + 1)) / len(names)
        for place, name in enumerate(names):
            left = _GAP + place * (width + _GAP)
            shade = 97 - 3 * index if index < 8 else 76 + 2 * (index - 8)
            shapes.append(
                f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{_HEIGHT}" rx="6" '
                f'fill="hsl(210, 55%, {shade}%)" stroke="#456"/>'
                f'<text x="{left + width / 2:.0f}" y="{top + _HEIGHT / 2 + 5:.0f}" text-anchor="middle" fill="#123">{escape(name)}</text>'
            )
    return "\n".join([*shapes, "</svg>"]) + "\n"


def _first_line(name: str) -> str:
    text = inspect.getdoc(import_module(f"camtrain.{name}")) or ""
    return re.sub(r"([|_*])", r"\\\1", " ".join(text.partition("\n\n")[0].split()).replace("`", ""))


