"""The house has floors: a module imports from the rows below its own, never from above, never from its neighbors."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import camtrain

# From the top down. A new module of the package gets its place here first.
ROWS = [
    {"__main__"},
    {"cli"},
    {"ablation"},
    {"report", "exporting"},
    {"loading", "runs"},
    {"explanation", "study"},
    {"classifier", "callbacks", "data"},
    {"objective", "evaluation"},
    {"regularizers", "metrics"},
    {"methods"},
    {"interop"},
    {"controls"},
    {"attributions"},
    {"cams"},
    {"targets"},
    {"gradients", "networks"},
    {"running_loader", "unrepeated", "label_scores", "class_names"},
    {
        "batch",
        "blurred",
        "checked_logits",
        "files",
        "fingerprint",
        "optimizer_numbers",
        "pictures",
        "pixel_format",
        "probabilities",
        "regions",
    },
    {"messages"},
]
PACKAGE = Path(camtrain.__file__).parent
# The package stands on none of these: they stand on the package.
OUTSIDE = {"experiments", "notebooks", "tests", "configs", "docs"}


def _packages() -> list[ModuleType]:
    found = [path.parent.relative_to(PACKAGE.parent) for path in sorted(PACKAGE.glob("*/__init__.py"))]
    return [importlib.import_module(".".join(path.parts)) for path in found]


def test_imports_point_down():
    files = {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    assert {"batch.py", "cams/__init__.py", "cams/grad_cam.py", "objective/objective.py"} <= set(files)
    assert broken_rules(files) == []


@pytest.mark.parametrize("module", [camtrain, *_packages()], ids=lambda module: module.__name__)
def test_all_exported_names_are_there(module):
    assert [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)] == []


def broken_rules(files: dict[str, str]) -> list[str]:
    """A sentence for each import that does not point down, and for each module that has no place.

    Args:
        files: source code by path inside the package, with forward slashes.
    """
    sentences = []
    for path, source in sorted(files.items()):
        if path == "__init__.py":  # it only re-exports
            continue
        home = path.split("/")[0].removesuffix(".py")
        if _row(home) is None:
            sentences.append(f"{path}: {home} has no place in ROWS")
            continue
        for line, name in _imports(path, source):
            why = _objection(home, name)
            if why:
                sentences.append(f"{path}:{line}: {why}")
    return sentences


def _objection(home: str, name: str) -> str | None:
    """Why a module of `home` may not import the dotted `name`; `None` where it may."""
    top, *rest = name.split(".")
    if top in OUTSIDE:
        return f"imports {name}, which is outside the package"
    if top != "camtrain":
        return None
    target = rest[0] if rest else ""
    if target == home:
        return None
    row, target_row = _row(home), _row(target)
    if target_row is None:
        return f"imports {name}: {target or 'the package itself'} has no place in ROWS"
    if target_row < row:
        return f"imports {name}, a row above {home}"
    if target_row == row:
        return f"imports {name}, a neighbor of {home}"
    return None


def _row(name: str) -> int | None:
    return next((index for index, row in enumerate(ROWS) if name in row), None)


def _imports(path: str, source: str) -> list[tuple[int, str]]:
    """Line and absolute dotted name of every import, wherever it stands (functions, `if TYPE_CHECKING`)."""
    # The package that a relative import starts from.
    package = ["camtrain", *path.split("/")[:-1]]
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            # `from camtrain import cams` names a module only by what is imported.
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize(
    ("path", "source", "sentence"),
    [
        (
            "cams/new.py",
            "from camtrain.objective import Objective",
            "imports camtrain.objective.Objective, a row above",
        ),
        ("cams/new.py", "import camtrain.data.cifar", "imports camtrain.data.cifar, a row above"),
        ("cams/new.py", "import torch, camtrain.metrics", "imports camtrain.metrics, a row above"),
        ("gradients/new.py", "from camtrain import cams", "imports camtrain.cams, a row above"),
        ("gradients/new.py", "from .. import cams", "imports camtrain.cams, a row above"),
        ("gradients/new.py", "from ..cams.grad_cam import grad_cam", "imports camtrain.cams.grad_cam.grad_cam, a row"),
        ("batch.py", "from .cams import GradCAM", "imports camtrain.cams.GradCAM, a row above"),
        ("networks/deep/new.py", "from ...gradients import x", "imports camtrain.gradients.x, a neighbor of networks"),
        ("metrics/new.py", "from camtrain.regularizers import x", "imports camtrain.regularizers.x, a neighbor"),
        ("classifier.py", "def f():\n    from camtrain.data import x", "2: imports camtrain.data.x, a neighbor"),
        (
            "objective.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from camtrain.classifier import Classifier",
            "3: imports camtrain.classifier.Classifier, a row above",
        ),
        ("report.py", "from camtrain.cli import main", "imports camtrain.cli.main, a row above"),
        ("data/new.py", "from camtrain import Objective", "Objective has no place in ROWS"),
        ("data/new.py", "import camtrain", "the package itself has no place in ROWS"),
        ("data/new.py", "from camtrain.utils import x", "utils has no place in ROWS"),
        ("data/new.py", "from experiments.first_light import x", "outside the package"),
        ("utils.py", "", "utils has no place in ROWS"),
        ("helpers/__init__.py", "", "helpers has no place in ROWS"),
        ("cams/__init__.py", "from camtrain.report import x", "imports camtrain.report.x, a row above"),
    ],
)
def test_broken_rule_is_caught(path, source, sentence):
    (found,) = broken_rules({path: source})
    assert found.startswith(f"{path}:")
    assert sentence in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("__init__.py", "from camtrain.objective import Objective"),
        ("objective.py", "from camtrain.gradients import x\nfrom camtrain.regularizers import y\nimport torch"),
        ("cams/new.py", "from camtrain.cams.base_cam import BaseCAM\nfrom .grad_cam import grad_cam\nfrom . import x"),
        ("cams/new.py", "from ..networks import x\nfrom camtrain import gradients"),
        ("cli.py", "from camtrain import ablation, report, data\nfrom camtrain.batch import Batch"),
        ("cli/training.py", "from camtrain.cli.other import x\nfrom camtrain.classifier import Classifier"),
        ("data/new.py", "from __future__ import annotations\nimport camtrained, torch.utils.data"),
    ],
)
def test_imports_that_are_allowed(path, source):
    assert broken_rules({path: source}) == []
