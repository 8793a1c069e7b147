"""The independent reference that gradients are compared with; the experiment that prints the comparison has it too."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_REFERENCE = Path(__file__).parents[2] / "experiments" / "exactness" / "reference.py"


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """`experiments/exactness/reference.py`, loaded by its path: experiments are no package."""
    spec = importlib.util.spec_from_file_location("exactness_reference", _REFERENCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
