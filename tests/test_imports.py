"""`import camtrain` is quick: nobody pays for a package that is not used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import camtrain

HEAVY = ("torch", "pytorch_lightning", "lightning_fabric", "wandb", "matplotlib", "sklearn")

# Prints the packages that the code has imported, each with the first module outside the import system that asked.
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


def imported(code: str) -> dict[str, str]:
    """The heavy packages that a program imports, and the module that was the first to import each."""
    program = (
        f"{WATCH}\n{code}\nfor name in {HEAVY!r}: print('imported', name, asked[name]) if name in sys.modules else 0"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("imported ")]
    return {package: importer for _, package, importer in lines}


@pytest.mark.parametrize(
    "code",
    [
        "import camtrain; dir(camtrain); camtrain.__all__",
        "import camtrain.cli; camtrain.cli.main(['--help']); camtrain.cli.main(['--version'])",
    ],
)
def test_nothing_is_imported_before_it_is_used(code):
    assert imported(code) == {}


def test_what_needs_torch_alone_imports_nothing_else():
    code = "camtrain.image_maps, camtrain.overlay, camtrain.Objective, camtrain.Batch, camtrain.LoadedNetwork"
    assert set(imported(f"import camtrain; {code}")) == {"torch"}


def test_an_evaluation_imports_neither_lightning_nor_scikit_learn():
    found = imported("import camtrain; camtrain.evaluate, camtrain.EvaluationPlan")
    # torchmetrics imports matplotlib if it is installed; camtrain does so where something is drawn.
    assert set(found) <= {"torch", "matplotlib"}
    assert not found.get("matplotlib", "torchmetrics").startswith("camtrain")


def test_a_package_that_is_imported_is_seen():
    assert imported("import camtrain.pictures.pixels, matplotlib") == {
        "torch": "camtrain.pictures.contact_sheet",
        "matplotlib": "__main__",
    }


@pytest.mark.parametrize("name", camtrain.__all__)
def test_every_exported_name_is_there(name):
    found = getattr(camtrain, name)
    assert name in dir(camtrain)
    assert getattr(found, "__name__", name) == name
    assert name in dir(camtrain)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="module 'camtrain' has no attribute 'evaluat'"):
        camtrain.evaluat
