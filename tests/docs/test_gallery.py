"""The examples of the gallery run, and show something. One of each kind is fast; the site runs all of them, too."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
EXAMPLES = sorted(GALLERY.rglob("*.py"))
FAST = {"maps/targets.py", "training/engines.py", "scores/localization_by_hand.py"}
KINDS = {path.parent.name for path in GALLERY.glob("*/GALLERY_HEADER.rst")}


def name_of(path):
    return path.relative_to(GALLERY).as_posix()


@pytest.fixture
def drawn(monkeypatch):
    """The figures that a script leaves open, drawn without a screen."""
    random_state = torch.random.get_rng_state()
    backend = mpl.get_backend()
    plt.switch_backend("Agg")
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: None)
    yield plt.get_fignums
    plt.close("all")
    plt.switch_backend(backend)
    torch.random.set_rng_state(random_state)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[] if name_of(path) in FAST else [pytest.mark.slow]) for path in EXAMPLES],
    ids=name_of,
)
# What matplotlib shows are tensors, which numpy 2 reads with a warning of its own.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_an_example_runs_and_draws(path, drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path))
    returned = re.search(r"^\w+\.\w+_figure\(", path.read_text(encoding="utf-8"), re.MULTILINE)  # the site shows these
    assert drawn() or returned
    assert list(tmp_path.iterdir()) == []  # an example leaves no files


def test_one_example_of_each_kind_is_fast():
    assert {name.partition("/")[0] for name in FAST} == KINDS
    assert {name_of(path) for path in EXAMPLES} >= FAST
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_begins_with_a_heading_and_leads_to_pages(path):
    text = path.read_text(encoding="utf-8")
    title, line = text.splitlines()[1:3]
    assert re.fullmatch(r"=+", line)
    assert len(line) >= len(title)
    for target in re.findall(r":doc:`(?:[^`<]*<)?/([^`>]+)>?`", text):
        page = GALLERY.parent / f"{target}.md"
        example = GALLERY / f"{target.removeprefix('examples/')}.py"
        parts = target.split("/")
        is_generated = parts[0] in ("regularizers", "methods", "metrics", "experiments", "reference")
        assert page.is_file() or example.is_file() or is_generated, target
