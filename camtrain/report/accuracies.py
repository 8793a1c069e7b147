"""Which column of a study says how well a network classifies, and what it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MEAN_AVERAGE_PRECISION = "mean average precision"

# Where images may show several classes, an accuracy says little: most answers are no, and rightly so.
_NAMES = {"mean_average_precision": MEAN_AVERAGE_PRECISION, "accuracy": "accuracy"}

# By the planned split. A study may train without a test; then it is that of validation.
ACCURACIES: Mapping[str, Sequence[str]] = {
    "test": [f"{stage}/{name}" for stage in ("test", "val") for name in _NAMES],
    "val": [f"val/{name}" for name in _NAMES],
}
"""The columns of the accuracy by split; the first one that all runs have counts."""


def accuracy_name(column: str, split: str | None = None) -> str:
    """What a column of the accuracy is called.

    Args:
        column: The column.
        split: The split of the scores beside it; where these are of test images, an accuracy on validation images is
            called so. `None` does not say which.

    Example:
        >>> accuracy_name("test/accuracy"), accuracy_name("val/mean_average_precision"), accuracy_name("")
        ('accuracy', 'mean average precision', 'accuracy')
        >>> accuracy_name("val/accuracy", "test"), accuracy_name("val/accuracy", "val")
        ('validation accuracy', 'accuracy')
    """
    name = _NAMES.get(column.rpartition("/")[2], "accuracy")
    return f"validation {name}" if split == "test" and column.startswith("val/") else name
