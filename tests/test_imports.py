"""`import camtrain` is quick: nobody pays for a package that is not used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import camtrain

HEAVY = (
    "torch",
    "pytorch_lightning",
    "lightning",
    "lightning_fabric",
    "torchmetrics",
    "wandb",
    "matplotlib",
    "sklearn",
    "scipy",
    "pandas",
)

# One after another in one process: of each, what it is the first to import.
STAGES = {
    "the package": "import camtrain; dir(camtrain); camtrain.__all__",
    "the command": "import camtrain.cli; camtrain.cli.main(['--help']); camtrain.cli.main(['--version'])",
    "methods and pictures": "import camtrain.methods, camtrain.pictures.pixels",
    "objective": "camtrain.image_maps, camtrain.overlay, camtrain.Objective, camtrain.Batch, camtrain.LoadedNetwork",
    "evaluation": "camtrain.evaluate, camtrain.EvaluationPlan",
    "by hand": "import wandb",
}

# Notes the first module outside the import system that asks for each package.
WATCH = """
import sys

asked = {}

class Watch:
    def find_spec(self, name, path=None, target=None):
        frame = sys._getframe(1)
        while frame is not None and frame.f_globals.get("__name__", "").startswith("importlib."):
            frame = frame.f_back
        asked.setdefault(name.partition(".")[0], frame.f_globals.get("__name__") if frame else None)

sys.meta_path.insert(0, Watch())
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, dict[str, str]]:
    """For each stage the heavy packages that it is the first to import, each with the module that asked for it."""
    shown = f"for name in {HEAVY!r}: print('imported', stage, name, asked[name], sep='|') if name in sys.modules else 0"
    program = "\n".join([WATCH, *(f"{code}\nstage = {stage!r}\n{shown}" for stage, code in STAGES.items())])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = {stage: {} for stage in STAGES}
    known: set[str] = set()
    for _, stage, package, importer in (line.split("|") for line in done.stdout.splitlines() if "imported|" in line):
        if package not in known:
            found[stage][package] = importer
            known.add(package)
    return found


@pytest.mark.parametrize("stage", ["the package", "the command"])
def test_nothing_is_imported_before_it_is_used(imported, stage):
    assert imported[stage] == {}


def test_methods_pictures_and_the_objective_import_torch_alone(imported):
    """Nothing that trains, logs or plots."""
    assert set(imported["methods and pictures"]) == {"torch"}
    assert imported["objective"] == {}


def test_an_evaluation_imports_neither_lightning_nor_scikit_learn(imported):
    found = imported["evaluation"]
    # torchmetrics imports matplotlib and scipy if they are installed; camtrain does so where something is drawn.
    assert set(found) - {"matplotlib", "scipy"} == {"torchmetrics"}
    for name in ("matplotlib", "scipy"):
        assert not found.get(name, "torchmetrics").startswith("camtrain")


def test_who_imports_is_seen(imported):
    assert imported["methods and pictures"]["torch"].startswith("camtrain.")
    assert imported["evaluation"]["torchmetrics"].startswith("camtrain.")
    assert imported["by hand"] == {"wandb": "__main__"}


@pytest.mark.parametrize("name", camtrain.__all__)
def test_every_exported_name_is_there(name):
    found = getattr(camtrain, name)
    assert name in dir(camtrain)
    assert getattr(found, "__name__", name) == name
    assert name in dir(camtrain)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="module 'camtrain' has no attribute 'evaluat'"):
        camtrain.evaluat
