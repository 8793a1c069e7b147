"""The architecture as one drawing: the rows of tests/test_layers.py, with what is in each."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from html import escape
from importlib import import_module

from docs.generator.links import ROOT

_WIDTH, _HEIGHT, _GAP = 900, 46, 8
_TEXT = """# Architecture

![The rows of the package](pictures/architecture.svg)

A row imports only rows below it, and modules of one row never import each other. A test walks all imports and fails
on one that points up, and the drawing is made from that test.

- A **library with a command line**: every command is one public function.
- **Maps are functions of activations and gradients**, not of a network. Capturing, differentiating and combining are
  separate, which is why a map can be trained through.
- **Metrics take numbers and maps**, never a network. `evaluate` makes the maps and runs the changed images.
- **A regularizer says what is penalized, an engine how its gradient reaches the parameters.** Any penalty on the
  input gradient works with any engine.
- **A network is left as found**: hooks, modes, gradients, running statistics and random generators, also after an
  error.

"""


@cache
def rows() -> list[set[str]]:
    """The rows of the package from the top down, as tests/test_layers.py checks them."""
    for node in ast.parse((ROOT / "tests" / "test_layers.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROWS":
            found: list[set[str]] = ast.literal_eval(node.value)
            return found
    raise ValueError("tests/test_layers.py: expected a list ROWS")


def architecture_page() -> str:
    """The page; its drawing is `architecture_drawing`."""
    lines = [f"| `camtrain.{name}` | {_first_line(name)} |" for row in rows() for name in sorted(row)]
    return _TEXT + "| module | what it is |\n| --- | --- |\n" + "\n".join(lines) + "\n"


def architecture_drawing() -> str:
    """The rows as an SVG: from the commands at the top down to what everything stands on."""
    height = len(rows()) * (_HEIGHT + _GAP) + _GAP
    view = f'viewBox="0 0 {_WIDTH} {height}"'
    shapes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {view} font-family="sans-serif" font-size="15">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    for index, row in enumerate(rows()):
        top = _GAP + index * (_HEIGHT + _GAP)
        width = (_WIDTH - _GAP * (len(row) + 1)) / len(row)
        for place, name in enumerate(sorted(row)):
            shapes.append(_box(name, _GAP + place * (width + _GAP), top, width))
    return "\n".join([*shapes, "</svg>"]) + "\n"


def _box(name: str, left: float, top: int, width: float) -> str:
    """A module as a box with its name."""
    middle = f'x="{left + width / 2:.0f}" y="{top + _HEIGHT / 2 + 5:.0f}"'
    return (
        f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{_HEIGHT}" rx="6" '
        f'fill="hsl(210, 55%, 92%)" stroke="#456"/>'
        f'<text {middle} text-anchor="middle" fill="#123">{escape(name)}</text>'
    )


def _first_line(name: str) -> str:
    text = inspect.getdoc(import_module(f"camtrain.{name}")) or ""
    return re.sub(r"([|_*])", r"\\\1", " ".join(text.partition("\n\n")[0].split()).replace("`", ""))
