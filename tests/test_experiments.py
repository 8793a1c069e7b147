"""Experiments run as their READMEs say, show the tables of their results, and stand on public names."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:  # `experiments` is no installed package
    sys.path.insert(0, str(ROOT))
COMMAND = re.compile(r"python3? (-m experiments[\w.]*|\S*\.py)")
TEXTS = [path for kind in ("*.md", "*.sh", "*.py") for path in sorted((ROOT / "experiments").rglob(kind))]
FOLDERS = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/README.md"))
INDEX = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
# Modules that make the generated texts of the READMEs, by folder.
WRITERS = {
    "attention_pets": ["table"],
    "cam_cost": ["cam_cost"],
    "decoy": ["table"],
    "default_optimizer": ["study"],
    "engine_agreement": ["engine_agreement"],
    "engine_equivalence": ["engine_equivalence"],
    "exactness": ["exactness"],
    "first_light": [],
    "interpretable_gradient": ["table"],
    "lambda_cifar100": ["table", "statistics_of_norm"],
    "league": ["table"],
    "map_faithfulness": ["table"],
    "metric_cost": ["table"],
    "multi_label": ["table"],
    "quickstart": ["table"],
    "regularizer_cost": ["regularizer_cost"],
    "reliability": ["table"],
    "step_cost": ["step_cost"],
    "throughput": ["throughput"],
}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_name_what_is_there(path):
    for command in COMMAND.findall(path.read_text(encoding="utf-8")):
        # A script in a folder would not find `experiments` itself, which is no installed package.
        assert command.startswith("-m "), f"python {command}"
        assert (ROOT / command.removeprefix("-m ").replace(".", "/")).with_suffix(".py").is_file(), command


def test_there_are_commands():
    assert sum(len(COMMAND.findall(path.read_text(encoding="utf-8"))) for path in TEXTS) > 20


def forbidden_imports(source):
    """Names that no experiment may import: private ones, and those of the command line."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    names = [name for name in names if not name.startswith("__future__.")]
    return [name for name in names if f"{name}.".startswith("camtrain.cli.") or re.search(r"(^|\.)_", name)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from camtrain.cli.explainer import Explainer", ["camtrain.cli.explainer.Explainer"]),
        ("from camtrain import cli", ["camtrain.cli"]),
        ("def f():\n    import camtrain.cli as c", ["camtrain.cli"]),
        ("from camtrain.cams.grad_cam import _weights, grad_cam", ["camtrain.cams.grad_cam._weights"]),
        ("from camtrain._hidden import x", ["camtrain._hidden.x"]),
        ("from experiments.exactness.reference import _cosine", ["experiments.exactness.reference._cosine"]),
        ("from __future__ import annotations\nfrom camtrain.cams import CAM\nimport camtrain.client", []),
    ],
)
def test_forbidden_imports_are_found(source, found):
    assert forbidden_imports(source) == found


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path in TEXTS if path.suffix == ".py"])
def test_experiments_stand_on_public_names(path):
    assert forbidden_imports((ROOT / path).read_text(encoding="utf-8")) == []


def test_every_folder_is_in_the_index():
    inside = [path.relative_to(ROOT / "experiments").parts for path in TEXTS]
    assert {parts[0] for parts in inside if len(parts) > 1} == set(FOLDERS)
    rows = re.findall(r"^\| (.+\?) \| (.+) \| (\d{4}-\d\d-\d\d) \| \[(\w+)\]\((\w+)/\) \|$", INDEX, re.MULTILINE)
    assert sorted(folder for *_, folder in rows) == FOLDERS
    assert all(name == folder and answer.endswith(".") for _, answer, _, name, folder in rows)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_readme_has_question_command_and_answer(folder):
    text = (ROOT / "experiments" / folder / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Question", "Command", "Answer"]


def generated_texts(folder):
    """What the scripts of an experiment make of its committed results, by marker."""
    if not WRITERS[folder]:
        return importlib.import_module("experiments.results_table").readme_texts(ROOT / "experiments" / folder)
    texts = {}
    for module in WRITERS[folder]:
        texts |= importlib.import_module(f"experiments.{folder}.{module}").readme_texts()
    return texts


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_tables_of_a_readme_are_those_of_its_results(folder):
    readme = (ROOT / "experiments" / folder / "README.md").read_text(encoding="utf-8")
    markers = re.findall(r"<!-- (.+) -->\n", readme)
    texts = generated_texts(folder) if folder in WRITERS else {}
    assert sorted(name for name in markers if name != "end") == sorted(texts)
    for name, text in texts.items():
        assert f"<!-- {name} -->\n{text}\n<!-- end -->" in readme, name


def test_the_tables_of_the_project_readme_are_those_of_the_results():
    from experiments.league import table as league

    texts = league.overview() | generated_texts("step_cost")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"<!-- (.+ of experiments/\w+) -->\n", readme)
    assert set(shown) <= set(texts)
    for name in shown:
        expected = f"<!-- {name} -->\n{texts[name]}\n<!-- end -->"
        assert " ".join(expected.split()) in " ".join(readme.split()), name
