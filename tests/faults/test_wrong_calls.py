"""A wrong argument of a public class or function is refused in words that name it."""

from __future__ import annotations

import random
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:  # `experiments` is no installed package
    sys.path.insert(0, str(ROOT))

from experiments.reliability.wrong_calls import targets  # noqa: E402

# Those that need a finished run, and methods that share all their checks with others.
LEFT_OUT = {"load_network", "load_data", "ablate", "explain"}
TARGETS = [target for target in targets(Path("no/such/folder")) if target.name not in LEFT_OUT]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_all_wrong_values_of_each_argument(target):
    unnamed = []
    for call in target.wrong_calls(random.Random(0)):
        if call.wrong.why == "cannot be written to":
            continue  # a fault of the disk, which names the folder
        said = said_of(call.body)
        if f"`{call.argument}`" not in said:
            unnamed.append(f"{call.name}: {said or 'accepted'}")
    assert unnamed == []


def said_of(body):
    """The message of what a call raises, or of what it warns about; empty if it says nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            body()
        except (TypeError, ValueError, OSError) as error:
            return str(error)
    return " ".join(str(each.message) for each in caught)
