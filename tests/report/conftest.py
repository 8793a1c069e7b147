"""Reports without their figures, which take seconds to draw."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from camtrain.report import write_report

EMPTY = '<svg xmlns="http://www.w3.org/2000/svg" height="1"><title>none</title></svg>'


@pytest.fixture(scope="session")
def without_figures() -> Callable[[], AbstractContextManager[None]]:
    """Makes a context in which reports have an empty picture in the place of each figure."""

    @contextmanager
    def context() -> Iterator[None]:
        module = sys.modules[write_report.__module__]  # its package has the function under the same name
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "write_figure", _write_empty)
            patch.setattr(module, "svg_of", lambda _figure, _name: EMPTY)
            yield

    return context


@pytest.fixture
def no_figures(without_figures) -> Iterator[None]:
    """The test is in such a context."""
    with without_figures():
        yield


def _write_empty(_figure: object, path: Path) -> list[Path]:
    png, svg = path.with_suffix(".png"), path.with_suffix(".svg")
    svg.parent.mkdir(exist_ok=True)
    svg.write_text(EMPTY, encoding="utf-8")
    return [png, svg]
